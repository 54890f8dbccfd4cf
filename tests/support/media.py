"""Files to look at, as bytes or as paths."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from runner.files import media
from runner.files.media import Media

if TYPE_CHECKING:
    from pathlib import Path


def inspect_bytes(body: bytes, *about: Any, **limits: Any) -> Media:
    return media.inspect(BytesIO(body), *about, **limits)


def inspect_path(path: Path) -> Media:
    with path.open("rb") as file:
        return media.inspect(file)
