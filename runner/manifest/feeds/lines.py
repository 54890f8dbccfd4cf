"""Lines of a feed as text, one by one. A bad line does not end the reading."""

from __future__ import annotations

import re
from contextlib import suppress
from io import TextIOWrapper
from typing import IO, TYPE_CHECKING, Final, NamedTuple, TextIO

from runner.manifest.problems import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.core.models import Json

MAX_LINE_BYTES: Final = 10_000_000
"""Longest line. A longer one ends the reading: such a file is no feed, and would fill the memory."""

_BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_EXPORT_AGAIN: Final = "copy or export the feed again"
_OTHER_ENCODING: Final = "write `encoding: cp1252` for a file of Excel on Windows, or save it as UTF-8"
_OTHER_NAME: Final = "name the encoding that the feed was saved in; without `encoding:` it is UTF-8 or UTF-16"


class Row(NamedTuple):
    """One row of a feed: the line on which it begins, its cells by column, and its problem, if any."""

    line: int
    cells: dict[str, Json]
    fault: Invalid | None
    source: str = ""
    """File that the row stands for, in messages; empty: the row is a line of the feed."""


class FeedError(Exception):
    """Error of a feed that cannot be read beyond ``line`` (from 1; 0: not at all); ``wrong`` is the reason."""

    def __init__(self, line: int, wrong: Invalid) -> None:
        super().__init__(wrong.what)
        self.line = line
        self.wrong = wrong


class Undecodable(Invalid):
    """Error of bytes that are no text in the encoding of the feed. All rows of a feed may have the same error."""


class FeedLines:
    """Lines of ``file``, with their line ends.

    The encoding is UTF-8, or UTF-16 if the file begins with its mark, or ``encoding``, a name of Python's.

    ``number`` is the number of the last line. A byte that is no text is replaced. Such a
    byte, or a NUL, is noted in ``fault`` until ``take_fault`` is called. Iterating raises ``FeedError``.
    """

    def __init__(self, file: IO[bytes], encoding: str | None = None, *, most: int = MAX_LINE_BYTES) -> None:
        """Prepare to read ``file``, whose lines have at most ``most`` bytes."""
        self.number = 0
        self.fault: Invalid | None = None
        self._file = file
        self._given = encoding
        self._most = most

    def __iter__(self) -> Iterator[str]:
        encoding = self._given or "utf-8"
        while raw := self._read():
            if self.number == 0:
                if (found := self._utf16(raw)) is not None:
                    yield from self._wide_lines(found)
                    return
                raw = self._begin(raw)
            self.number += 1
            try:
                line = raw.decode(encoding)
            except UnicodeDecodeError as error:
                line = self._doubt(raw, error)
            if "\0" in line:
                self.fault = self.fault or _nul()
            yield line

    def _read(self) -> bytes:
        try:
            raw = self._file.readline(self._most + 1)
        except OSError as error:
            raise self._unreadable(error) from None
        if len(raw) > self._most:
            raise self._too_long()
        return raw

    def _unreadable(self, error: OSError) -> FeedError:
        what = f"this feed cannot be read further: {error.strerror}"
        return FeedError(self.number, Invalid(what, "check its disk and run again"))

    def _too_long(self) -> FeedError:
        what = f"this line is longer than {self._most:,} bytes"
        return FeedError(self.number + 1, Invalid(what, "a feed has one row a line"))

    def _utf16(self, start: bytes) -> str | None:
        """Return the name of UTF-16 in Python if the feed is in UTF-16; None: it is not."""
        marked = start.startswith(_UTF16)
        if self._given is not None and self._given.startswith("utf-16") and not start.startswith(_BOM):
            # The mark is no part of the text, whichever byte order the manifest names.
            return "utf-16" if marked or self._given == "utf-16" else self._given
        return "utf-16" if marked and self._given is None else None

    def _begin(self, raw: bytes) -> bytes:
        """Return the first line without its mark. Raises ``FeedError`` if it is in another encoding."""
        marked = "UTF-16" if raw.startswith(_UTF16) else "UTF-8" if raw.startswith(_BOM) else ""
        if marked == "UTF-16" or (marked and self._given not in (None, "utf-8")):
            what = f"this feed begins with the mark of {marked}, and `encoding` names another"
            raise FeedError(0, Invalid(what, "leave `encoding:` out"))
        if raw.count(b"\0") > len(raw) // 4:
            order = "be" if raw.startswith(b"\0") else "le"
            raise FeedError(
                0, Invalid("this feed looks like UTF-16 without its mark", f"write `encoding: utf-16-{order}`")
            )
        return raw.removeprefix(_BOM)

    def _wide_lines(self, encoding: str) -> Iterator[str]:
        """Yield the lines of a file in UTF-16, from its beginning."""
        self._file.seek(0)
        # Halves of surrogate pairs are let through, so that a bad line does not end the reading.
        text = TextIOWrapper(self._file, encoding, errors="surrogatepass", newline="\n")
        try:
            while line := self._read_wide(text):
                self.number += 1
                if "\0" in line:
                    self.fault = self.fault or _nul()
                if _SURROGATE.search(line):
                    line = _SURROGATE.sub("\ufffd", line)
                    what = f"half of a surrogate pair in line {self.number} is no character"
                    self.fault = self.fault or Undecodable(what, _EXPORT_AGAIN)
                yield line
        finally:
            with suppress(ValueError):  # closed by its owner before
                text.detach()

    def _read_wide(self, text: TextIO) -> str:
        try:
            line = text.readline(self._most + 1)
        except OSError as error:
            raise self._unreadable(error) from None
        except UnicodeError:
            what = "this feed is in UTF-16 and ends inside a character"
            raise FeedError(self.number + 1, Invalid(what, _EXPORT_AGAIN)) from None
        if len(line) > self._most:
            raise self._too_long()
        return line

    def _doubt(self, raw: bytes, error: UnicodeDecodeError) -> str:
        byte = f"byte 0x{raw[error.start]:02X} in line {self.number}"
        if self._given is None:
            wrong = Undecodable(f"{byte} is not UTF-8, and the feed does not begin like UTF-16", _OTHER_ENCODING)
        else:
            wrong = Undecodable(f"{byte} is no character in {self._given}", _OTHER_NAME)
        self.fault = self.fault or wrong
        return raw.decode(error.encoding, errors="replace")

    def take_fault(self) -> Invalid | None:
        """Return the problem with the bytes since the last call, and clear it; None: there was none."""
        fault, self.fault = self.fault, None
        return fault


def _nul() -> Invalid:
    return Invalid("this row holds the character U+0000 (NUL)", "delete it")
