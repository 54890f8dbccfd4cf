"""Files that are neither pictures nor videos: those that can be checked are, the others are named by what is known."""

from __future__ import annotations

import io
import struct
import wave
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.media import inspect_bytes

from runner.emulator.other_files import OTHER_FILES
from runner.files.containers import BadMedia, TooManyPixels
from runner.files.kinds import Expected

if TYPE_CHECKING:
    from collections.abc import Callable

ANY = Expected("https://storage.example/file", "application/octet-stream")


def wav() -> bytes:
    body = io.BytesIO()
    with wave.open(body, "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(4000))
    return body.getvalue()


def mp3(tag: bytes = b"ID3\x04\0\0\0\0\0\x05abcde") -> bytes:
    return tag + (b"\xff\xfb\x90\x64" + bytes(413)) * 5


def flac() -> bytes:
    return b"fLaC\0\0\0\x22" + bytes(34) + b"\x81\0\0\x04" + bytes(4) + b"\xff\xf8" + bytes(50)


def page(number: int, body: bytes) -> bytes:
    return struct.pack("<4sBBqIIIBB", b"OggS", 0, 0, 0, 1, number, 0, 1, len(body)) + body


def ogg() -> bytes:
    return page(0, b"\x01vorbis" + bytes(23)) + page(1, bytes(200))


def boxes(brand: bytes, *kinds: bytes) -> bytes:
    parts = [(b"ftyp", brand + bytes(4) + brand), *((kind, bytes(40)) for kind in kinds)]
    return b"".join(struct.pack(">I4s", len(body) + 8, kind) + body for kind, body in parts)


SVG = b'<?xml version="1.0"?>\n<!-- ours --><svg xmlns="http://www.w3.org/2000/svg"><g><path d="M0 0"/></g></svg>'
WHOLE = {
    "wav": (wav(), "audio/wav"),
    "mp3": (mp3(), "audio/mpeg"),
    "flac": (flac(), "audio/flac"),
    "ogg": (ogg(), "audio/ogg"),
    "m4a": (boxes(b"M4A ", b"moov", b"mdat"), "audio/mp4"),
    "heic": (boxes(b"heic", b"meta", b"mdat"), "image/heic"),
    "mp4": (boxes(b"isom", b"moov", b"mdat"), "video/mp4"),
    "glb": (OTHER_FILES["glb"][1], "model/gltf-binary"),
    "svg": (SVG, "image/svg+xml"),
}


@pytest.mark.parametrize("extension", WHOLE)
def test_a_whole_file_is_told_by_its_bytes(extension: str) -> None:
    """Whatever its address and type say, and checked."""
    body, media_type = WHOLE[extension]
    for expected in (None, ANY, Expected("https://storage.example/a.png", "image/png")):
        media = inspect_bytes(body, expected)
        assert (media.extension, media.media_type, media.unchecked) == (extension, media_type, False)
        assert media.bytes == len(body)


@pytest.mark.parametrize("extension", WHOLE)
def test_a_file_that_is_cut_short_is_refused(extension: str) -> None:
    """Its length was right by the header, and still it is not all of it."""
    body, _ = WHOLE[extension]
    cut = body[:40] if extension == "flac" else body[:-20]
    with pytest.raises(BadMedia, match=r"cut short|damaged"):
        inspect_bytes(cut, ANY)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (wav().replace(b"fmt ", b"junk"), "its audio data comes before its format"),
        (mp3() + b"<html>what is this doing here</html>", "other data between its frames"),
        (mp3(b"ID3\x04\0\0\0\0\0\x05abcde")[:15] + bytes(500), "no audio data where it should begin"),
        (page(0, bytes(30)) + b"junk" * 20, "a page does not begin"),
        (flac()[:50] + bytes(60), "no audio data where it should begin"),
        (OTHER_FILES["glb"][1].replace(b"JSON", b"JSOM", 1), "its chunks do not fill it"),
        (SVG.replace(b"</g>", b""), "damaged"),
        (SVG.replace(b"svg", b"page") + b"<svg/>", "another kind|error page"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(body: bytes, why: str) -> None:
    """Each check of a structure holds by itself."""
    with pytest.raises(BadMedia, match=why):
        inspect_bytes(body, ANY)


def test_what_writers_leave_open_or_add_is_accepted() -> None:
    """A WAV that was streamed tells no length; an MP3 may end in a tag or in nothing."""
    streamed = wav()
    at = streamed.index(b"data") + 4
    for length in (b"\xff\xff\xff\xff", bytes(4)):
        assert inspect_bytes(streamed[:at] + length + streamed[at + 4 :], ANY).extension == "wav"
    for tail in (b"TAG" + bytes(125), b"APETAGEX" + bytes(30), bytes(64)):
        assert inspect_bytes(mp3() + tail, ANY).extension == "mp3"


def test_an_svg_that_defines_entities_is_taken_as_it_comes() -> None:
    """Drawing programs write them; a thousand laughs are for whoever shows it, and nothing of it is expanded here."""
    laughs = b'<!DOCTYPE svg [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    media = inspect_bytes(b'<?xml version="1.0"?>' + laughs + b"<svg>&b;</svg>", ANY)
    assert (media.extension, media.unchecked) == ("svg", True)


def test_an_svg_of_any_depth_costs_a_look() -> None:
    """It is read without a level of calls for each level of it, and refused where nobody can have meant it."""
    with pytest.raises(BadMedia, match="nested more than"):
        inspect_bytes(b"<svg>" + b"<g>" * 5000, ANY)


def archive() -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as files:
        files.writestr("a.txt", "a")
    return body.getvalue()


@pytest.mark.parametrize(
    ("body", "address", "content_type", "media_type", "extension"),
    [
        (archive(), "set.zip", "application/zip", "application/zip", "zip"),
        (archive(), "lamp.usdz", "application/octet-stream", "application/zip", "usdz"),
        (archive(), "lamp", "", "application/zip", "zip"),
        (b"v 0 0 0\nv 1 0 0\n", "lamp.obj", "text/plain", "text/plain", "obj"),
        (b"1\n00:00:00,000 --> 00:00:01,000\nhi\n", "lamp.SRT?sig=a.png", "text/plain", "text/plain", "srt"),
        (b"a caption", "caption", "text/plain; charset=utf-8", "text/plain", "txt"),
        (b"WEBVTT\n", "subtitles", "text/vtt", "text/vtt", "vtt"),
        (b'{"boxes": []}', "boxes.json", "application/octet-stream", "application/octet-stream", "json"),
        (b'{"boxes": []}', "boxes", "application/json", "application/json", "json"),
        (b'{"asset": {}}', "lamp.gltf", "application/json", "application/json", "gltf"),
        (b"<html></html>", "page.html", "text/html", "text/html", "html"),
        (b"\0\1\2\3" * 9, "raw", "", "application/octet-stream", "bin"),
        (b"\0\1\2\3" * 9, "download.php", "", "application/octet-stream", "bin"),
        (b"%PDF-1.7\n", "sheet", "", "application/pdf", "pdf"),
    ],
)
def test_a_file_that_cannot_be_checked_is_named_by_bytes_type_or_address(
    body: bytes, address: str, content_type: str, media_type: str, extension: str
) -> None:
    """It is taken as it comes, and marked."""
    media = inspect_bytes(body, Expected(f"https://storage.example/{address}", content_type))
    assert (media.media_type, media.extension, media.unchecked) == (media_type, extension, True)


PAGE = b"<!doctype html><html><body>Sorry</body></html>"
FAULT = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code></Error>'


@pytest.mark.parametrize(
    ("body", "address", "content_type"),
    [
        (PAGE, "a.png", "image/png"),
        (PAGE, "a", "text/html"),
        (PAGE, "a.json", "application/json"),
        (FAULT, "a.mp4", "application/xml"),
        (FAULT, "a", "image/png"),
        (b'{"error": "try later"}', "a.png", "application/json"),
        (b'{"error": "try later"}', "a.wav", "audio/wav"),
        (b'{"error": "try later"}', "a", "image/webp"),
        (b"Service unavailable", "a.png", "text/plain"),
        (b"Service unavailable", "a", "video/mp4"),
        (b"\0\1\2\3" * 9, "a.jpg", "image/jpeg"),
        (b"", "a.obj", "text/plain"),
    ],
)
def test_a_message_in_place_of_a_file_is_refused(body: bytes, address: str, content_type: str) -> None:
    """Under 200, and as a picture or whatever: it is a fault of the storage, and not what was paid for."""
    with pytest.raises(BadMedia):
        inspect_bytes(body, Expected(f"https://storage.example/{address}", content_type))


def test_a_text_inside_the_answer_may_begin_like_anything() -> None:
    """No storage could have put a page in its place."""
    for text in (b"<html> is how pages begin", b"GIF89a was a format", b"ID3\x04 tags", b"{a set}"):
        media = inspect_bytes(text, Expected("inside:", "text/plain", inside=True))
        assert (media.extension, media.unchecked) == ("txt", True)


def test_a_picture_may_have_as_many_pixels_as_allowed(picture: Callable[..., bytes]) -> None:
    """The bound of the manifest, of every kind of picture, also above the one that Pillow has by itself."""
    for kind in ("PNG", "JPEG", "WEBP", "GIF"):
        body = picture(kind)
        width, height = inspect_bytes(body).width or 0, inspect_bytes(body).height or 0
        assert inspect_bytes(body, max_pixels=width * height).width == width
        with pytest.raises(TooManyPixels, match="max_pixels allows"):
            inspect_bytes(body, max_pixels=width * height - 1)


@pytest.mark.slow
def test_a_large_picture_is_decoded_where_it_is_allowed(tmp_path: Path) -> None:
    """Pillow refuses 179 million pixels by itself."""
    from PIL import Image

    body = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(body, "TIFF", compression="group4")
    assert inspect_bytes(body.getvalue(), max_pixels=200_000_000).width == 20_000
