"""JSON feeds: one list of objects, read whole. Each object is a row."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Final

import msgspec

from runner.manifest.feeds.jsonlines import BYTE, is_empty, read_object, too_deep
from runner.manifest.feeds.lines import FeedError, FeedLines, Row
from runner.manifest.problems import Invalid, listing, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ARRAY_BYTES: Final = 64_000_000
"""Largest file that is read whole."""
_LIST: Final = 'a list of objects: [{"sku": "mug-01", "name": "Mug"}]'
_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class JsonArray:
    """Objects of a list, in order. Each may have columns of its own."""

    loose = False
    header_line = 0
    columns: tuple[str, ...] | None = None

    def __init__(self, file: IO[bytes], *, encoding: str | None, at: str | None) -> None:
        """Read the list, or the one that is the value of the key ``at``. Raises ``FeedError``."""
        self._whole = whole = _read(file, encoding)
        try:
            found = _list_at(whole, at)
            self._start = whole.find(found)
            self._items = _items(found)
        except RecursionError:
            raise FeedError(0, too_deep()) from None
        except msgspec.DecodeError as error:
            raise _explain(whole, error) from None

    def __iter__(self) -> Iterator[Row]:
        end, line = 0, 1
        start = self._start
        for raw in self._items:
            item = bytes(raw)
            start = self._whole.index(item, start)
            line += self._whole.count(b"\n", end, start)
            end = start
            start += len(item)
            try:
                cells, fault = read_object(item.decode(), _LIST), None
            except Invalid as wrong:
                cells, fault = {}, wrong
            if not is_empty(cells):
                yield Row(line, cells, fault)


def _read(file: IO[bytes], encoding: str | None) -> bytes:
    """Return the text of the feed in UTF-8. Raises ``FeedError``."""
    lines = FeedLines(file, encoding, most=2 * MAX_ARRAY_BYTES)
    whole = bytearray()
    for text in lines:
        if fault := lines.take_fault():
            raise FeedError(lines.number, fault)
        whole += text.encode()
        if len(whole) > MAX_ARRAY_BYTES:
            what = f"this list has more than {MAX_ARRAY_BYTES:,} bytes, and is read whole"
            raise FeedError(0, Invalid(what, "write one object a line and call it .jsonl: that may have any length"))
    return bytes(whole)


def _list_at(whole: bytes, at: str | None) -> bytes:
    """Return the list of rows as it is written. Raises ``FeedError`` and ``msgspec.DecodeError``."""
    start = whole[:1000].lstrip()[:1]
    if at is None:
        if start == b"[":
            return whole
        if start != b"{":
            raise FeedError(0, Invalid("this feed is no list of objects", _LIST))
        lists = [name for name, value in _members(whole).items() if bytes(value)[:1] == b"["]
        advice = f"write `at: {lists[0]}`" if lists else _LIST
        raise FeedError(0, Invalid("this feed is one object, and no list of objects", advice))
    if start != b"{":
        raise FeedError(0, Invalid(f"this feed is no object with a key {shown(at)}", "leave `at:` out"))
    members = _members(whole)
    if at not in members:
        advice = nearest(at, members) or f"there is {listing(list(members)) or 'nothing'}"
        raise FeedError(0, Invalid(f"this feed has no key {shown(at)}", advice))
    if bytes(members[at])[:1] != b"[":
        raise FeedError(0, Invalid(f"the value of {shown(at)} is no list of objects", _LIST))
    return bytes(members[at])


def _explain(whole: bytes, error: Exception) -> FeedError:
    """Return the problem with the JSON text, at its line."""
    found = BYTE.search(str(error))
    if found is None:
        line = whole.rstrip().count(b"\n") + 1
        return FeedError(line, Invalid("this feed is no JSON: it ends too early", _LIST))
    before = whole[: int(found[1])].decode(errors="ignore")
    what = BYTE.sub("", str(error)).strip().removeprefix("JSON is malformed: ")
    column = len(before) - before.rfind("\n")
    return FeedError(before.count("\n") + 1, Invalid(f"this feed is no JSON: {what} at column {column}", _LIST))
