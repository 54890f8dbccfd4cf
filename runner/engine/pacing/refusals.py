"""Limits of the API, inferred from its refusals (HTTP 429): requests in flight, submissions a second, or load. No I/O.

No limit is published, and one answer does not tell the three kinds apart. They differ in when a refusal comes:

- A limit of ``n`` requests in flight refuses the next one at ``n``, and never far below a number that was accepted
  before. The API counts fewer than the runner, which has not noticed every end yet; ``UNNOTICED`` allows for that.
- A limit on submissions a second refuses at any number, and gives a wait (``Retry-After``). The allowance is used up at
  each refusal, so the number accepted between two refusals is what the rate allows in that time.
- Load refuses at any number, and gives no wait.

A limit may be mistaken for another kind, or be lifted. So one more request is tried from time to time, at growing
intervals: each failed try costs a refusal and the pause that the API asks for.
"""

from __future__ import annotations

from enum import StrEnum

UNNOTICED = 0.8
"""A refusal at less than this share of a number that was accepted shows no limit on requests in flight."""
ENOUGH = 3
"""Acceptances between two refusals that are needed to estimate the rate."""
TRY_AFTER = 24
"""Generations of requests before one more than the limit is tried for the first time."""
FREE_TRY_SECONDS = 2.0
"""Seconds before such a try while no request ends: every slot is full then, and a pause keeps none idle."""
TRY_SECONDS = 60.0
"""Seconds after a refusal or try before one more is tried in any case: 60, and at most 480 after failed tries."""
RARER, MOST_PATIENCE = 8, 64
"""Factor by which each failed try lengthens the wait for the next one, and the most by which all of them do."""
MOST_DOUBTS = 2
"""Number of times that a limit on requests in flight may prove far too low; after that it counts as a rate."""
RAISE_AFTER = 20
"""Acceptances after which a learnt rate grows."""
LEAST_RATE = 0.2
"""Least rate that is learnt, in submissions a second. A slower limit is kept by the pauses that the API asks for."""
FIRST_RAISE, LEAST_RAISE = 0.2, 0.01
"""Shares by which a learnt rate grows: the first, and the least. Each refusal halves the share."""


class RefusalKind(StrEnum):
    """Cause of a refusal."""

    LIMIT = "limit"
    RATE = "rate"
    LOAD = "load"


class RefusalEstimate:
    """Limits inferred from the refusals of a run. Times are seconds on a monotonic clock."""

    def __init__(self) -> None:
        self.limit: int | None = None
        """Requests in flight that the API allows; None: no such limit is known."""
        self.per_second: float | None = None
        """Submissions a second that the API allows; None: no such limit is known."""
        self._most = 0
        """Largest number of other requests in flight at an acceptance."""
        self._since_try = 0
        """Acceptances since the last refusal or try."""
        self._accepted = 0
        self._accepted_since: float | None = None
        """Time from which ``_accepted`` counts acceptances: that of a refusal; None: nothing was refused yet."""
        self._try_at = 0.0
        """Time at which one more is tried in any case."""
        self._patience = 1
        """Wait for the next try as a multiple of the first wait."""
        self._full_since: float | None = None
        """Time since which as many requests are in flight as the limit allows."""
        self._doubts = 0
        """Number of times that a limit proved far too low."""
        self._learnt = 0
        """Last limit on requests in flight that a refusal showed."""
        self._raise = FIRST_RAISE

    def allows(self, now: float, others: int) -> bool:
        """Tell whether one more may be submitted with ``others`` in flight: below the limit, or as a try beyond it."""
        if self.limit is None or others < self.limit:
            self._full_since = None
            return True
        if self._full_since is None:
            self._full_since = now
        enough = self._since_try >= TRY_AFTER * self._patience * self.limit or now >= self._try_at
        if not enough and now - self._full_since < FREE_TRY_SECONDS * self._patience:
            return False
        self._since_try, self._full_since = 0, now
        self._put_off(now)
        return True

    def accepted(self, others: int) -> None:
        """Count an acceptance with at least ``others`` in flight. An acceptance at the limit removes the limit."""
        self._most = max(self._most, others)
        self._accepted += 1
        self._since_try += 1
        if self.limit is not None and others >= self.limit:
            self.limit = None
        if self.per_second is not None and self._since_try % RAISE_AFTER == 0:
            self.per_second *= 1 + self._raise

    def refused(self, now: float, in_flight: int, sending: int, *, retry_after: float | None) -> RefusalKind:
        """Classify a 429 that came with ``in_flight`` accepted and ``sending`` under way, and learn from it."""
        others = in_flight + sending  # an upper bound: submissions under way may be refused as well
        self._since_try = 0
        self._put_off(now)
        accepted, since = self._accepted, self._accepted_since
        if accepted >= ENOUGH or since is None:
            self._accepted, self._accepted_since = 0, now
        if self.limit is not None and others < self.limit and accepted >= ENOUGH:
            self._doubts = MOST_DOUBTS  # a limit refuses at it, and not below
        is_rate = retry_after is not None and self._doubts >= MOST_DOUBTS
        if in_flight and others >= UNNOTICED * max(self._most, self._learnt) and not is_rate:
            self._learn_limit(others)
            return RefusalKind.LIMIT
        self.limit = None
        if retry_after is None:
            self._most = self._learnt = others
            return RefusalKind.LOAD
        self._doubts = MOST_DOUBTS
        if accepted >= ENOUGH and since is not None and now > since:
            self.per_second = max(LEAST_RATE, (accepted + 1) / (now - since))
            self._raise = max(LEAST_RAISE, self._raise / 2)
        return RefusalKind.RATE

    def _learn_limit(self, others: int) -> None:
        """Set the limit to ``others``, or to the one before if that was tried and is about the same."""
        known = self._learnt if others * UNNOTICED <= self._learnt else 0
        tried = self.limit is None or others >= self.limit
        if known and tried:
            self._patience = min(RARER * self._patience, MOST_PATIENCE)
        self._doubts += bool(self._learnt) and not known
        self.limit = self._learnt = min(others, known or others)

    def _put_off(self, now: float) -> None:
        """Let the next try come after a while, however little is accepted until then."""
        self._try_at = now + TRY_SECONDS * self._patience**0.5
