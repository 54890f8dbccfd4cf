"""Proof that results can be delivered: the first successful delivery of a run.

Before this delivery, buying continues only while few results wait. With an unreachable storage, or a proxy that
answers in its place, all purchases of a night could otherwise become files that cannot be downloaded.
"""

from __future__ import annotations

import logging

from runner.core.models import Record, State

MAX_UNPROVEN = 8
"""Results that may wait or have failed before the first delivery; the number of slots if that is higher."""

log = logging.getLogger(__name__)


class DeliveryProof:
    """Evidence from the deliveries of a run for the deliveries to come."""

    def __init__(self) -> None:
        self.open = 0
        """Results that wait or have failed; 0 after the first delivery."""
        self.tried = False
        """True if the delivery of a purchase of this run failed."""
        self.why = ""
        """Message for the user if buying stops."""
        self._failed = 0
        self._given = False

    def is_lacking(self, slots: int) -> bool:
        """Tell whether buying pauses: nothing was delivered yet, and many results wait or have failed."""
        return self.open >= max(MAX_UNPROVEN, slots)

    def expect(self, record: Record) -> None:
        """Count a result that is to be delivered. A stuck purchase is no evidence about others, and is not counted."""
        self.open += not self._given and record.state is State.GENERATED and not record.stuck

    def note(self, before: Record, after: Record, *, fresh: bool) -> None:
        """Note how the delivery of ``before`` ended. ``fresh``: the purchase was made in this run."""
        if self._given or before.state is not State.GENERATED or before.stuck:
            return
        if after.state is State.DONE:
            self._given, self.open = True, 0
        elif after.stuck:
            self.open -= 1
        else:
            self._fail(after, fresh=fresh)

    def _fail(self, after: Record, *, fresh: bool) -> None:
        self._failed += 1
        self.tried |= fresh
        message = after.error.message if after.error is not None else after.state.value
        self.why = (
            f"all {self._failed:,} downloads of this run failed, such as {after.id} ({message}). The results are paid, "
            "and available for days only: run again soon (downloads are free)"
        )
        if self._failed == MAX_UNPROVEN:
            log.warning("%d downloads failed and none succeeded; buying pauses until one succeeds", self._failed)
