"""Pictures as a feed: each file that matches a pattern is a row with the columns ``path``, ``name`` and ``stem``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from runner.core.media_formats import HEIC, PICTURES
from runner.manifest.feeds.lines import FeedError, Row
from runner.manifest.names import has_control, normal
from runner.manifest.problems import Invalid, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner.core.models import Json

EXTENSIONS: Final = tuple(ending for kind in (*PICTURES.values(), HEIC) for ending in (kind.extension, *kind.also))
"""Extensions of pictures."""
COLUMNS: Final = ("path", "name", "stem")
MAX_FILES: Final = 1_000_000
_ANY_FOLDERS: Final = "**"


def is_pattern(path: str) -> bool:
    """Tell whether ``path`` names several files."""
    return "*" in path or "?" in path


def names_pictures(pattern: str) -> bool:
    """Tell whether all files that match ``pattern`` have the extension of a picture."""
    return pattern.rpartition(".")[2].lower() in EXTENSIONS


class Pictures:
    """Files that match a pattern, in the order of their paths. Hidden files and folders match no wildcard."""

    loose = True
    header_line = 0

    def __init__(self, folder: Path, pattern: str, source: str) -> None:
        """Find the files; the pattern starts at ``folder``. ``source`` is the name of the pattern in messages.

        Raises ``FeedError`` if a folder cannot be read, or if there are more than ``MAX_FILES`` files.
        """
        self.columns: tuple[str, ...] | None = COLUMNS
        self._beside = source.removesuffix(pattern)
        self._paths = _sorted(_find(folder, pattern))

    def __iter__(self) -> Iterator[Row]:
        for path in self._paths:
            name = path.rpartition("/")[2]
            cells: dict[str, Json] = {"path": path, "name": name, "stem": name.rpartition(".")[0]}
            if has_control(path):
                what = f"the name of {shown(path)} is not UTF-8, or has a control character"
                yield Row(0, cells, Invalid(what, "rename the picture"))
            else:
                yield Row(0, cells, None, self._beside + path)


def _sorted(paths: Iterator[str]) -> list[str]:
    found: set[str] = set()
    for path in paths:
        if len(found) == MAX_FILES:
            raise FeedError(0, Invalid(f"more than {MAX_FILES:,} pictures match", "write one entry for each folder"))
        found.add(path)
    return sorted(found, key=lambda path: (normal(path), path))


def _find(folder: Path, pattern: str) -> Iterator[str]:
    """Yield the files that match ``pattern``, relative as it is, with ``/`` between the parts."""
    *above, name = pattern.split("/")
    stem, _, ending = name.rpartition(".")
    # Cameras write `.JPG`, and some disks ignore case: the extension matches in any.
    matches = re.compile(rf"{_translated(stem)}\.(?i:{_translated(ending)})", re.DOTALL).fullmatch
    for parent in _folders(folder, "", above):
        for entry in _entries(folder, parent):
            if matches(entry.name) and (stem.startswith(".") or not entry.name.startswith(".")) and entry.is_file():
                yield parent + entry.name


def _folders(folder: Path, parent: str, parts: list[str]) -> Iterator[str]:
    """Yield the folders that match ``parts``, below ``parent``; each is empty or ends with ``/``."""
    if not parts:
        yield parent
        return
    part, *rest = parts
    if not is_pattern(part):
        yield from _folders(folder, f"{parent}{part}/", rest)
        return
    if part == _ANY_FOLDERS:
        yield from _folders(folder, parent, rest)
    matches = re.compile(_translated(part), re.DOTALL).fullmatch
    for entry in _entries(folder, parent):
        if entry.name.startswith(".") and not part.startswith("."):
            continue
        # Links are not followed below `**`: a link to a folder above would be walked again and again.
        if part == _ANY_FOLDERS and entry.is_dir(follow_symlinks=False):
            yield from _folders(folder, f"{parent}{entry.name}/", parts)
        elif part != _ANY_FOLDERS and matches(entry.name) and entry.is_dir():
            yield from _folders(folder, f"{parent}{entry.name}/", rest)


def _entries(folder: Path, parent: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder / parent) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        what = f"the folder {shown(parent or '.')} cannot be read: {error.strerror}"
        raise FeedError(0, Invalid(what, "it must be a folder that you may read")) from None


def missing_folder(folder: Path, pattern: str) -> str | None:
    """Return the folder that ``pattern`` names without wildcards, if there is no such folder."""
    above = pattern.split("/")[:-1]
    fixed = "/".join(above[: next((n for n, part in enumerate(above) if is_pattern(part)), len(above))])
    # An absolute pattern begins with an empty part.
    return None if (folder / (fixed or ("/" if pattern.startswith("/") else "."))).is_dir() else fixed


def _translated(pattern: str) -> str:
    """Return a regular expression for ``pattern``, in which ``*`` and ``?`` stand for characters."""
    return "".join({"*": ".*", "?": "."}.get(character) or re.escape(character) for character in pattern)
