"""How long a picture may be at most: never less than any writer needs, and never without an end."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from runner.files.picture_bounds import BYTES_PER_PIXEL, METADATA, most_picture_bytes


def made(kind: str, width: int = 50, height: int = 30, **more: object) -> bytes:
    body = io.BytesIO()
    Image.effect_noise((width, height), 100).convert("RGB").save(body, kind, **more)
    return body.getvalue()


EXIF = Image.Exif()
EXIF[0x010E] = "words " * 900


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "exif": EXIF, "comment": b"x" * 5000}),
        ("JPEG", {"icc_profile": b"p" * 100_000}),
    ],
)
def test_it_grows_with_the_pixels(kind, more):
    """By the header of the frame, wherever it stands."""
    assert most_picture_bytes(made(kind, **more)) == METADATA + BYTES_PER_PIXEL * 50 * 30


def test_a_webp_says_its_own_length():
    """A moving one has many pictures."""
    more = [Image.new("RGB", (50, 30), shade) for shade in (1, 99)]
    for body in (made("WEBP"), made("WEBP", save_all=True, append_images=more)):
        assert most_picture_bytes(body) == len(body) + METADATA


@pytest.mark.parametrize(
    "body",
    [
        made("PNG", save_all=True, append_images=[Image.new("RGB", (50, 30))]),
        made("GIF"),
        made("TIFF"),
        made("JPEG")[:60],
        b"\xff\xd8\xff\xff\xff\xff",
        b"\xff\xd8\xff\xe0" + bytes(99),
        made("PNG")[:20],
        b"",
    ],
    ids=["moving png", "gif", "tiff", "cut jpeg", "fill", "no length", "cut png", "nothing"],
)
def test_what_has_no_known_size_has_no_bound(body):
    """`max_file` holds for it; a header that makes no sense ends the search."""
    assert most_picture_bytes(body) is None


def test_the_least_compressed_picture_fits():
    """Sixteen bits a colour, no compression."""
    body = io.BytesIO()
    Image.effect_noise((900, 900), 100).convert("RGBA").save(body, "PNG", compress_level=0)
    assert 2 * len(body.getvalue()) < (most_picture_bytes(body.getvalue()) or 0) - METADATA
