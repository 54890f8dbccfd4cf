"""What the catalogue said, kept for the next command: nothing depends on it, and anybody may delete it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from runner.core.models import Json

MAX_BYTES = 1 << 20
LATEST = 1e11
"""In seconds since the epoch; a later time is damage."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The input schema of a model, as the catalogue of one API told it."""

    api: str
    model: str
    at: float
    """When, in seconds since the epoch."""
    input_schema: dict[str, Json]


class Cache:
    """A folder of such files. Where it cannot be read or written, nothing was kept, and that is no error."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, api: str, model: str) -> Kept | None:
        """What was kept of ``model`` at ``api``; None for nothing, or nothing that can be read."""
        if self._folder is None:
            return None
        try:
            with self._path(self._folder, api, model).open("rb") as file:
                kept = msgspec.json.decode(file.read(MAX_BYTES), type=Kept)
        except (OSError, ValueError, RecursionError):
            return None
        genuine = (kept.api, kept.model) == (api, model) and 0 <= kept.at < LATEST
        return kept if genuine else None

    def put(self, kept: Kept) -> None:
        """Keep it, whole or not at all."""
        if self._folder is None:
            return
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(msgspec.json.encode(kept))
                Path(temporary).replace(self._path(self._folder, kept.api, kept.model))
            except OSError:
                Path(temporary).unlink(missing_ok=True)

    @staticmethod
    def _path(folder: Path, api: str, model: str) -> Path:
        digest = hashlib.sha256(f"{api}\n{model}".encode()).hexdigest()
        return folder / f"{digest[:32]}.json"


def find_cache(environ: Mapping[str, str]) -> Cache:
    """``$XDG_CACHE_HOME/runcomfy-runner``, else ``~/.cache/runcomfy-runner``; none for a process without a home."""
    home = environ.get("HOME") or environ.get("USERPROFILE")
    root = Path(environ.get("XDG_CACHE_HOME") or "")
    if not root.is_absolute():  # the specification has such a value ignored
        root = Path(home or "") / ".cache"
    return Cache(root / "runcomfy-runner" / "schemas" if root.is_absolute() else None)
