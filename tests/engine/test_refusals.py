"""What refusals tell of an API: a limit of requests in flight, of submissions a second, or that it is busy."""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random

import pytest

from runner.engine.pacing.refusals import (
    ENOUGH,
    FREE_TRY_SECONDS,
    LEAST_RATE,
    RARER,
    TRY_AFTER,
    RefusalEstimate,
    RefusalKind,
)


def filled(limit: int) -> RefusalEstimate:
    """An API that accepted ``limit`` requests, one after the other, and refused the next one."""
    estimate = RefusalEstimate()
    for others in range(limit):
        estimate.accepted(others)
    assert estimate.refused(0.0, limit, 0, retry_after=1.0) is RefusalKind.LIMIT
    return estimate


def test_a_refusal_at_the_most_that_was_ever_in_flight_is_a_limit() -> None:
    """Sixteen were accepted and the seventeenth was not: sixteen is the number from now on."""
    estimate = filled(16)
    assert estimate.limit == 16
    assert estimate.allows(1.0, 15)
    assert not estimate.allows(1.0, 16)


def test_refusals_of_one_burst_narrow_the_limit_down() -> None:
    """Eight leave at once and five are accepted: as the answers come in, what may be in flight becomes five."""
    estimate = RefusalEstimate()
    in_flight, sending = 0, 8
    for accepted in (True, True, False, True, False, True, True, False):
        sending -= 1
        if accepted:
            estimate.accepted(in_flight)
            in_flight += 1
        else:
            assert estimate.refused(0.1, in_flight, sending, retry_after=None) is RefusalKind.LIMIT
    assert estimate.limit == 5


def test_where_nothing_is_in_flight_no_number_is_to_blame() -> None:
    """All of a first burst is refused: the API is busy, and says nothing about how many it takes."""
    estimate = RefusalEstimate()
    for sending in reversed(range(8)):
        assert estimate.refused(0.0, 0, sending, retry_after=None) is RefusalKind.LOAD
    assert estimate.limit is None


def test_a_refusal_far_below_what_was_accepted_is_no_limit_of_a_number() -> None:
    """Twenty were accepted, and now the fifth is refused: load, or a rate where the API says for how long."""
    estimate = filled(20)
    assert estimate.refused(9.0, 4, 0, retry_after=None) is RefusalKind.LOAD
    assert estimate.limit is None


def test_ends_that_nobody_noticed_lower_the_limit_a_little() -> None:
    """The runner counts more in flight than the API does: the limit follows the lower number."""
    estimate = filled(18)
    assert estimate.refused(5.0, 16, 0, retry_after=1.0) is RefusalKind.LIMIT
    assert estimate.limit == 16


def test_one_more_is_tried_now_and_then_and_ever_more_rarely() -> None:
    """A failed try costs a pause: the next one comes after eight times as many requests."""
    estimate, now = filled(10), 0.0
    for wait in (TRY_AFTER, TRY_AFTER * RARER):
        for _ in range(10 * wait - 1):
            estimate.accepted(9)
            now += 0.001
            assert not estimate.allows(now, 10)
        estimate.accepted(9)
        assert estimate.allows(now, 10)
        assert not estimate.allows(now, 10), "one at a time"
        estimate.refused(now, 10, 0, retry_after=1.0)
    assert estimate.limit == 10


def test_while_nothing_ends_a_try_costs_nothing_and_comes_sooner() -> None:
    """All slots are full for seconds: a pause keeps none of them idle."""
    estimate = filled(10)
    assert not estimate.allows(1.0, 10)
    assert not estimate.allows(0.9 + FREE_TRY_SECONDS, 10)
    assert estimate.allows(1.0 + FREE_TRY_SECONDS, 10)


def test_a_try_that_is_accepted_lifts_the_limit() -> None:
    """It was none, or it is no more."""
    estimate = filled(10)
    estimate.accepted(10)
    assert estimate.limit is None
    assert estimate.allows(1.0, 11)


@pytest.mark.parametrize("per_second", [2.0, 5.0, 40.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_rate_is_learnt_and_kept_with_few_refusals(per_second: float, seed: int) -> None:
    """An allowance that fills again as time goes: within a few refusals the runner keeps to it."""
    rng, estimate = Random(seed), RefusalEstimate()
    tokens, filled_at, now, next_at = per_second, 0.0, 0.0, 0.0
    ends: list[float] = []
    accepted = refused = 0
    while accepted < 600:
        now = max(now, next_at)
        while ends and ends[0] <= now:
            heappop(ends)
        if not estimate.allows(now, len(ends)):
            now = ends[0]
            continue
        tokens, filled_at = min(max(1.0, per_second), tokens + (now - filled_at) * per_second), now
        if tokens >= 1:
            tokens -= 1
            accepted += 1
            estimate.accepted(len(ends))
            heappush(ends, now + rng.uniform(0.4, 1.2))
            next_at = now + (1 / estimate.per_second if estimate.per_second else 0.0)
        else:
            refused += 1
            estimate.refused(now, len(ends), 0, retry_after=1.0)
            next_at = now + 1.0
    assert refused <= 0.02 * accepted
    assert now <= 1.05 * accepted / per_second


def test_a_rate_is_not_guessed_from_next_to_nothing() -> None:
    """Two refusals in a row say for how long to wait, and no more."""
    estimate = filled(20)
    for _ in range(ENOUGH - 1):
        estimate.accepted(1)
    assert estimate.refused(3.0, 2, 0, retry_after=1.0) is RefusalKind.RATE
    assert estimate.per_second is None


def test_the_first_refusal_of_all_tells_no_rate() -> None:
    """The clock counts from the start of the machine: nothing is known of what was accepted since then."""
    estimate = RefusalEstimate()
    for _ in range(50):
        estimate.accepted(4)
    assert estimate.refused(864_000.0, 0, 0, retry_after=5.0) is RefusalKind.RATE
    assert estimate.per_second is None


def test_a_learnt_rate_never_stops_the_buying() -> None:
    """Three were accepted in a day of pauses: that is no rate to keep to for the next day."""
    estimate = filled(20)
    for _ in range(ENOUGH):
        estimate.accepted(1)
    estimate.refused(86_400.0, 2, 0, retry_after=1.0)
    assert estimate.per_second == LEAST_RATE


def test_refusals_at_the_same_reading_of_the_clock_tell_no_rate() -> None:
    """A coarse clock divides nothing by nothing."""
    estimate = filled(20)
    for _ in range(ENOUGH):
        estimate.accepted(1)
    assert estimate.refused(0.0, 2, 0, retry_after=1.0) is RefusalKind.RATE
    assert estimate.per_second is None


def test_a_limit_is_tried_again_within_minutes_whatever_was_refused_before() -> None:
    """Many refused tries make the next one rare, and not impossible."""
    estimate, now = filled(2), 0.0
    for _ in range(20):
        estimate.refused(now, 2, 0, retry_after=None)
        now += 1.0
    assert not estimate.allows(now + 10, 2)
    assert estimate.allows(now + 600, 2)


def test_a_refusal_below_a_learnt_limit_shows_a_rate() -> None:
    """A limit on requests in flight refuses at that number. What refuses below it, with others let in, is none."""
    estimate = RefusalEstimate()
    for others in range(5):
        estimate.accepted(others)
    assert estimate.refused(1.0, 5, 0, retry_after=1.0) is RefusalKind.LIMIT
    for _ in range(20):
        estimate.accepted(4)
    assert estimate.refused(6.0, 4, 0, retry_after=1.0) is RefusalKind.RATE
    assert estimate.limit is None
    assert estimate.per_second == pytest.approx(21 / 5)
