"""Formats of files whose structure is checked when they arrive, and their file extensions."""

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
    """Pillow's name for it; None for what Pillow does not decode."""


PNG: Final = Format(media_type="image/png", extension="png", pillow="PNG")
MP4: Final = Format(media_type="video/mp4", extension="mp4")
QUICKTIME: Final = Format(media_type="video/quicktime", extension="mov")
WEBM: Final = Format(media_type="video/webm", extension="webm")
HEIC: Final = Format(media_type="image/heic", extension="heic", also=("heif",))
SVG: Final = Format(media_type="image/svg+xml", extension="svg")
WAV: Final = Format(media_type="audio/wav", extension="wav")
MP3: Final = Format(media_type="audio/mpeg", extension="mp3")
FLAC: Final = Format(media_type="audio/flac", extension="flac")
OGG: Final = Format(media_type="audio/ogg", extension="ogg")
M4A: Final = Format(media_type="audio/mp4", extension="m4a")
GLB: Final = Format(media_type="model/gltf-binary", extension="glb")
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
    HEIC,
    SVG,
    WAV,
    MP3,
    FLAC,
    OGG,
    M4A,
    GLB,
)

EXTENSIONS: Final = tuple(ending for kind in FORMATS for ending in (kind.extension, *kind.also))
"""By which a file is taken for a result of a known kind."""
PICTURES: Final = {kind.pillow: kind for kind in FORMATS if kind.pillow is not None}
"""By Pillow's names, in the order in which they are tried."""
MOST_PIXELS: Final = 2_000_000_000
"""What ``max_pixels`` may be at most. Decoding some kinds of pictures takes four bytes of memory for each."""
MAX_PIXELS: Final = 89_000_000
"""Above it a picture is taken for a bomb, as Pillow does, and nothing of it is decoded; `max_pixels` changes it."""
