"""Progress of a run: counts, money, rate and time left. The current time is an argument; there is no I/O.

Progress has two sources. The run's ``RunStatus`` can be read at any time and has each selected job under exactly one
count. The records that become durable tell which purchases are at the API right now.
"""

from __future__ import annotations

from collections import deque

import msgspec

from runner.core.models import Record, State
from runner.core.text import in_words, usd
from runner.engine.run_status import BudgetStatus, RunStatus
from runner.engine.summary import COUNT_WORDS, COUNTS

WINDOW_SECONDS = 180.0
"""Window over which the rate is measured. Jobs end in bursts of about as many as are in flight."""
SAMPLE_SECONDS = 1.0
SURE_SECONDS = 10.0
SURE_COUNT = 5
"""Jobs that must have ended before a time left is given; the number in flight if that is larger, up to 20."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of a run at one moment. Each job is in exactly one of the nine counts; their sum is ``total``."""

    done: int = 0
    skipped: int = 0
    paid: int = 0
    """Jobs whose result is ready at the API or was bought earlier, and is not downloaded yet."""
    in_flight: int = 0
    """Requests at the API at this moment."""
    queued: int = 0
    failed: int = 0
    cancelled: int = 0
    unknown: int = 0
    missing: int = 0
    concurrency: int | None = None
    concurrency_reason: str = ""
    cost_usd: float = 0.0
    reserved_usd: float = 0.0
    cap: BudgetStatus | None = None
    per_minute: float | None = None
    """Jobs that end per minute; None: too little is known."""
    seconds_left: float | None = None
    """Estimated time left; None: too little is known, or the run is paused."""
    records: int = 0
    """Records written so far in this run."""
    paused: str = ""
    """Reason why nothing is submitted at the moment, and the time left of the pause; empty without a pause."""

    @property
    def waiting(self) -> int:
        return self.paid + self.in_flight + self.queued

    @property
    def settled(self) -> int:
        return self.done + self.skipped + self.failed + self.cancelled + self.unknown + self.missing

    @property
    def total(self) -> int:
        return self.settled + self.waiting


class Track:
    """Progress of one run, computed from its records and its status."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, int], tuple[State, float]] = {}
        """State of each purchase that this run began, and its reserve in USD; 0 once the purchase is billed."""
        self._records = 0
        self._samples: deque[tuple[float, int]] = deque()
        self._paused = (float("-inf"), "")

    def see(self, record: Record) -> None:
        """Count one transition."""
        self._records += 1
        key = record.id, record.purchase
        if record.state is State.SUBMITTING or (key in self._under_way and record.owed and record.error is None):
            reserved = record.reserved_usd or 0.0 if record.cost_usd is None else 0.0
            self._under_way[key] = record.state, reserved
        else:
            self._under_way.pop(key, None)

    def pause(self, seconds: float, why: str, now: float) -> None:
        """Remember that nothing is submitted for ``seconds`` from ``now`` on."""
        self._paused = now + seconds, why

    def read(self, standing: RunStatus, now: float) -> Snapshot:
        """Return the progress at ``now`` (monotonic seconds)."""
        counts = {name: max(0, standing.counts.get(name, 0)) for name in COUNTS}
        made = sum(state is State.GENERATED for state, _ in self._under_way.values())
        in_flight = min(len(self._under_way) - made, counts["left"])
        made = min(made, counts["left"] - in_flight)
        paid = counts["owed"] + made
        queued = counts["left"] - in_flight - made
        waiting = paid + in_flight + queued
        self._sample(now, waiting)
        until, why = self._paused
        rate, sure = self._rate(now, in_flight)
        return Snapshot(
            **{name: counts[name] for name in ("done", "skipped", "failed", "cancelled", "unknown", "missing")},
            paid=paid,
            in_flight=in_flight,
            queued=queued,
            concurrency=standing.concurrency,
            concurrency_reason=standing.concurrency_reason,
            cost_usd=standing.cost_usd,
            reserved_usd=standing.cap.reserved_usd if standing.cap else sum(usd for _, usd in self._under_way.values()),
            cap=standing.cap,
            per_minute=rate * 60 if rate is not None else None,
            seconds_left=waiting / rate if rate and sure and now >= until else None,
            records=self._records,
            paused=f"{why}; {in_words(until - now)} more" if now < until else "",
        )

    def _sample(self, now: float, waiting: int) -> None:
        """Remember how many jobs wait. A larger number than before starts a new window (a survey, another round)."""
        if self._samples and waiting > self._samples[-1][1]:
            self._samples.clear()
        if not self._samples or now - self._samples[-1][0] >= SAMPLE_SECONDS:
            self._samples.append((now, waiting))
        while now - self._samples[0][0] > WINDOW_SECONDS:
            self._samples.popleft()
        self._waiting = waiting

    def _rate(self, now: float, in_flight: int) -> tuple[float | None, bool]:
        """Return the jobs that ended per second over the window, and whether the rate is enough for an estimate."""
        began, waiting = self._samples[0]
        ended, seconds = waiting - self._waiting, now - began
        if ended < 1 or seconds < SAMPLE_SECONDS * 3:
            return None, False
        enough = max(SURE_COUNT, min(in_flight, 4 * SURE_COUNT))
        return ended / seconds, seconds >= SURE_SECONDS and ended >= enough


def counts_in_words(snapshot: Snapshot) -> str:
    """Return the counts that are not zero: ``99 done, 14 in flight, 47 queued``."""
    names = {"in_flight": "in flight", **COUNT_WORDS, "paid": COUNT_WORDS["owed"]}
    order = ("done", "skipped", "paid", "in_flight", "queued", "failed", "cancelled", "unknown", "missing")
    found = [f"{getattr(snapshot, name):,} {names.get(name, name)}" for name in order if getattr(snapshot, name)]
    return ", ".join(found)


def money_in_words(snapshot: Snapshot) -> str:
    """Return the amounts spent and reserved, and the budget if there is one."""
    reserved = f" + {usd(snapshot.reserved_usd)} reserved" if snapshot.reserved_usd else ""
    cap = snapshot.cap
    if cap is None:
        return f"{usd(snapshot.cost_usd)} spent{reserved}"
    return f"{usd(cap.spent_usd)} spent{reserved} of ${cap.usd:,.2f}{' a day' if cap.per_day else ''}"


def what_is_left(snapshot: Snapshot) -> list[str]:
    """Return the counts, then the amounts, for a line each."""
    if not snapshot.total:
        return [f"{snapshot.records:,} records written"]
    return [f"{snapshot.settled:,} of {snapshot.total:,}: {counts_in_words(snapshot)}", money_in_words(snapshot)]


def line_of(snapshot: Snapshot) -> str:
    """Return the whole progress on one line, for a log file."""
    parts = what_is_left(snapshot)
    if not snapshot.total:
        return parts[0]
    if snapshot.per_minute is not None:
        parts.append(f"{snapshot.per_minute:,.0f} a minute")
    if snapshot.seconds_left is not None:
        parts.append(f"about {in_words(snapshot.seconds_left)} left")
    if snapshot.paused:
        parts.append(f"paused: {snapshot.paused}")
    return "; ".join(parts)
