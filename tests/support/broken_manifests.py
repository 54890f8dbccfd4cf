"""The cases of ``manifest/broken``, and what the command line prints of each.

A case is a manifest in a folder of its theme; what git does not keep well (NUL, other encodings, a line of a million
characters) is made by ``made_manifests``. Beside it stands, as ``.txt``, the text that is expected.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from runner.cli.console import show_error, show_warnings
from runner.core.errors import ManifestError
from runner.engine.load_manifest import load
from runner.manifest import Offer
from support.made_manifests import MADE

BROKEN = Path(__file__).parents[1] / "manifest" / "broken"
WRITTEN = sorted(p for p in BROKEN.glob("*/*") if p.suffix in (".yaml", ".json"))
OFFERED = {
    model: Offer(**known)
    for model, known in json.loads((BROKEN / "catalogue.json").read_text(encoding="utf-8")).items()
}
CASES = [*(p.relative_to(BROKEN).with_suffix("").as_posix() for p in WRITTEN), *MADE]


def told(case: str) -> str:
    """What a person sees who gives ``case`` to ``runner plan``."""
    printed, folder = printed_of(case)
    return printed.replace(str(folder), "FOLDER")


def printed_of(case: str) -> tuple[str, Path]:
    """What is printed, and the folder that it was called from."""
    if case in MADE:
        with tempfile.TemporaryDirectory() as folder:
            return run(case, MADE[case](Path(folder)), Path(folder)), Path(folder)
    (path,) = (p for p in WRITTEN if p.with_suffix("") == BROKEN / case)
    return run(case, path.name, path.parent), path.parent


def run(case: str, manifest: str, folder: Path) -> str:
    with contextlib.chdir(folder), contextlib.redirect_stderr(io.StringIO()) as printed, staged(case):
        try:
            loaded = load(manifest, offers=lambda _models: {**OFFERED, **UNWRITTEN})
            loaded.jobs.close()
            show_warnings(loaded.warnings)
        except ManifestError as error:
            show_error(error)
    return printed.getvalue()


@contextlib.contextmanager
def staged(case: str) -> Iterator[None]:
    """What no file can bring about: disks that fail, a locale without UTF-8."""
    with pytest.MonkeyPatch.context() as patch:
        if case == WITHOUT_UTF_8:
            patch.setattr("os.fsencode", lambda name: name.encode("ascii"))
            patch.setattr("sys.getfilesystemencoding", lambda: "ascii")
        for name, value in LIMITS.get(case, {}).items():
            patch.setattr(f"runner.manifest.{name}", value)
        if case in FAILING_DISKS:
            patch.setattr("runner.manifest.feeds.feed.Feed._open_file", lambda _feed: FAILING_DISKS[case]())
        yield


def nested(depth: int) -> dict[str, Any]:
    return {"properties": {"a": nested(depth - 1)}} if depth else {}


UNWRITTEN = {
    "example/too-large": Offer(schema={"properties": {"prompt": {"enum": ["x" * 1000] * 300}}}),
    "example/too-deep": Offer(schema=nested(50)),
}
"""Models whose schemas are no reading matter."""


class BreaksOff(io.RawIOBase):
    """Two lines, and then nothing but errors."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self._start = "sku,name\na,b\n".encode(encoding)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, _whence: int = 0) -> int:
        self._at = offset
        return offset

    def readinto(self, buffer: Any) -> int:
        found = self._start[self._at : self._at + len(buffer)]
        if not found:
            raise OSError(errno.EIO, "Input/output error")
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def break_off(encoding: str = "utf-8") -> io.BufferedReader:
    return io.BufferedReader(BreaksOff(encoding))


def refuse() -> NoReturn:
    raise PermissionError(errno.EACCES, "Permission denied")


WITHOUT_UTF_8 = "jobs/names-without-utf-8"
FAILING_DISKS: dict[str, Callable[[], io.BufferedReader]] = {
    "bytes/feed-that-breaks-off": break_off,
    "bytes/wide-feed-that-breaks-off": lambda: break_off("utf-16"),
    "bytes/feed-that-cannot-be-opened": refuse,
}


def refuse_folder(_: object) -> NoReturn:
    raise PermissionError(errno.EACCES, "Permission denied")


LIMITS: dict[str, dict[str, Any]] = {
    "bytes/spreadsheet-with-many-rows": {"feeds.sheets.MAX_ROWS": 2},
    "bytes/spreadsheet-that-unpacks-to-much": {"feeds.sheets.MAX_UNPACKED_BYTES": 500},
    "bytes/spreadsheet-without-the-extra": {"feeds.sheets.find_spec": lambda _: None},
    "bytes/list-too-long": {"feeds.arrays.MAX_ARRAY_BYTES": 20},
    "bytes/too-many-pictures": {"feeds.pictures.MAX_FILES": 1},
    "bytes/folder-that-cannot-be-read": {"feeds.pictures.os.scandir": refuse_folder},
    "copies/no-avif": {"jobs.copies.has_avif": lambda: False},
    "bytes/files-that-are-too-much": {"models.local_files.MAX_BODY": 400},
}
"""Limits that are lower, and what is missing or forbidden, in a case."""


def golden(case: str) -> Path:
    return BROKEN / f"{case}.txt"
