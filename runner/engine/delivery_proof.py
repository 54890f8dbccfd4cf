"""Proof that results can be delivered at all: the first delivery of a run that succeeds.

Until then buying goes on only as long as few results wait. A storage that is out of reach, or a proxy that answers for
it, would otherwise turn a whole night's purchases into files that nobody can download.
"""

from __future__ import annotations

import logging

from runner.core.models import Record, State

MAX_UNPROVEN = 8
"""Results that may wait, or have failed, before the first one is delivered; or as many as there are slots."""

log = logging.getLogger(__name__)


class DeliveryProof:
    """What the deliveries of a run tell about those to come."""

    def __init__(self) -> None:
        self.open = 0
        """Results that wait or have failed, as long as none was delivered."""
        self.tried = False
        """True once a purchase of this run was made to find out, or could not be delivered."""
        self.why = ""
        """What the user should read when buying stops."""
        self._failed = 0
        self._given = False

    def expect(self, record: Record) -> None:
        """Count a result that is to be delivered. What is stuck tells nothing about others."""
        self.open += not self._given and record.state is State.GENERATED and not record.stuck

    def note(self, before: Record, after: Record, *, fresh: bool) -> None:
        """Note how the delivery of ``before`` ended; ``fresh``: it was bought in this run."""
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
            f"nothing more is bought: all {self._failed} downloads of this run failed, such as {after.id} ({message}). "
            "They are paid, and kept for days only: run again soon (downloads are free)"
        )
        if self._failed == MAX_UNPROVEN:
            log.warning("%d downloads failed and none succeeded; buying pauses until one does", self._failed)
