"""Lines of a feed as text, one by one. A bad line does not end the reading."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Final, NamedTuple

from runner.manifest.problems import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.core.models import Json

MAX_LINE_BYTES: Final = 10_000_000
"""Longest line. A longer one ends the reading: such a file is no feed, and would fill the memory."""

_BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


class Row(NamedTuple):
    """One row of a feed: the line on which it begins, its cells by column, and its problem, if any."""

    line: int
    cells: dict[str, Json]
    fault: Invalid | None


class FeedError(Exception):
    """Error of a feed that cannot be read beyond ``line`` (from 1; 0: not at all); ``wrong`` is the reason."""

    def __init__(self, line: int, wrong: Invalid) -> None:
        super().__init__(wrong.what)
        self.line = line
        self.wrong = wrong


class FeedLines:
    """Lines of ``file``, with their line ends.

    ``number`` is the number of the last line and ``last`` its text. A byte that is not UTF-8 is replaced. Such a
    byte, or a NUL, is noted in ``fault`` until ``take_fault`` is called. Iterating raises ``FeedError``.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.number = 0
        self.last = ""
        self.fault: Invalid | None = None
        self._file = file

    def __iter__(self) -> Iterator[str]:
        while raw := self._read():
            self.number += 1
            if self.number == 1:
                raw = self._begin(raw)
            try:
                line = raw.decode()
            except UnicodeDecodeError as error:
                line = self._doubt(raw, error)
            if "\0" in line:
                self.fault = self.fault or Invalid("this row holds the character U+0000 (NUL)", "delete it")
            self.last = line
            yield line

    def _read(self) -> bytes:
        try:
            raw = self._file.readline(MAX_LINE_BYTES + 1)
        except OSError as error:
            what = f"this feed cannot be read further: {error.strerror}"
            raise FeedError(self.number, Invalid(what, "check its disk and run again")) from None
        if len(raw) > MAX_LINE_BYTES:
            what = f"this line is longer than {MAX_LINE_BYTES:,} bytes"
            raise FeedError(self.number + 1, Invalid(what, "a feed has one row a line"))
        return raw

    def _begin(self, raw: bytes) -> bytes:
        if raw.startswith(_UTF16):
            raise FeedError(0, Invalid("this feed is UTF-16", "save it as UTF-8"))
        return raw.removeprefix(_BOM)

    def _doubt(self, raw: bytes, error: UnicodeDecodeError) -> str:
        what = f"byte 0x{raw[error.start]:02X} is not UTF-8"
        advice = "save the feed as UTF-8; it looks like Latin-1 or Windows-1252"
        self.fault = self.fault or Invalid(what, advice)
        return raw.decode(errors="replace")

    def take_fault(self) -> Invalid | None:
        """Return the problem with the bytes since the last call, and clear it; None: there was none."""
        fault, self.fault = self.fault, None
        return fault
