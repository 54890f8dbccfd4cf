"""Copies of pictures for publication: the recipe of one, and its file as the results log names it."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import msgspec

from runner.core.media_formats import PICTURES, Format

METHOD_VERSION: Final = 1
"""Version of how recipes are carried out. Raise it if equal recipes give other pictures: every copy is then stale."""
QUALITY: Final = {"jpeg": 85, "webp": 80, "avif": 60}
"""Default quality of the formats that have one."""
FORMATS: Final[dict[str, Format]] = {name: PICTURES[name.upper()] for name in ("jpeg", "webp", "png", "avif")}
"""Formats of copies by their names in a manifest."""
SIDECAR: Final = "sidecar"
"""Digest in place of a recipe for the JSON file beside an original."""


class CopyRecipe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One copy that a job asks for, with its templates filled in."""

    file: str
    """Path relative to the output folder, with its extension; that of the first output."""
    numbered_at: tuple[int, ...] = ()
    """Character positions in ``file`` of the output number; empty: outputs from the second on get a suffix."""
    format: str
    """A key of ``FORMATS``."""
    fit: tuple[int, int] | None = None
    """Width and height in pixels; None: those of the original."""
    mode: str = "contain"
    """``contain``: at most this size. ``cover``: exactly this size, cut. ``pad``: exactly this size, filled up."""
    background: str = "#ffffff"
    """Colour behind transparent pixels where the format has none, and of the pixels that ``pad`` adds."""
    quality: int | None = None
    """From 1 to 100; None: the format has none."""
    max_bytes: int | None = None
    srgb: bool = True
    """True if colours are converted to sRGB; False: the profile of the original stays."""
    label: bool = False
    """True if the copy says that it was made by AI."""
    title: str = ""
    copyright: str = ""
    prompt: bool = False
    """True if the copy names the prompt."""
    model: bool = False
    """True if the copy names the model."""

    @property
    def digest(self) -> str:
        """Return a name for everything that the bytes of the copy depend on, besides the original."""
        made = msgspec.structs.replace(self, file="", numbered_at=())
        return blake2b(b"%d " % METHOD_VERSION + msgspec.json.encode(made), digest_size=8).hexdigest()

    def path(self, number: int) -> str:
        """Return the path of the copy of output ``number``, from 1."""
        if self.numbered_at:
            return at_places(self.file, self.numbered_at, number)
        stem, dot, ending = self.file.rpartition(".")
        return self.file if number == 1 else f"{stem}-{number}{dot}{ending}"


class CopyFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Copy or sidecar of an output: its file, and what it was made from."""

    path: str
    bytes: int
    sha256: str
    recipe: str
    """``CopyRecipe.digest``, or ``SIDECAR``."""
    of: str
    """SHA-256 of the original, in hex."""
    media_type: str
    width: int | None = None
    height: int | None = None
    replaces: str | None = None
    """SHA-256 of the earlier copy that this one takes the place of; after a crash the file may still be that one."""


def at_places(file: str, places: tuple[int, ...], number: int) -> str:
    """Return ``file`` with ``number`` in place of the character at each of ``places``."""
    ends = (0, *(place + 1 for place in places))
    return str(number).join(file[end:place] for end, place in zip(ends, (*places, None), strict=True))


def sidecar_path(path: str) -> str:
    """Return the path of the sidecar of the file at ``path``."""
    return f"{path}.json"
