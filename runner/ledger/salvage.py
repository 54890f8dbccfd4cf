"""A damaged log, read as far as it goes: the readable lines, and between which of them something was cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from runner.core.models import Record, State
from runner.ledger.fragments import Fragment, Whole, pieces
from runner.ledger.records import BadLine, decode

Key = tuple[str, int]
"""A purchase: the job's id and the number."""


class Cut(msgspec.Struct, frozen=True):
    """A stretch that is no record, in ``line`` (from 1), with so many readable lines ``before`` it."""

    line: int
    before: int
    fragment: Fragment


class Story(msgspec.Struct):
    """The readable lines, and where the last one of each purchase stands."""

    lines: list[bytes] = msgspec.field(default_factory=list)
    cuts: list[Cut] = msgspec.field(default_factory=list)
    numbers: dict[str, list[int]] = msgspec.field(default_factory=dict)
    """The purchases of each job, as they appeared."""
    last: dict[Key, tuple[int, State]] = msgspec.field(default_factory=dict)
    """Position in ``lines`` of a purchase's last line, and its state."""
    renamed: dict[Key, int] = msgspec.field(default_factory=dict)
    """The last position of purchases that went on under another id."""

    def take(self, whole: Whole) -> None:
        """Add a readable line."""
        record, place = whole.record, len(self.lines)
        key = record.id, record.purchase
        first = key not in self.last
        if first:
            self.numbers.setdefault(record.id, []).append(record.purchase)
        if record.renamed_from is not None:
            old = record.renamed_from, record.renamed_purchase or record.purchase
            self._rename(old, place, first=first)
        self.last[key] = place, record.state
        self.lines.append(whole.line)

    def _rename(self, old: Key, place: int, *, first: bool) -> None:
        self.renamed[old] = place
        if first and self.last.pop(old, None) is not None:
            self.numbers[old[0]].remove(old[1])

    def record(self, key: Key) -> Record:
        """A purchase as its last readable line has it."""
        return decode(self.lines[self.last[key][0]])

    def newest(self, job_id: str) -> Record | None:
        """A job's last purchase as it stands, or None where no line of the job can be read."""
        numbers = self.numbers.get(job_id)
        return self.record((job_id, max(numbers))) if numbers else None

    def goes_on(self, job_id: str, purchase: int | None, before: int) -> bool:
        """Whether a readable line of a purchase (None: of any of the job's) follows the first ``before`` lines."""
        numbers = [purchase] if purchase is not None else self.numbers.get(job_id, [])
        places = [self.last[job_id, number][0] for number in numbers if (job_id, number) in self.last]
        moved = [place for (old, number), place in self.renamed.items() if old == job_id and purchase in (None, number)]
        return any(place >= before for place in [*places, *moved])

    def requests(self) -> dict[str, Key]:
        """The purchases whose requests a cut stretch names."""
        wanted = {cut.fragment.request_id for cut in self.cuts if cut.fragment.request_id is not None}
        records = (self.record(key) for key in self.last) if wanted else ()
        return {
            r.request_id: (r.id, r.purchase) for r in records if r.request_id is not None and r.request_id in wanted
        }


def read_story(lines: Iterable[bytes]) -> Story:
    """Read a log line by line. What follows its last newline was never acknowledged: only whole records count there."""
    story = Story()
    for number, line in enumerate(lines, 1):
        for piece in _pieces(line.removesuffix(b"\n")):
            if isinstance(piece, Whole):
                story.take(piece)
            elif line.endswith(b"\n"):
                story.cuts.append(Cut(number, len(story.lines), piece))
    return story


def _pieces(line: bytes) -> Iterator[Whole | Fragment]:
    if not line.strip():
        return
    try:
        yield Whole(decode(line), line.rstrip(b"\r"))
    except BadLine:
        yield from pieces(line)
