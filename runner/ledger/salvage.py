"""Reading of a damaged log as far as possible: the intact lines, and the gaps between them.

The fields that can still be read in a cut line name the job of the line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

import msgspec

from runner.core.models import REQUEST_ID, Json, Record, State
from runner.core.nesting import check_nesting
from runner.ledger.records import LARGEST_PURCHASE, BadLine, decode

Key = tuple[str, int]
"""Purchase: the id of the job and the number."""

_START = re.compile(r'(?=\{\s*"id"\s*:\s*")')
"""Start of a record: the id is the first field."""

_BEFORE_INPUTS = ("api", "manifest", "model")

_AFTER_INPUTS = ("fingerprint", "file", "submitted_at", "renamed_from")

_DECODER = json.JSONDecoder()
_AFTER_VALUE = re.compile(r"\s*[,}]")


class Gap(msgspec.Struct, frozen=True):
    """Stretch that is not a record, in ``line`` (from 1), with the number of readable lines ``before`` it."""

    line: int
    before: int
    fragment: Fragment


class LogScan(msgspec.Struct):
    """Readable lines, and the position of the last line of each purchase."""

    lines: list[bytes] = msgspec.field(default_factory=list)
    gaps: list[Gap] = msgspec.field(default_factory=list)
    numbers: dict[str, list[int]] = msgspec.field(default_factory=dict)
    """Purchases of each job, in order of appearance."""
    last: dict[Key, tuple[int, State]] = msgspec.field(default_factory=dict)
    """Position in ``lines`` of the last line of a purchase, and its state."""
    renamed: dict[Key, int] = msgspec.field(default_factory=dict)
    """Last position of purchases that continue under another id."""

    def take(self, intact: IntactLine) -> None:
        """Add a readable line."""
        record, place = intact.record, len(self.lines)
        key = record.id, record.purchase
        first = key not in self.last
        if first:
            self.numbers.setdefault(record.id, []).append(record.purchase)
        if record.renamed_from is not None:
            old = record.renamed_from, record.renamed_purchase or record.purchase
            self._rename(old, place, first=first)
        self.last[key] = place, record.state
        self.lines.append(intact.line)

    def _rename(self, old: Key, place: int, *, first: bool) -> None:
        self.renamed[old] = place
        if first and self.last.pop(old, None) is not None:
            self.numbers[old[0]].remove(old[1])

    def record(self, key: Key) -> Record:
        """Return the record in the last readable line of a purchase."""
        return decode(self.lines[self.last[key][0]])

    def newest(self, job_id: str) -> Record | None:
        """Return the record of a job's last purchase; None: no line of the job can be read."""
        numbers = self.numbers.get(job_id)
        return self.record((job_id, max(numbers))) if numbers else None

    def goes_on(self, job_id: str, purchase: int | None, before: int) -> bool:
        """Tell whether a readable line of a purchase (None: of any of the job's) follows the first ``before`` lines."""
        numbers = [purchase] if purchase is not None else self.numbers.get(job_id, [])
        places = [self.last[job_id, number][0] for number in numbers if (job_id, number) in self.last]
        moved = [place for (old, number), place in self.renamed.items() if old == job_id and purchase in (None, number)]
        return any(place >= before for place in [*places, *moved])

    def requests(self) -> dict[str, Key]:
        """Return the purchases of the requests that gaps name."""
        wanted = {gap.fragment.request_id for gap in self.gaps if gap.fragment.request_id is not None}
        records = (self.record(key) for key in self.last) if wanted else ()
        return {
            r.request_id: (r.id, r.purchase) for r in records if r.request_id is not None and r.request_id in wanted
        }


def scan_log(lines: Iterable[bytes]) -> LogScan:
    """Read a log line by line. After the last newline, which ends the acknowledged part, only whole records count."""
    scan = LogScan()
    for number, line in enumerate(lines, 1):
        for piece in _pieces(line.removesuffix(b"\n")):
            if isinstance(piece, IntactLine):
                scan.take(piece)
            elif line.endswith(b"\n"):
                scan.gaps.append(Gap(number, len(scan.lines), piece))
    return scan


def _pieces(line: bytes) -> Iterator[IntactLine | Fragment]:
    if not line.strip():
        return
    try:
        yield IntactLine(decode(line), line.rstrip(b"\r"))
    except BadLine:
        yield from pieces(line)


class Fragment(msgspec.Struct, frozen=True, kw_only=True):
    """Stretch of bytes that is not a record; None for each field that cannot be read."""

    size: int
    """Number of bytes."""
    id: str | None = None
    purchase: int | None = None
    request_id: str | None = None
    recurs: bool = False
    """True if the id is also the name of the file: an id found twice is hardly garbled."""
    fields: dict[str, Json] = msgspec.field(default_factory=dict)
    """Further fields of the record, by name: ``api``, ``model``, ``inputs``, ``fingerprint`` …"""


class IntactLine(msgspec.Struct, frozen=True):
    """Readable record, and its bytes without a newline."""

    record: Record
    line: bytes


def pieces(line: bytes) -> Iterator[IntactLine | Fragment]:
    """Yield the records and fragments in a line that is not one record, in order.

    A single byte between two records was a newline.
    """
    parts = list(filter(None, _START.split(line.decode("utf-8", "surrogateescape"))))
    for number, part in enumerate(parts, 1):
        whole, end = _record_at(part)
        if whole is not None:
            yield whole
        rest = part[end:]
        was_newline = whole is not None and len(rest) == 1 and number < len(parts)
        if rest.strip() and not was_newline:
            yield read_fragment(rest)


def _record_at(text: str) -> tuple[IntactLine | None, int]:
    """Return the record at the beginning of ``text`` and its end; None and 0: there is none."""
    try:
        _, end = _DECODER.raw_decode(text)
        line = _bytes(text[:end])
        return IntactLine(decode(line), line), end
    except (ValueError, RecursionError):  # BadLine is one
        return None, 0


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def read_fragment(text: str) -> Fragment:
    """Return the fields that can be read in ``text``, which has surrogates for bytes that are not UTF-8."""
    inputs, outside = _without_inputs(text)
    job_id, request_id = _text(outside, "id"), _text(outside, "request_id", last=True)
    fields: dict[str, Json] = {name: _text(outside, name) for name in _BEFORE_INPUTS}
    fields |= {name: _text(outside, name, last=True) for name in _AFTER_INPUTS}
    fields["inputs"] = inputs
    return Fragment(
        size=len(_bytes(text)),
        id=job_id,
        purchase=_purchase(outside),
        request_id=request_id if request_id is not None and REQUEST_ID.fullmatch(request_id) else None,
        recurs=job_id is not None and _recurs(job_id, outside),
        fields={name: value for name, value in fields.items() if value is not None},
    )


def _without_inputs(text: str) -> tuple[dict[str, Json] | None, str]:
    """Return the inputs, and ``text`` without them: inputs may have the names of a record's fields."""
    found = re.search(r'"inputs"\s*:\s*', text)
    value, end = _value_at(text, found.end()) if found else (None, 0)
    if found is None or not isinstance(value, dict) or not _is_text(text[found.end() : end]):
        return None, text
    return value, text[: found.start()] + text[end:]


def _purchase(text: str) -> int | None:
    """Return the number of the purchase; None: it is missing, may be cut short, or is out of range."""
    found = re.search(r'"purchase"\s*:\s*(\d{1,6})(?=\s*[,}])', text)
    number = int(found[1]) if found else 0
    return number if 1 <= number <= LARGEST_PURCHASE else None


def _recurs(job_id: str, text: str) -> bool:
    stem = _text(text, "file", last=True) or (_text(text, "path") or "").rpartition(".")[0]
    return stem == job_id


def _text(text: str, name: str, *, last: bool = False) -> str | None:
    """Return the first or last value of a field; None: it is not a complete text.

    A comma or a brace must follow the value. If bytes are missing in ``"id":"tote 2","purchase":1``, the rest may read
    ``"id":"t"state``, which names another job.
    """
    found = list(re.finditer(rf'"{name}"\s*:\s*', text))
    if not found:
        return None
    value, end = _value_at(text, found[-1 if last else 0].end())
    ended = _AFTER_VALUE.match(text, end) is not None
    return value if ended and isinstance(value, str) and _is_text(value) else None


def _value_at(text: str, start: int) -> tuple[Json, int]:
    """Return the JSON value at ``start`` and its end; None if there is no value."""
    try:
        value, end = _DECODER.raw_decode(text, start)
        check_nesting(_bytes(text[start:end]))
    except (ValueError, RecursionError):  # TooDeep is a ValueError
        return None, start
    return value, end


def _is_text(value: str) -> bool:
    """Tell whether ``value`` is valid Unicode; garbled bytes are not."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
