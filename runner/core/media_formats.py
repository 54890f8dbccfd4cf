"""File formats whose structure is checked after download, and their file extensions."""

from __future__ import annotations

from typing import Final

import msgspec


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """One file format."""

    media_type: str
    extension: str
    """Extension that downloaded files get."""
    also: tuple[str, ...] = ()
    """Other extensions in use for the format."""
    pillow: str | None = None
    """Pillow's name for the format; None: Pillow does not decode it."""


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
"""Extensions that identify a result of a known format."""
PICTURES: Final = {kind.pillow: kind for kind in FORMATS if kind.pillow is not None}
"""Picture formats by Pillow's names, in the order in which they are tried."""
MOST_PIXELS: Final = 2_000_000_000
"""Upper limit of ``max_pixels``. Decoding takes four bytes of memory a pixel for some formats."""
MAX_PIXELS: Final = 89_000_000
"""Default of ``max_pixels``. A larger picture counts as a decompression bomb, as in Pillow, and is not decoded."""
