"""Throttle of submissions: the rate, and pauses that apply to all slots together.

A refusal (429, 503, no connection) pauses all slots: for as long as the API asks, else for growing times. After the
pause one worker tries first, and the others follow once a submission was accepted. The limits of the API that the
refusals show (``refusals``) are kept: a submission waits until fewer requests are in flight.

Refusals fail no job. After ``PATIENCE`` seconds without an acceptance, or if the API demands a longer wait, buying
stops. Outcomes that cannot be read pause the slots and stop buying much sooner, because each may be a purchase.
"""

from __future__ import annotations

import logging
import random
from asyncio import Lock
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from random import Random

from runner.core.clock import Clock
from runner.engine.pacing.refusals import RefusalEstimate, RefusalKind
from runner.engine.stop import Stop

PATIENCE = 15 * 60.0

DOUBTS = 5
"""Submissions in a row with an unreadable outcome that count as trouble of the service."""

MOST_DOUBTS = 10
"""Unreadable outcomes without an acceptance after which buying stops: each may have cost money for nothing."""

LEAST_SECONDS = 1.0
"""Shortest Retry-After in seconds that is used. A shorter one is ignored; our own backoff applies."""

TOLERANCE_SECONDS = 1e-6
"""Tolerance for clocks and sums of floating-point numbers; the rate itself is kept exactly."""

FULL_SECONDS = 0.01
"""Seconds between two checks for a free place, while as many requests are in flight as the API allows."""

log = logging.getLogger(__name__)


class _Turn:
    """One submission from its turn to its answer: it counts as under way, and releases the gate if it has the gate."""

    def __init__(self, throttle: Throttle, gate: Lock | None) -> None:
        self._throttle = throttle
        self._gate = gate

    def __enter__(self) -> None:
        self._throttle.sending += 1

    def __exit__(self, *_: object) -> None:
        self._throttle.sending -= 1
        if self._gate is not None:
            self._gate.release()


class Throttle:
    """Throttle of submissions, shared by all workers of a run."""

    def __init__(
        self,
        clock: Clock,
        stop: Stop,
        *,
        per_second: float | None,
        rng: Random,
        refusals: RefusalEstimate,
        in_flight: Callable[[], int],
        busy: Callable[[RefusalKind], None],
        gap: float = 0.0,
    ) -> None:
        """Hold all slots to the rate and to the limits in ``refusals``.

        ``in_flight`` returns the number of requests that were accepted and are not known to have ended. ``busy`` is
        called when a limit on them becomes known, and at the first sign of load after an acceptance. ``gap`` is the
        number of seconds before the first turn.
        """
        self._clock = clock
        self._stop = stop
        self._pace = RateLimit(per_second, clock.monotonic() + gap)
        self._rng = rng
        self._estimate = refusals
        self._in_flight = in_flight
        self._busy = busy
        self.sending = 0
        """Submissions that are under way."""
        self.waiting = 0
        """Submissions that wait for their turn."""
        self._delays = backoff(rng, base=2.0, cap=60.0)
        self._until = float("-inf")
        self._refusals = 0
        self._doubts = 0
        self._refused_since: float | None = None
        self._gate = Lock()
        """Lock for the one worker that waits for its turn, so that none has a turn long before using it."""
        self._free, self._first = _Turn(self, None), _Turn(self, self._gate)

    async def turn(self) -> AbstractContextManager[None]:
        """Wait for the right to submit once, or until buying stops. Hold the result, ``with``, up to the answer.

        While the API is refusing, no other worker has a turn before that.
        """
        if not self._refusals and not self._gate.locked() and self._take() == 0:
            return self._free  # no other worker waits, and no pause or limit applies
        self.waiting += 1
        try:
            await self._gate.acquire()
            try:
                await self._wait()
            except BaseException:
                self._gate.release()
                raise
        finally:
            self.waiting -= 1
        if self._refusals:
            return self._first
        self._gate.release()
        return self._free

    async def _wait(self) -> None:
        """Wait until no pause holds and the rate allows one more. A pause that begins during the wait applies, too."""
        while not self._stop.stopped and (wait := self._take()):
            await self._stop.wait(wait)

    def _take(self) -> float:
        """Take a turn if one is free and return 0; else return the seconds until one may be free."""
        now = self._clock.monotonic()
        wait = max(self._until - now, self._pace.wait(now))
        if wait > TOLERANCE_SECONDS:
            return wait
        if not self._estimate.allows(now, self._others):
            return FULL_SECONDS
        self._pace.take(now)
        return 0.0

    @property
    def _others(self) -> int:
        """Return the number of requests that the API may have now."""
        return self._in_flight() + self.sending

    def accepted(self) -> None:
        """Record an accepted submission, before its turn ends, and end the backoff."""
        self._estimate.accepted(self._in_flight())
        self._pace.slow_down(self._estimate.per_second)
        self._doubts = 0
        self.answered()

    def answered(self) -> None:
        """Record a proper answer, accepted or not: there is no reason to wait."""
        self._refusals = 0
        self._refused_since = None
        self._delays = backoff(self._rng, base=2.0, cap=60.0)

    def refused(self, reason: str, retry_after: float | None, *, too_many: bool = False) -> None:
        """Pause every worker, or stop buying if refusals went on for too long. ``too_many``: the answer was a 429.

        Submissions that were under way when a pause began and are refused as well add nothing, unless the answer gives
        a wait.
        """
        self._refusals += 1
        now = self._clock.monotonic()
        kind = RefusalKind.LOAD
        if too_many:
            kind = self._estimate.refused(now, self._in_flight(), self.sending - 1, retry_after=retry_after)
            self._pace.slow_down(self._estimate.per_second)
        if kind is RefusalKind.LIMIT:
            self._busy(kind)
        if self._refused_since is None:
            self._refused_since = now
        if retry_after is not None and retry_after < LEAST_SECONDS:
            retry_after = None
        if retry_after is None and now < self._until:
            return
        wait = next(self._delays) if retry_after is None else retry_after
        if now + wait - self._refused_since > PATIENCE:
            self._stop.buying(f"the API accepts nothing: {reason}", 69)
            return
        if self._refusals == 1 and now >= self._until and kind is RefusalKind.LOAD:
            self._busy(kind)
        if now + wait > self._until:
            self._until = now + wait
            reason = f"the API limits requests (429): {reason}" if too_many else reason
            paused = {"event": "paused", "seconds": round(wait, 1), "reason": reason}
            log.warning("pausing submissions for %.1f s: %s", wait, reason, extra=paused)

    def doubtful(self, reason: str) -> None:
        """Record an outcome that cannot be read. Several without an acceptance pause the workers; more stop buying."""
        self._doubts += 1
        if self._doubts >= MOST_DOUBTS:
            text = (
                f"{self._doubts} submissions in a row had an outcome that cannot be read, and each may have been bought"
            )
            self._stop.buying(f"{text}; the last: {reason}", 69)
        elif self._doubts >= DOUBTS:
            self.refused(f"{self._doubts} answers in a row could not be read, the last: {reason}", None)


def backoff(rng: random.Random, *, base: float = 0.5, cap: float = 30.0) -> Iterator[float]:
    """Yield the seconds before each repetition.

    The ceiling doubles from ``base`` up to ``cap``. The seconds have full jitter above a tenth of the ceiling.
    """
    ceiling = base
    while True:
        yield ceiling * rng.uniform(0.1, 1.0)
        ceiling = min(cap, ceiling * 2)


class RateLimit:
    """At most ``per_second`` starts in any period, evenly spaced (GCRA without a burst); None: no limit."""

    def __init__(self, per_second: float | None, free_at: float = float("-inf")) -> None:
        """Set the rate; ``free_at`` is when the first start is free, on a monotonic clock."""
        self._asked = per_second
        self._per_second = per_second
        self._next = free_at

    def slow_down(self, per_second: float | None) -> None:
        """Limit starts to ``per_second``, but never above the initial rate. None: only the initial rate."""
        known = [rate for rate in (self._asked, per_second) if rate is not None]
        self._per_second = min(known, default=None)

    def wait(self, now: float) -> float:
        """Return the seconds until the next start is free. ``now`` is on a monotonic clock."""
        return max(0.0, self._next - now) if self._per_second is not None else 0.0

    def take(self, now: float) -> None:
        """Start now, or a moment before the next start is free. The start after that keeps its distance."""
        if self._per_second is not None:
            self._next = max(now, self._next) + 1.0 / self._per_second
