"""Looking at files: small versions, made once, and how each stands against its record."""

from __future__ import annotations

import io
import os
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from support.results_folder import picture

from runner.core.media_formats import MAX_PIXELS
from runner.report.thumbnails import (
    CACHE,
    EDGE,
    MOST_TEXT,
    PictureCondition,
    Thumbnails,
    is_text,
    make_thumbnail,
    read_text,
)


def look(shelf, job_id="a"):
    output = next(made for made in shelf.records if made.id == job_id).outputs[0]
    (found,) = Thumbnails(shelf.out).look([output])
    return found


def kept(shelf) -> list[Path]:
    return sorted((shelf.out / CACHE).glob("*"))


@pytest.mark.parametrize(("width", "height"), [(1600, 400), (300, 900), (40, 30)])
def test_a_thumbnail_fits_its_frame_and_keeps_its_shape(shelf, width, height):
    """A WebP with at most so many pixels a side; small pictures stay as they are."""
    shelf.done("a", body=picture(width, height))
    found = look(shelf)
    scale = min(1, EDGE / max(width, height))
    assert (found.stand, found.width, found.height) == (
        PictureCondition.RIGHT,
        round(width * scale),
        round(height * scale),
    )
    with Image.open(io.BytesIO(found.thumbnail)) as image:
        assert (image.format, image.size) == ("WEBP", (found.width, found.height))


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "I;16", "1", "CMYK"])
def test_pictures_of_any_mode_are_shown(tmp_path, mode):
    """Transparent ones, palettes, sixteen bits of grey."""
    path = tmp_path / "a.tiff"
    Image.new(mode, (20, 10)).save(path)
    assert make_thumbnail(path) is not None


def test_the_second_look_needs_no_picture_decoded(shelf):
    """What was made is kept by the bytes it shows; a file with its old length and time counts as untouched."""
    shelf.done("a")
    first = look(shelf)
    path = shelf.out / "a.png"
    seen = path.stat()
    path.write_bytes(bytes(seen.st_size))  # could not be decoded
    os.utime(path, ns=(seen.st_mtime_ns, seen.st_mtime_ns))
    assert look(shelf) == first
    assert (shelf.out / first.cached).read_bytes() == first.thumbnail


def test_a_changed_file_is_shown_as_altered(shelf):
    """With the picture that is there now, whether or not its length changed."""
    shelf.done("a", body=picture(kind="BMP"))
    right = look(shelf)
    path = shelf.out / "a.png"
    changed = picture(kind="BMP", shade=3)
    assert len(changed) == path.stat().st_size
    path.write_bytes(changed)
    os.utime(path, (1, 1))
    found = look(shelf)
    assert (found.stand, found.thumbnail == right.thumbnail) == (PictureCondition.ALTERED, False)


def test_a_file_put_back_is_right_again(shelf):
    """Whatever its time is now."""
    made = shelf.done("a")
    body = (shelf.out / "a.png").read_bytes()
    assert look(shelf).stand is PictureCondition.RIGHT
    (shelf.out / "a.png").write_bytes(b"x")
    assert look(shelf).stand is PictureCondition.ALTERED
    (shelf.out / "a.png").write_bytes(body)
    assert (look(shelf).stand, made.outputs[0].bytes) == (PictureCondition.RIGHT, len(body))


def test_a_missing_file_is_missing(shelf):
    """So is one that was never named."""
    made = shelf.done("a")
    (shelf.out / "a.png").unlink()
    assert look(shelf).stand is PictureCondition.MISSING
    nameless = msgspec.structs.replace(made.outputs[0], path=None)
    assert Thumbnails(shelf.out).look_at(nameless).stand is PictureCondition.MISSING


def test_a_link_out_of_the_folder_is_not_followed(shelf):
    """Neither a file's nor a folder's: the page shows nothing from elsewhere."""
    shelf.done("a")
    shelf.done("b", file="sub/b")
    elsewhere = shelf.folder / "elsewhere"
    elsewhere.mkdir()
    (shelf.out / "a.png").rename(elsewhere / "a.png")
    (shelf.out / "a.png").symlink_to(elsewhere / "a.png")
    (shelf.out / "sub/b.png").rename(elsewhere / "b.png")
    (shelf.out / "sub").rmdir()
    (shelf.out / "sub").symlink_to(elsewhere)
    assert look(shelf, "a").stand is look(shelf, "b").stand is PictureCondition.MISSING


def test_thumbnails_are_not_kept_elsewhere(shelf):
    """A cache that is a link out of the folder is not written to."""
    shelf.done("a")
    elsewhere = shelf.folder / "elsewhere"
    elsewhere.mkdir()
    (shelf.out / ".runner").mkdir()
    (shelf.out / CACHE).symlink_to(elsewhere)
    found = look(shelf)
    assert (found.thumbnail is not None, found.cached, list(elsewhere.iterdir())) == (True, None, [])


def test_a_folder_that_cannot_keep_them_shows_them_all_the_same(shelf):
    """A file is where the cache should be: no error."""
    shelf.done("a")
    (shelf.out / ".runner").write_bytes(b"")
    assert look(shelf).thumbnail is not None


@pytest.mark.parametrize("body", [b"", b"RIFF", b"RIFF\x04\0\0\0WEBP", b"no picture at all, but long enough"])
def test_what_a_crash_left_of_a_thumbnail_is_made_anew(shelf, body):
    """Half a file is not shown, whatever its time says."""
    shelf.done("a")
    whole = look(shelf)
    (path,) = kept(shelf)
    seen = path.stat()
    path.write_bytes(body)
    os.utime(path, ns=(seen.st_mtime_ns, seen.st_mtime_ns))
    assert look(shelf) == whole
    assert path.read_bytes() == whole.thumbnail


def test_a_bomb_is_not_decoded(shelf):
    """Its header is enough to see that it has too many pixels; it gets no preview."""
    edge = int(MAX_PIXELS**0.5) + 5  # so little above it that Pillow itself says nothing yet
    body = io.BytesIO()
    Image.new("1", (edge, edge)).save(body, "PNG")
    shelf.done("a", body=body.getvalue())
    found = look(shelf)
    assert (found.stand, found.thumbnail) == (PictureCondition.RIGHT, None)


@pytest.mark.parametrize("body", [b"\0\0\0\x18ftypmp42", picture()[:60], b"%PDF-1.7", b"<svg onload='x'/>", b""])
def test_what_cannot_be_shown_has_no_preview(shelf, body):
    """Videos, half pictures, anything else: still right if its bytes are those recorded."""
    shelf.done("a", body=body)
    found = look(shelf)
    assert (found.stand, found.thumbnail, kept(shelf)) == (PictureCondition.RIGHT, None, [])


def test_a_camera_picture_stands_upright(tmp_path):
    """The orientation in a file's notes is heeded."""
    image = Image.new("RGB", (40, 20))
    notes = Image.Exif()
    notes[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=notes)
    with Image.open(io.BytesIO(make_thumbnail(tmp_path / "a.jpg") or b"")) as small:
        assert small.size == (20, 40)


@pytest.mark.parametrize("sha256", ["../../b", "", None, "0" * 63, "G" * 64])
def test_a_hash_that_is_none_names_no_file(shelf, sha256):
    """A record from elsewhere cannot choose what is read as a thumbnail."""
    made = shelf.done("a")
    (shelf.out / CACHE).mkdir(parents=True)
    (shelf.out / "b.webp").write_bytes(picture(kind="WEBP"))
    seen = (shelf.out / "a.png").stat()
    os.utime(shelf.out / "b.webp", ns=(seen.st_mtime_ns, seen.st_mtime_ns))
    found = Thumbnails(shelf.out).look_at(msgspec.structs.replace(made.outputs[0], sha256=sha256))
    assert found.stand is PictureCondition.ALTERED


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("ein Löffel\r\nzwei\n\n".encode(), ("ein Löffel\nzwei", False)),
        (b"\xef\xbb\xbfwith a mark", ("with a mark", False)),
        (b"a\x1b[31mred\x07", ("a [31mred ", False)),
        (b"x" * MOST_TEXT, ("x" * MOST_TEXT, False)),
        (b"x" * (MOST_TEXT + 1), ("x" * MOST_TEXT, True)),
        ("ü".encode() * 50_000, ("ü" * MOST_TEXT, True)),
        ("🐟".encode() * 50_000, ("🐟" * MOST_TEXT, True)),
        (b"half a letter \xc3", ("", False)),
        (b"PK\x03\x04\x00\x00", ("", False)),
        (b"\xff\xfea\x00", ("", False)),
        (b"", ("", False)),
    ],
)
def test_a_text_is_read_in_bounds(tmp_path, body, found):
    """Its beginning in letters and lines; nothing of what is no text."""
    path = tmp_path / "a.txt"
    path.write_bytes(body)
    assert read_text(path) == found


@pytest.mark.parametrize(
    ("media_type", "shown"),
    [
        ("text/plain", True),
        ("Text/VTT; charset=utf-8", True),
        ("application/json", True),
        ("text/html", False),
        ("image/svg+xml", False),
        ("application/zip", False),
        ("", False),
    ],
)
def test_only_texts_are_shown_as_text(media_type, shown):
    """A page and a drawing are files that one may open."""
    assert is_text(media_type) == shown


def test_a_text_stands_against_its_record_like_a_picture(shelf):
    """Right as it came, altered when somebody wrote into it; either way it is shown as it is now."""
    shelf.file("a", "txt", "text/plain", b"as it came")
    assert (look(shelf).stand, look(shelf).text) == (PictureCondition.RIGHT, "as it came")
    (shelf.out / "a.txt").write_text("another")
    assert (look(shelf).stand, look(shelf).text) == (PictureCondition.ALTERED, "another")
