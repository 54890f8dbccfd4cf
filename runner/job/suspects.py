"""Telling a changed token from lost requests."""

from __future__ import annotations

from runner.model import Record


class Suspects:
    """What was owed before this run and is now refused. Many at once mean another token, not lost requests."""

    def __init__(self, owed: int) -> None:
        self.owed = owed
        self.verdicts: list[tuple[Record, Record]] = []

    def add(self, record: Record, following: Record) -> None:
        """Keep the record that would follow if the refusal is to be believed."""
        self.verdicts.append((record, following))

    @property
    def token_changed(self) -> bool:
        """At least five, and most of what is owed."""
        return len(self.verdicts) >= 5 and len(self.verdicts) * 2 > self.owed
