"""What a file is, by its bytes: whole ones are known, broken ones refused, and bombs cost no memory."""

from __future__ import annotations

import hashlib
import re
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from support.media import inspect_bytes, inspect_path

from runner.emulator.video import clip
from runner.files import containers, pictures
from runner.files import containers as png_module
from runner.files.containers import BadMedia

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Chunk, Picture

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def save(tmp_path: Path) -> Callable[[bytes], Path]:
    def saved(body: bytes) -> Path:
        path = tmp_path / "body"
        path.write_bytes(body)
        return path

    return saved


@pytest.fixture
def refused(save: Callable[[bytes], Path]) -> Callable[[bytes], str]:
    """Why these bytes are refused."""

    def why(body: bytes) -> str:
        with pytest.raises(BadMedia) as caught:
            inspect_path(save(body))
        return str(caught.value)

    return why


def moving(kind: str) -> bytes:
    """Three frames of noise."""
    frames = [Image.effect_noise((40, 30), 90 + n).convert("RGB") for n in range(3)]
    body = BytesIO()
    frames[0].save(body, kind, save_all=True, append_images=frames[1:])
    return body.getvalue()


def png(
    chunk: Chunk, width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 0, adam7: int = 0
) -> bytes:
    """A PNG made by hand, right or wrong."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, adam7)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "media_type", "extension"),
    [
        ("PNG", "image/png", "png"),
        ("JPEG", "image/jpeg", "jpg"),
        ("WEBP", "image/webp", "webp"),
        ("GIF", "image/gif", "gif"),
        ("AVIF", "image/avif", "avif"),
        ("TIFF", "image/tiff", "tiff"),
        ("BMP", "image/bmp", "bmp"),
    ],
)
def test_a_whole_picture_is_known_by_its_bytes(
    picture: Picture, save: Callable[[bytes], Path], kind: str, media_type: str, extension: str
) -> None:
    """Type, extension, pixels, length and hash come from the file itself."""
    body = picture(kind)
    media = inspect_path(save(body))
    assert (media.media_type, media.extension) == (media_type, extension)
    assert (media.width, media.height) == (23, 17)
    assert (media.bytes, media.sha256) == (len(body), hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_a_moving_picture_is_whole_to_its_last_frame(
    save: Callable[[bytes], Path], refused: Callable[[bytes], str], kind: str
) -> None:
    """A file that ends after its first frame opens everywhere, and is cut short all the same."""
    body = moving(kind)
    assert inspect_path(save(body)).extension == kind.lower()
    for cut in range(len(body) // 2, len(body), 97):
        assert "cut short" in refused(body[:cut]) or "not a complete picture" in refused(body[:cut])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_is_accepted(picture: Picture, save: Callable[[bytes], Path], mode: str) -> None:
    """Palettes, 16 bits, grey and transparency are as good as colours."""
    assert inspect_path(save(picture(mode=mode))).width == 23


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_a_channel_are_accepted(
    chunk: Chunk, save: Callable[[bytes], Path], refused: Callable[[bytes], str], colour: int, channels: int
) -> None:
    """Rows are counted with the depth that the header names."""
    row = bytes(1 + 5 * channels * 2)
    assert inspect_path(save(png(chunk, 5, 3, row * 3, depth=16, colour=colour))).height == 3
    assert "rows are missing" in refused(png(chunk, 5, 3, row * 2, depth=16, colour=colour))


def adam7(width: int, height: int) -> int:
    """Unpacked bytes of an interlaced grey PNG, counted pixel by pixel."""
    pattern = ["16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777"]
    rows = {(pattern[y % 8][x % 8], y) for y in range(height) for x in range(width)}
    return width * height + len(rows)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (5, 5), (8, 8), (9, 17), (33, 2)])
def test_an_interlaced_png_has_every_row_of_every_pass(
    chunk: Chunk, save: Callable[[bytes], Path], refused: Callable[[bytes], str], size: tuple[int, int]
) -> None:
    """Seven passes, some of them empty in a small picture; one byte less is cut short."""
    length = adam7(*size)
    assert inspect_path(save(png(chunk, *size, bytes(length), adam7=1))).width == size[0]
    assert "rows are missing" in refused(png(chunk, *size, bytes(length - 1), adam7=1))


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_cut_at_any_byte_is_refused(
    picture: Picture, refused: Callable[[bytes], str], kind: str, step: int
) -> None:
    """Half a picture opens in most viewers; here it is never taken for a whole one."""
    body = picture(kind)
    for cut in (*range(0, len(body), step), len(body) - 1):
        assert refused(body[:cut])


def test_a_large_jpeg_cut_in_its_pixels_is_refused(picture: Picture, refused: Callable[[bytes], str]) -> None:
    """Also where the cut is far from the end, and in progressive ones."""
    for options in ({}, {"progressive": True}):
        body = picture("JPEG", (300, 200), **options)
        for cut in (*range(1000, len(body), 997), len(body) - 2, len(body) - 1):
            assert refused(body[:cut])


def test_any_flipped_bit_of_a_png_is_seen(picture: Picture, refused: Callable[[bytes], str]) -> None:
    """Its checksums find what no viewer shows."""
    body = picture(size=(5, 4))
    for position in range(len(PNG), len(body)):
        flipped = bytearray(body)
        flipped[position] ^= 1 << position % 8
        assert refused(bytes(flipped))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("tail", [b"\0" * 100, b"\n", b"x" * 5000])
def test_bytes_after_the_end_do_no_harm(
    picture: Picture, save: Callable[[bytes], Path], kind: str, tail: bytes
) -> None:
    """A paid picture is not refused because a writer padded it; the bytes are kept as they came."""
    body = picture(kind) + tail
    assert inspect_path(save(body)).bytes == len(body)


def test_a_jpeg_may_hold_a_thumbnail_and_fill_bytes(
    picture: Picture, save: Callable[[bytes], Path], refused: Callable[[bytes], str]
) -> None:
    """The end marker of the thumbnail is not the end of the picture."""
    plain, thumbnail = picture("JPEG", (200, 100)), picture("JPEG")
    segment = b"\xff\xff\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    body = plain[:2] + segment + plain[2:]
    assert inspect_path(save(body)).width == 200
    assert refused(body[:-2])


def test_a_png_without_its_end_is_refused(picture: Picture, refused: Callable[[bytes], str]) -> None:
    """All rows are there, and it is cut short all the same."""
    assert "cut short" in refused(picture()[:-12])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>busy</html>", "error page"),
        (b"\n  <HTML>", "error page"),
        (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "error page"),
        (b'{"error": "not ready"}', "error page or message"),
        (b"not ready", "not a complete picture"),
        (bytes(5000), "not a complete picture"),
        (PNG, "cut short"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a complete picture"),
        (b"\xff\xd8\xff\xd9", "not a complete picture"),
    ],
)
def test_what_is_no_picture_is_said_in_words(refused: Callable[[bytes], str], body: bytes, words: str) -> None:
    """An error page under 200 is a fault of the storage, and named as one. Only formats of pictures are decoded."""
    assert words in refused(body)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (2**31 - 1, 2**31 - 1), (9_434, 9_434)])
def test_a_png_that_claims_impossible_pixels_is_refused(
    chunk: Chunk, refused: Callable[[bytes], str], size: tuple[int, int]
) -> None:
    """Pixels are counted before anything unpacks."""
    assert re.search("is not accepted|max_pixels allows", refused(png(chunk, *size, bytes(100))))


def test_a_large_claim_in_another_format_is_refused_undecoded(
    picture: Picture, refused: Callable[[bytes], str]
) -> None:
    """A GIF of 65,535 pixels a side has a few bytes and would unpack to four gigabytes."""
    body = picture("GIF")
    assert refused(body[:6] + b"\xff\xff\xff\xff" + body[10:])


@pytest.mark.parametrize("form", ["VP8X", "VP8 ", "VP8L"])
@pytest.mark.parametrize("side", [9_500, 16_383])
def test_a_webp_is_refused_by_its_header(refused: Callable[[bytes], str], form: str, side: int) -> None:
    """Its decoder makes the whole canvas when it opens the file: here there is nothing but the header."""
    sizes = {
        "VP8X": b"\0\0\0\0" + (side - 1).to_bytes(3, "little") * 2,
        "VP8 ": b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", side, side),
        "VP8L": b"\x2f" + struct.pack("<I", side - 1 | (side - 1) << 14),
    }
    chunk = form.encode() + struct.pack("<I", len(sizes[form])) + sizes[form]
    head = b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk
    assert refused(head + bytes(100)).startswith(f"a picture of {side}x{side} pixels; max_pixels allows 89,000,000")


def test_a_jpeg_may_not_go_over_its_pixels_for_ever(refused: Callable[[bytes], str]) -> None:
    """A hundred bytes more are one more pass over every pixel: a small file would keep a thread busy for hours."""
    body = BytesIO()
    Image.new("L", (2500, 2500)).save(body, "JPEG", progressive=True)
    data = body.getvalue()
    assert inspect_bytes(data).width == 2500
    again = data[data.rindex(b"\xff\xda") : -2]
    assert re.fullmatch(r"a JPEG of 10,\d\d\d scans .* not accepted", refused(data[:-2] + again * 10_000 + data[-2:]))


def test_a_file_of_countless_pieces_is_refused(
    refused: Callable[[bytes], str], picture: Picture, chunk: Chunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes time, however short it is: chunks of nothing, bytes between segments, blocks of one byte."""
    monkeypatch.setattr(containers, "MAX_PARTS", 1000)
    whole = picture()
    assert "the PNG has more than 1,000 parts" in refused(whole[:33] + chunk(b"noTe", b"") * 1000 + whole[33:])
    jpeg = picture("JPEG")
    assert "the JPEG has more than 1,000 parts" in refused(jpeg[:2] + b"\xff" * 1000 + jpeg[2:])
    comment = b"!\xfe" + b"\x01x" * 1000 + b"\0"
    gif = picture("GIF", mode="L")
    assert "the GIF has more than 1,000 parts" in refused(gif[:-1] + comment + gif[-1:])
    assert "the GIF has more than 1,000 parts" in refused(gif[:-1] + b"!\xfe\0" * 1000 + gif[-1:])


def test_pixels_are_counted_before_anything_decodes(refused: Callable[[bytes], str], picture: Picture) -> None:
    """Also where Pillow itself would begin: a little more than is accepted, in a file that has almost none of them."""
    jpeg = picture("JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    bmp = picture("BMP")
    for body in (
        jpeg[:at] + struct.pack(">HH", 9440, 9440) + jpeg[at + 4 :],
        bmp[:18] + struct.pack("<ii", 9440, 9440) + bmp[26:],
    ):
        assert refused(body).startswith("a picture of 9440x9440 pixels; max_pixels allows 89,000,000")


def test_rows_beyond_what_the_header_promises_are_not_unpacked() -> None:
    """A bomb costs no time either: a thousand times its bytes would be unpacked for nothing."""
    rows = png_module._Rows()
    rows.begin(struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    rows.feed(zlib.compress(bytes(20 << 20)))
    assert 72 < rows._seen <= 72 + (1 << 20)
    with pytest.raises(BadMedia, match="rows are missing or too many"):
        rows.end()


def test_what_must_be_decoded_whole_may_not_have_any_length(
    refused: Callable[[bytes], str], picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoders read such a file into memory at once, whatever ``max_file`` allows; a PNG is read in pieces."""
    monkeypatch.setattr(pictures, "MAX_DECODED", 500)
    for kind in ("JPEG", "WEBP", "GIF", "BMP"):
        assert "a picture of this format may not have" in refused(picture(kind))
    assert inspect_bytes(picture()).bytes > 500


TOGETHER = """
import sys, re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from runner.files.media import inspect
files = [Path(sys.argv[1]).open("rb") for _ in range(int(sys.argv[2]))]
with ThreadPoolExecutor(8) as pool:
    assert {media.width for media in pool.map(inspect, files)} == {5000}
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory by /proc")
@pytest.mark.slow
def test_large_pictures_are_decoded_one_at_a_time(tmp_path: Path) -> None:
    """A hundred megabytes each once decoded: eight that arrive together need no more than one."""
    path = tmp_path / "large.jpg"
    Image.new("RGB", (5000, 5000)).save(path)

    def peak(count: int) -> int:
        command = [sys.executable, "-c", TOGETHER, str(path), str(count)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert peak(8) < peak(1) + 80_000


def test_a_forged_name_in_a_file_is_shown_harmlessly(picture: Picture, refused: Callable[[bytes], str]) -> None:
    """What a chunk calls itself could clear the screen."""
    body = picture()
    forged = body[:33] + struct.pack(">I4s", 0, b"\x1b[2J") + bytes(4) + body[33:]
    assert refused(forged).isprintable()


@pytest.mark.parametrize(("depth", "colour"), [(255, 6), (0, 0), (3, 0), (16, 3), (4, 2), (8, 5), (8, 255)])
def test_a_png_of_no_known_depth_and_colour_is_refused(
    chunk: Chunk, refused: Callable[[bytes], str], depth: int, colour: int
) -> None:
    """The standard knows fifteen pairs."""
    assert "is not accepted" in refused(png(chunk, 5, 5, bytes(1000), depth=depth, colour=colour))


def test_lengths_that_lie_are_refused(picture: Picture, refused: Callable[[bytes], str]) -> None:
    """A chunk may say that it is longer or shorter than it is; neither passes nor fills the memory."""
    body = picture()
    start = body.index(b"IDAT") - 4
    length = struct.unpack(">I", body[start : start + 4])[0]
    for lie in (0, length - 1, length + 1, len(body), 2**31, 2**32 - 1):
        assert refused(body[:start] + struct.pack(">I", lie) + body[start + 4 :])


def test_chunks_out_of_order_are_refused(picture: Picture, chunk: Chunk, refused: Callable[[bytes], str]) -> None:
    """A header comes first and once."""
    body = picture()
    header, rest = body[8:33], body[33:]
    assert "header" in refused(PNG + rest[:-12] + header + rest[-12:])
    assert "header" in refused(PNG + header + header + rest)
    assert "header" in refused(PNG + chunk(b"IEND", b""))
    assert "wrong length" in refused(PNG + chunk(b"IHDR", b"x" * 12) + rest)
    assert "missing" in refused(PNG + header + chunk(b"IEND", b""))


def test_rows_may_be_spread_over_many_chunks(
    chunk: Chunk, save: Callable[[bytes], Path], refused: Callable[[bytes], str]
) -> None:
    """Byte by byte, with empty ones between; too many rows are refused like too few."""
    for count, whole in ((300, True), (299, False), (301, False)):
        packed = zlib.compress(bytes(4001) * count)
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4000, 300, 8, 0, 0, 0, 0))
        body = b"".join(chunk(b"IDAT", packed[n : n + 1]) + chunk(b"IDAT", b"") for n in range(len(packed)))
        body = PNG + header + body + chunk(b"IEND", b"")
        assert inspect_path(save(body)).height == 300 if whole else "rows are missing or too many" in refused(body)


BOMB = """
import resource, sys
from pathlib import Path
from runner.files.media import inspect
from runner.files.containers import BadMedia
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    inspect(Path(sys.argv[1]).open("rb"))
except BadMedia as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("pixels", [pytest.param((1, 1), marks=pytest.mark.slow), (9000, 9000)])
@pytest.mark.slow
def test_a_zlib_bomb_costs_no_memory(chunk: Chunk, save: Callable[[bytes], Path], pixels: tuple[int, int]) -> None:
    """Kilobytes that unpack to a quarter of a gigabyte take a few megabytes, whatever the header claims."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 24)) for _ in range(16)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *pixels, 8, 0, 0, 0, 0))
    path = save(PNG + header + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
    command = [sys.executable, "-c", BOMB, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    words, kilobytes = done.stdout.splitlines()
    assert "rows are missing or too many" in words
    assert int(kilobytes) < 20_000


# Videos


def test_a_whole_video_is_known_and_a_cut_one_refused(
    picture: Picture, save: Callable[[bytes], Path], refused: Callable[[bytes], str]
) -> None:
    """Its boxes fill the file exactly; where a box is missing or cut, the video is."""
    body = clip([picture("JPEG")] * 2, 23, 17)
    media = inspect_path(save(body))
    assert (media.media_type, media.extension, media.width) == ("video/mp4", "mp4", None)
    assert inspect_path(save(body[:8] + b"qt  " + body[12:])).extension == "mov"
    for cut in range(8, len(body), 13):
        assert refused(body[:cut])
    assert "cut short" in refused(body[: body.index(b"mdat") - 4])


def test_boxes_of_eight_and_of_unknown_bytes_are_read(
    picture: Picture, save: Callable[[bytes], Path], refused: Callable[[bytes], str]
) -> None:
    """A box may say its length in eight bytes, or that it goes on to the end."""
    body = clip([picture("JPEG")], 23, 17)
    start = body.index(b"mdat") - 4
    assert inspect_path(save(body[:start] + bytes(4) + body[start + 4 :])).extension == "mp4"
    longer = struct.pack(">I4sQ", 1, b"mdat", len(body) - start + 8) + body[start + 8 :]
    assert inspect_path(save(body[:start] + longer)).extension == "mp4"
    assert refused(body[:start] + longer[:-1])
    assert refused(body[:start] + struct.pack(">I", 3) + body[start + 4 :])


def test_endless_small_boxes_end(refused: Callable[[bytes], str], picture: Picture) -> None:
    """A file of nothing but empty boxes does not keep the disk's threads busy."""
    body = clip([picture("JPEG")], 23, 17)
    assert "cut short" in refused(body[:28] + b"\0\0\0\x08free" * 200_000 + body[28:])


def test_a_webm_is_whole_or_of_unknown_length(save: Callable[[bytes], Path], refused: Callable[[bytes], str]) -> None:
    """Its segment says how long it is, or that it was streamed."""
    header, inside = b"\x1a\x45\xdf\xa3\x84webm", b"\x18\x53\x80\x67"
    whole = header + inside + b"\x40\x64" + bytes(100)
    assert inspect_path(save(whole)).media_type == "video/webm"
    assert inspect_path(save(header + inside + b"\x01" + b"\xff" * 7 + bytes(50))).extension == "webm"
    for cut in range(4, len(whole)):
        assert refused(whole[:cut])
    assert "no segment" in refused(header + bytes(100))
    assert refused(b"\x1a\x45\xdf\xa3" + bytes(100))
