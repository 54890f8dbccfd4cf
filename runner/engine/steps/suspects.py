"""Telling a changed token from lost requests."""

from __future__ import annotations

from runner.core.models import Record


class Suspects:
    """What was owed before this run and is now refused. Many at once mean another token, not lost requests."""

    def __init__(self, owed: int) -> None:
        """``owed`` is how many purchases earlier runs left that are not known to be lost."""
        self.owed = owed
        self.fresh = 0
        """Purchases of this run that were asked after, and how many of them are refused."""
        self.refused_fresh = 0
        self.verdicts: list[tuple[Record, Record]] = []

    def add(self, record: Record, following: Record) -> None:
        """Keep the record that would follow if the refusal is to be believed."""
        self.verdicts.append((record, following))

    @property
    def token_changed(self) -> bool:
        """At least five, and most of what is owed."""
        refused = len(self.verdicts) + self.refused_fresh
        return refused >= 5 and refused * 2 > self.owed + self.fresh
