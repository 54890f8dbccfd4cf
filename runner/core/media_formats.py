"""Formats of pictures and videos that a download may have, and their file extensions."""

from __future__ import annotations

from typing import Final

import msgspec


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of file."""

    media_type: str
    extension: str
    """What its files are given."""
    also: tuple[str, ...] = ()
    """Other endings that people write for it."""
    pillow: str | None = None
    """Pillow's name for it; None for a video."""


PNG: Final = Format(media_type="image/png", extension="png", pillow="PNG")
MP4: Final = Format(media_type="video/mp4", extension="mp4")
QUICKTIME: Final = Format(media_type="video/quicktime", extension="mov")
WEBM: Final = Format(media_type="video/webm", extension="webm")
FORMATS: Final = (
    PNG,
    Format(media_type="image/jpeg", extension="jpg", also=("jpeg",), pillow="JPEG"),
    Format(media_type="image/webp", extension="webp", pillow="WEBP"),
    Format(media_type="image/gif", extension="gif", pillow="GIF"),
    Format(media_type="image/avif", extension="avif", pillow="AVIF"),
    Format(media_type="image/tiff", extension="tiff", also=("tif",), pillow="TIFF"),
    Format(media_type="image/bmp", extension="bmp", pillow="BMP"),
    MP4,
    QUICKTIME,
    WEBM,
)

EXTENSIONS: Final = tuple(ending for kind in FORMATS for ending in (kind.extension, *kind.also))
"""By which a file is taken for a picture or video."""
PICTURES: Final = {kind.pillow: kind for kind in FORMATS if kind.pillow is not None}
"""By Pillow's names, in the order in which they are tried."""
MAX_PIXELS: Final = 89_000_000
"""Above 9,000 x 9,000 a picture is taken for a bomb, as Pillow does, and nothing of it is decoded."""
