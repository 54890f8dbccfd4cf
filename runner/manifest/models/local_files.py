"""Files of this machine as values of inputs: each is checked when the manifest is loaded, before anything is bought.

The limits are those of RunComfy's own clients, which send such files inside the request.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from runner.core.local_inputs import MAX_BODY, reference, uri_length
from runner.manifest.models.file_inputs import KINDS, is_local
from runner.manifest.names import has_control
from runner.manifest.problems import Invalid, nearest, shown

if TYPE_CHECKING:
    from runner.core.models import Json
    from runner.manifest.models.inputs import ModelInputs

MIB: Final = 1 << 20
MAX_INLINE: Final = 6 * MIB
"""Upper limit of ``max_inline``, and the largest picture in bytes."""
MAX_BYTES: Final = {"image": MAX_INLINE, "video": 32 * MIB, "audio": 16 * MIB}
MAX_PIXELS: Final = 32_000_000
_REMEDY: Final = "make it smaller, or put it at a public https address and write the address"
_STARTS: Final = "paths start at the manifest"
_WEB: Final = re.compile(r"www\.|(?:[a-z0-9-]+\.)+(?:com|net|org|io|de|uk|eu|fr|shop)(?:/|\Z)", re.IGNORECASE)
_WORDS: Final = {"image": "a picture", "video": "a video", "audio": "sound"}
_KEPT: Final = 4096
"""Results of checks that are kept: the jobs of a matrix share their files."""
_MOST_NAMES: Final = 2000
"""Largest folder that is searched for a similar name."""


class FileFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Properties of a checked file."""

    media_type: str
    bytes: int
    sha256: str
    width: int | None = None
    height: int | None = None


InspectFile = Callable[[Path, int], FileFacts]
"""Function that reads a whole file and returns its properties, for a picture of at most so many pixels.

Raises ``Invalid``, with a predicate, for a file that is damaged or of a format that cannot be checked, or ``OSError``.
"""


class LocalFiles:
    """Checker of the files of this machine that the jobs of one manifest send."""

    def __init__(self, folder: Path, inspect_file: InspectFile | None, max_inline: int | None) -> None:
        """Check with ``inspect_file``; None: paths are not accepted as inputs.

        Paths start at ``folder``. ``max_inline``: the largest file in bytes, if it is below the limit of its kind.
        """
        self.accepted = inspect_file is not None
        self._folder = folder
        self._inspect_file = inspect_file
        self._limits = {kind: min(most, max_inline or most) for kind, most in MAX_BYTES.items()}
        self._look = lru_cache(_KEPT)(self._check)
        self._names = lru_cache(8)(_names_in)

    def take(
        self, model: ModelInputs, inputs: dict[str, Json]
    ) -> tuple[dict[str, Json], dict[str, tuple[str, ...]], list[tuple[str, Invalid]]]:
        """Return ``inputs`` with references for paths, the media types in these inputs, and the problems of the files.

        The problems come with the names of the inputs.
        """
        taken, local, wrongs = dict(inputs), dict[str, tuple[str, ...]](), list[tuple[str, Invalid]]()
        sent = list[FileFacts]()
        for name, kind in model.file_kinds.items():
            value = inputs.get(name)
            items = value if isinstance(value, list) else [value]
            if not any(isinstance(item, str) and is_local(item) for item in items):
                continue
            found = [self._look(item, kind) if isinstance(item, str) and is_local(item) else None for item in items]
            wrongs += [(name, facts) for facts in found if isinstance(facts, Invalid)]
            files = [facts for facts in found if isinstance(facts, FileFacts)]
            sent += files
            local[name] = tuple(facts.media_type for facts in files)
            referred = [
                reference(item, facts.sha256) if isinstance(facts, FileFacts) else item
                for item, facts in zip(items, found, strict=True)
            ]
            taken[name] = referred if isinstance(value, list) else referred[0]
        if local and not wrongs and (wrong := _too_much(taken, sent)) is not None:
            wrongs.append((next(iter(local)), wrong))
        return taken, local, wrongs

    def _check(self, path: str, kind: str | None) -> FileFacts | Invalid:
        try:
            return self._checked(path, kind)
        except Invalid as wrong:
            return Invalid(wrong.what, wrong.advice)  # without a traceback, which would keep the frames in memory
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            return Invalid(
                f"names {shown(path)}, which cannot be read: {reason or error}", "give a file that you may read"
            )

    def _checked(self, path: str, kind: str | None) -> FileFacts:
        assert self._inspect_file is not None
        if has_control(path):
            raise Invalid(f"names {shown(path)}, which has a control character", "rename the file")
        file = self._folder / path
        try:
            status = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing(path, file) from None
        if not stat.S_ISREG(status.st_mode):
            what = "is a folder" if stat.S_ISDIR(status.st_mode) else "is no regular file"
            raise Invalid(f"names {shown(path)}, which {what}", "write the path of a picture, a video or sound")
        self._check_bytes(path, status.st_size, kind)
        try:
            facts = self._inspect_file(file, MAX_PIXELS)
        except Invalid as wrong:
            raise Invalid(f"names {shown(path)}: {wrong.what}", wrong.advice) from None
        return self._accept(path, facts, kind)

    def _accept(self, path: str, facts: FileFacts, kind: str | None) -> FileFacts:
        """Return ``facts`` if they are those of a file that the input takes. Raises ``Invalid``."""
        came = facts.media_type.partition("/")[0]
        if came not in KINDS or facts.media_type == "image/svg+xml":
            advice = f"write the path of {_WORDS.get(kind or '', 'a picture, a video or sound')}"
            raise Invalid(f"names {shown(path)}, which is {facts.media_type}, and that is not accepted", advice)
        if kind is not None and came != kind:
            raise Invalid(
                f"takes {_WORDS[kind]}, and {shown(path)} is {facts.media_type}", "write the path of another file"
            )
        self._check_bytes(path, facts.bytes, came)
        return facts

    def _check_bytes(self, path: str, size: int, kind: str | None) -> None:
        """Raise ``Invalid`` for a file that is empty, or larger than a file of its kind may be; None: any kind."""
        most = self._limits[kind] if kind is not None else max(self._limits.values())
        if size == 0:
            raise Invalid(f"names {shown(path)}, which is empty", "write the path of another file")
        if size > most:
            raise Invalid(f"names {shown(path)}, which has {size:,} bytes; at most {most:,} are sent", _REMEDY)

    def _missing(self, path: str, file: Path) -> Invalid:
        if _WEB.match(path):
            return Invalid(
                f"names {shown(path)}, and there is no such file; it looks like a web address",
                f"write https:// before it, or the path of a file; {_STARTS}",
            )
        names = self._names(file.parent)
        if names is None:
            return Invalid(f"names {shown(path)}, and there is no folder {file.parent}", _STARTS)
        advice = nearest(file.name, names) or f"{_STARTS}; looked in {file.parent}"
        return Invalid(f"names {shown(path)}, and there is no such file", advice)


def _names_in(folder: Path) -> list[str] | None:
    """Return the names in a folder; an empty list for a large folder; None: there is no folder that can be read."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names as strings
    except OSError:
        return None
    return names if len(names) <= _MOST_NAMES else []


def _too_much(inputs: dict[str, Json], sent: list[FileFacts]) -> Invalid | None:
    """Return the problem of a job whose files are too much for one request; None: there is none."""
    total = len(msgspec.json.encode(inputs)) + sum(uri_length(facts.media_type, facts.bytes) for facts in sent)
    if total <= MAX_BODY:
        return None
    files = "its file" if len(sent) == 1 else f"its {len(sent)} files"
    what = f"makes a request of {total:,} bytes with {files}; at most {MAX_BODY:,} are sent"
    return Invalid(what, "leave files out, make them smaller, or put them at public https addresses")
