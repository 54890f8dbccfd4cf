"""The note of a log's last line: what it proves, and that looking for the line disturbs no writing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
import pytest

from runner.ledger import Log, last_line, open_reader
from runner.ledger.last_line import LastLine
from runner.ledger.records import line_of

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeRecord

NAMES = ("mug", "tote", "cup")


def note(path: Path, line: bytes, at: str) -> None:
    path.parent.joinpath(".runner").mkdir(exist_ok=True)
    found = LastLine(sha256=hashlib.sha256(line.rstrip(b"\n")).hexdigest(), at=at)
    path.parent.joinpath(".runner/results.jsonl.last").write_bytes(msgspec.json.encode(found))


def seen_older(path: Path) -> Path | None:
    with open_reader(path.parent) as ledger:
        return ledger.older


@pytest.mark.parametrize("block", [7, 1 << 20])
@pytest.mark.parametrize("noted", NAMES)
def test_a_line_anywhere_in_the_log_proves_it_whole_and_the_next_one_is_appended(
    path: Path, record: MakeRecord, monkeypatch: pytest.MonkeyPatch, noted: str, block: int
) -> None:
    """The clock was wrong when the note was made, so its time proves nothing; the log is read through for the line."""
    monkeypatch.setattr(last_line, "BLOCK", block)
    lines = [line_of(record(name)) for name in NAMES]
    path.write_bytes(b"".join(lines))
    note(path, line_of(record(noted)), "2099")
    log = Log(path, writable=True)
    assert not log.older
    line = line_of(record("jar"))
    log.write([line])
    log.count(record("jar"), len(line))
    log.close()
    assert path.read_bytes() == b"".join([*lines, line])
    assert seen_older(path) is None


def test_an_older_copy_stays_one_whatever_is_appended(path: Path, record: MakeRecord) -> None:
    """Until the line itself is back: a younger line proves nothing once the copy was seen."""
    path.write_bytes(line_of(record("mug")))
    note(path, line_of(record("tote")), "2099")
    for name in ("cup", "jar"):
        log = Log(path, writable=True)
        assert log.older
        line = line_of(record(name, at="2100"))
        log.write([line])
        log.count(record(name, at="2100"), len(line))
        log.close()
    assert seen_older(path) == path
    path.write_bytes(line_of(record("mug")) + line_of(record("tote")))
    assert seen_older(path) is None


def test_a_long_last_line_is_noted_whole(path: Path, record: MakeRecord) -> None:
    """A prompt may be longer than what is read at once."""
    log = Log(path, writable=True)
    line = line_of(record("mug", inputs={"prompt": "x" * 100_000}))
    log.write([line])
    log.count(record("mug"), len(line))
    log.close()
    noted = msgspec.json.decode(path.parent.joinpath(".runner/results.jsonl.last").read_bytes())
    assert noted["sha256"] == hashlib.sha256(line.rstrip(b"\n")).hexdigest()


def test_what_a_run_appended_is_missed_in_a_copy_from_before_it(path: Path, record: MakeRecord) -> None:
    """The copy has a line of an earlier time only, though the run began with just that line."""
    path.write_bytes(line_of(record("mug", at="2026-11-22T01:00:00.000Z")))
    log = Log(path, writable=True)
    later = record("tote", at="2026-11-22T02:00:00.000Z")
    log.write([line_of(later)])
    log.count(later, len(line_of(later)))
    log.close()
    path.write_bytes(line_of(record("mug", at="2026-11-22T01:00:00.000Z")))
    assert seen_older(path) == path


def test_an_older_copy_is_not_compacted_and_stays_one(path: Path, record: MakeRecord) -> None:
    """Else its own last line would be noted as the newest, and what it lacks would be bought again."""
    note(path, line_of(record("tote")), "2099")
    lines = line_of(record("mug")) * 5
    path.write_bytes(lines)
    log = Log(path, writable=True)
    log.compact()
    log.close()
    assert path.read_bytes() == lines
    assert seen_older(path) == path


def test_a_log_whose_last_line_cannot_be_noted_is_not_compacted(path: Path, record: MakeRecord) -> None:
    """An older copy could not be told from a compacted log then. Closing it is no error."""
    lines = line_of(record("mug")) * 5
    path.write_bytes(lines)
    (path.parent / ".runner/results.jsonl.last").mkdir(parents=True)
    log = Log(path, writable=True)
    log.compact()
    log.close()
    assert path.read_bytes() == lines
