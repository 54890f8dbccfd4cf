"""The spend cap, halting, and the clock: when a run stops buying by itself."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import anyio
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.harness import plain
from support.virtual_time import LoopClock

from runner.core.models import Budget, Job, Record, State
from runner.emulator import InjectedFault
from runner.engine.billing.budget import BudgetTracker
from runner.engine.billing.prices import Price
from runner.engine.stop import Stop
from runner.ledger.records import encode

pytestmark = pytest.mark.anyio

PRICE = 0.0045


class Crash(BaseException):
    """Nothing in the program knows this: the run ends where it stands."""


class CrashAfter(list):
    """An observer that ends the run once so many records are durable."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__()

    def append(self, record: object) -> None:
        super().append(record)
        if len(self) == self.count:
            raise Crash


async def test_a_budget_is_never_exceeded_and_the_rest_is_left(service):
    """With room for five pictures, five are bought, exit 75, and a rerun buys no more."""
    manifest = service.manifest(*plain(9), budget="0.0225")
    report = await service.run(manifest)
    assert (report.done, report.left, report.exit_code) == (5, 4, 75)
    assert "budget" in report.stopped.reason
    assert (await service.run(manifest)).left == 4
    assert service.submissions == 5
    raised = await service.run(service.manifest(*plain(9), budget="0.0405"))
    assert (raised.done, raised.exit_code) == (4, 0)


async def test_what_costs_nothing_is_done_without_a_budget(service):
    """The budget is used up before their turn comes: files that are gone are fetched, others renamed."""
    jobs = plain(4)
    await service.run(service.manifest(*jobs[1:]))
    (service.output / "b.png").unlink()
    moved = [*jobs[:3], {**jobs[3], "file": "shelf/d"}]
    report = await service.run(service.manifest(*moved, budget="0"))
    assert (report.left, report.done, report.skipped, report.exit_code) == (1, 1, 2, 75)
    assert service.files() == ["b.png", "c.png", "shelf/d.png"]
    assert service.submissions == 3


async def test_a_budget_of_nothing_buys_nothing(service):
    """`budget: 0` submits nothing at all."""
    report = await service.run(service.manifest(*plain(2), budget="0"))
    assert (report.left, report.exit_code, service.submissions) == (2, 75, 0)


async def test_unknowns_count_at_their_reserve(service):
    """What may have been bought stands against the cap, also in later runs."""
    service.fault(InjectedFault(on="submit", kind="reset", when="after", times=2))
    manifest = service.manifest(*plain(6), budget="0.0135", concurrency=1)
    report = await service.run(manifest)
    assert (report.unknown, report.done, report.left) == (2, 1, 3)
    assert (await service.run(manifest)).left == 3
    assert service.submissions == 3


async def test_with_a_budget_the_first_of_each_size_goes_alone(make_service):
    """Until a bill is known only one request of a model and size is out; a higher bill raises the next reserves."""
    service = await make_service(cost="megapixels", workers=8)
    jobs = [{"id": f"j{n}", "prompt": f"p{n}", "size": "640x640"} for n in range(8)]
    report = await service.run(service.manifest(*jobs, concurrency=8, budget="1"))
    assert report.done == 8
    starts = sorted((record.submitted_at, record.id) for record in service.lines())
    first_end = min(record.completed_at for record in service.lines())
    assert starts[0][0] < first_end <= starts[1][0]


async def test_a_rate_holds_while_a_budget_waits_for_the_first_bill(make_service):
    """The first picture goes alone until its bill is known; then the others go one by one, not all at once."""
    service = await make_service(workers=8, seconds=3.0)
    manifest = service.manifest(*plain(8), concurrency=8, rate="5/s", budget="1")
    assert (await service.run(manifest)).done == 8
    created = sorted(request["created"] for request in service.emulator.requests)
    assert created[1] - created[0] >= 3
    assert all(later - earlier >= 0.199 for earlier, later in pairwise(created))


async def test_a_pause_that_begins_while_a_budget_waits_holds_every_lane(make_service):
    """The second submission is refused for a minute: whoever waited for the first bill waits for that, too."""
    service = await make_service(workers=8, seconds=3.0)
    service.fault(InjectedFault(on="submit", kind="status", status=429, retry_after=60, after=1, times=1))
    sizes = [{**job, "width": 64 + 8 * (number == 1)} for number, job in enumerate(plain(6))]
    manifest = service.manifest(*sizes, concurrency=6, budget="1")
    assert (await service.run(manifest)).done == 6
    first, second, *_ = sorted(request["created"] for request in service.emulator.requests)
    assert second - first >= 60


async def test_a_width_that_is_no_number_is_no_size(service):
    """A model without a schema may take anything under that name: a run goes on, and the API's answer decides."""
    odd = {"width": [512, 768], "height": {"at least": 512}}
    manifest = service.manifest(*({**job, **odd} for job in plain(3)), model="new/model")
    report = await service.run(manifest)
    assert (report.left, report.exit_code) == (3, 75)
    assert service.record("a").error.http_status == 404


async def test_a_bill_above_its_reserve_stops_the_buying_before_the_next(make_service):
    """The catalogue says 0.0045, the bill says three times that: the cap is judged by the bill from then on."""
    service = await make_service(cost="megapixels")
    jobs = [{"id": f"j{n}", "prompt": f"p{n}", "size": "2048x1024"} for n in range(6)]
    report = await service.run(service.manifest(*jobs, budget="0.03"))
    assert report.done == 2
    assert report.spent_usd <= 0.03


async def test_what_earlier_runs_left_counts_at_its_bill_once_it_is_home(service):
    """Large pictures are reserved for by the megapixel and billed at the base price: then there is room for more."""
    jobs = [{"id": f"j{n}", "prompt": f"p{n}", "size": "2048x1024"} for n in range(12)]
    service.fault(InjectedFault(on="result", kind="hang"))
    assert (await service.run(service.manifest(*jobs[:8], concurrency=8, timeout="1m"))).owed == 8
    service.fault()
    report = await service.run(service.manifest(*jobs, concurrency=8, budget="0.1"))
    assert (report.done, report.exit_code) == (12, 0)
    assert report.spent_usd == pytest.approx(12 * PRICE)


async def test_what_was_bought_without_knowing_a_price_is_not_free(service):
    """Bought offline, its outcome unknown: a budget that comes later counts it at the price of now."""
    service.fault(InjectedFault(on="submit", kind="reset", when="after", times=3))
    report = await service.run(service.manifest(*plain(3)), offline=True)
    assert (report.unknown, report.spent_usd) == (3, 0)
    report = await service.run(service.manifest(*plain(9), budget=f"{5 * PRICE}"))
    assert (report.done, report.left, report.unknown) == (2, 4, 3)


def test_a_bill_above_its_reserve_raises_what_else_is_under_way():
    """Of eight that a crash left one is billed fourfold: the other seven, and whatever is bought next, will be, too."""

    def purchase(job_id: str, state: State, **money: float) -> Record:
        fields = {"at": "", "api": "a", "manifest": "-", "model": "m", "inputs": {}, "fingerprint": "f", "file": job_id}
        return Record(id=job_id, purchase=1, state=state, request_id=job_id, **fields, **money)

    owed = [purchase(f"j{n}", State.SUBMITTED, reserved_usd=1.0) for n in range(8)]
    tracker = BudgetTracker(Budget(usd=100.0), Stop(), lambda: None)
    tracker.load(owed)
    tracker.set_price("m", Price(usd=1.0))
    tracker.track(owed)
    assert tracker.left_usd == 92
    job = Job(id="new", model="m", inputs={}, fingerprint="n", file="new")
    assert not tracker.admits(job), "until a bill is known, one of a kind goes alone"
    tracker.charge(purchase("j0", State.GENERATED, reserved_usd=1.0, cost_usd=4.0))
    assert (tracker.left_usd, tracker.estimate(job), tracker.admits(job)) == (100 - 8 * 4, 4, True)
    for record in owed[1:]:
        tracker.charge(msgspec.structs.replace(record, state=State.GENERATED, cost_usd=4.5))
    assert (tracker.left_usd, tracker.estimate(job)) == (100 - 4 - 7 * 4.5, 4.5)


async def test_a_budget_without_a_price_is_refused(service):
    """A model without a price cannot be bought under a budget: exit 65, nothing submitted."""
    job = {"id": "a", "prompt": "x", "model": "emulator/unpriced/text-to-image"}
    report = await service.run(service.manifest(job, budget="1", defaults={}))
    assert (report.exit_code, report.left, service.submissions) == (65, 1, 0)


CLIP = "emulator/clip/text-to-video"
ANIMATE = {"model": "emulator/animate/image-to-video", "image_url": "https://example.com/mug.png"}
SECOND = 0.02


async def test_clips_are_reserved_and_billed_by_the_second(service):
    """An integer, and the model's own two seconds; a budget holds by the second, and the rest is left."""
    jobs = [{"id": "a", "prompt": "a", "duration": 3}, {"id": "b", "prompt": "b"}, {"id": "c", "prompt": "c"}]
    report = await service.run(service.manifest(*jobs, model=CLIP, budget=f"{5 * SECOND}", concurrency=1))
    assert (report.done, report.left, report.exit_code) == (2, 1, 75)
    assert [(r.reserved_usd, r.priced_seconds, r.cost_usd) for r in map(service.record, "ab")] == [
        (pytest.approx(0.06), 3, pytest.approx(0.06)),
        (pytest.approx(0.04), 2, pytest.approx(0.04)),
    ]


async def test_a_later_run_reserves_a_clip_by_what_a_second_was_billed_in_an_earlier_one(make_service):
    """Two seconds were billed twice their price: ten seconds are reserved five times that bill."""
    service = await make_service(cost="megapixels")
    sizes = {"width": 1024, "height": 1024}
    await service.run(service.manifest({"id": "a", "prompt": "a", "duration": 2}, model=CLIP, defaults=sizes))
    dear = msgspec.structs.replace(service.record("a"), cost_usd=0.4)
    (service.output / "results.jsonl").write_bytes(encode(dear))
    both = [{"id": "a", "prompt": "a", "duration": 2}, {"id": "b", "prompt": "b", "duration": 10}]
    report = await service.run(service.manifest(*both, model=CLIP, defaults=sizes, budget="2.39"))
    assert (report.done, report.left, report.exit_code) == (0, 1, 75)
    report = await service.run(service.manifest(*both, model=CLIP, defaults=sizes, budget="2.41"))
    assert (report.done, service.record("b").reserved_usd) == (1, pytest.approx(2.0))


async def test_under_a_budget_a_clip_without_a_duration_keeps_everything_from_being_bought(service):
    """Its price is not known: exit 65 before anything is bought; the reason names the job, and what to write."""
    jobs = [{**ANIMATE, "id": "a", "prompt": "a", "duration": "5"}, {**ANIMATE, "id": "b", "prompt": "b"}]
    report = await service.run(service.manifest(*jobs, budget="5"))
    assert (report.exit_code, report.left, service.submissions) == (65, 2, 0)
    assert "and b has no `duration` in seconds; add it, for example `duration: 5`" in report.stopped.reason


async def test_without_a_budget_a_clip_without_a_duration_is_bought_and_counts_at_its_bill(service):
    """Nothing is reserved for it, as the price is not known; it is no free one."""
    report = await service.run(service.manifest({**ANIMATE, "id": "a", "prompt": "a"}))
    assert (report.done, report.spent_usd) == (1, pytest.approx(0.25))
    assert (service.record("a").reserved_usd, service.record("a").priced_seconds) == (None, None)


async def test_without_the_catalogue_the_price_by_the_second_of_the_last_clip_serves(service):
    """A clip of one second was bought: one of three is reserved at three times that while the catalogue is away."""
    jobs = [{"id": name, "prompt": name, "duration": seconds} for name, seconds in (("a", 1), ("b", 3), ("c", 1))]
    assert (await service.run(service.manifest(jobs[0], model=CLIP, budget="1"))).done == 1
    service.fault(InjectedFault(on="model", kind="status", status=500))
    report = await service.run(service.manifest(*jobs, model=CLIP, budget=f"{4 * SECOND}", concurrency=1))
    assert (report.done, report.left, report.exit_code) == (1, 1, 75)
    assert service.record("b").reserved_usd == pytest.approx(3 * SECOND)


async def test_a_budget_without_the_catalogue_is_unavailable(service):
    """The price cannot be asked for: exit 69, nothing submitted."""
    service.fault(InjectedFault(on="model", kind="status", status=500))
    report = await service.run(service.manifest(*plain(1), budget="1"))
    assert (report.exit_code, report.left, service.submissions) == (69, 1, 0)


async def test_without_the_catalogue_the_price_of_the_last_purchase_serves(service):
    """The price of earlier purchases is on record: with it the budget holds while the catalogue is away."""
    assert (await service.run(service.manifest(*plain(1), budget="1"))).done == 1
    service.fault(InjectedFault(on="model", kind="status", status=500))
    report = await service.run(service.manifest(*plain(4), budget="0.0135"))
    assert (report.done, report.left, report.exit_code) == (2, 1, 75)


async def test_a_daily_budget_starts_anew_with_the_apis_day(service):
    """`0.009/day` buys two a day, by the date in the API's answers."""
    manifest = service.manifest(*plain(5), budget="0.009/day")
    assert (await service.run(manifest)).done == 2
    assert (await service.run(manifest)).done == 0
    for _ in range(2):
        await anyio.sleep(43_200)
    assert (await service.run(manifest)).done == 2
    assert len({record.day for record in service.lines()}) == 2


@settings(max_examples=examples(15, quick=5), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cap=st.integers(0, 12),
    lanes=st.integers(1, 6),
    seed=st.integers(0, 1000),
    cost=st.sampled_from(["base", "missing", "megapixels"]),
    sizes=st.lists(st.sampled_from(["64x64", "1024x1024", "2048x1024"]), min_size=1, max_size=8),
    lost=st.sampled_from([0.0, 0.3, 1.0]),
    crash=st.integers(1, 40),
)
async def test_what_is_charged_never_exceeds_the_cap(make_service, cap, lanes, seed, cost, sizes, lost, crash):
    """Whatever the bills up to the reserve, faults, lanes, crashes, reruns: the account is charged the cap at most."""
    faults = (
        InjectedFault(on="submit", kind="reset", when="after", p=lost / 2),
        InjectedFault(on="submit", kind="status", status=500, p=lost / 2),
        InjectedFault(on="job", kind="fail", p=lost / 2),
        InjectedFault(on="submit", kind="status", status=429, retry_after=1, p=lost / 3, each=2),
    )
    name = f"{cap}-{lanes}-{seed}-{cost}-{len(sizes)}-{lost}-{crash}-{abs(hash(tuple(sizes)))}"
    service = await make_service(name, seed=seed, cost=cost, charge_failed=True, seconds=0.3, faults=faults)
    jobs = [{"id": f"j{n}", "prompt": f"p{n}", "size": size} for n, size in enumerate(sizes)]
    manifest = service.manifest(*jobs, budget=f"{cap * PRICE:.4f}", concurrency=lanes, on_unknown="resubmit")
    service.seen = CrashAfter(crash)
    with suppress(BaseExceptionGroup):
        await service.run(manifest)
    service.seen = []
    for _ in range(3):
        report = await service.run(manifest)
        assert report.spent_usd <= cap * PRICE + 1e-9
    assert service.emulator.stats["charged_usd"] <= cap * PRICE + 1e-9


async def test_what_is_bought_after_an_older_purchase_came_home_is_reserved_for_too(make_service):
    """Inputs changed while something was owed: the purchase that follows carries its reserve like any other."""
    service = await make_service(seconds=100.0)
    job = {"id": "mug", "prompt": "a mug"}
    await service.run(service.manifest(job, timeout="5s"))
    report = await service.run(service.manifest({**job, "prompt": "a green mug"}, budget=f"{1.5 * PRICE:.5f}"))
    assert (report.done, report.left, service.submissions) == (0, 1, 1)
    report = await service.run(service.manifest({**job, "prompt": "a green mug"}, budget=f"{2 * PRICE:.4f}"))
    assert (report.done, service.submissions) == (1, 2)
    assert [record.reserved_usd for record in service.purchases("mug")] == [PRICE, PRICE]


async def test_submissions_whose_answers_cannot_be_read_count_for_halt(service):
    """`halt: 3`: three purchases in doubt, and no more are made; each night again three at most."""
    service.fault(InjectedFault(on="submit", kind="no_id"))
    manifest = service.manifest(*plain(20), halt="3", concurrency=1)
    report = await service.run(manifest)
    assert (report.unknown, report.left, report.exit_code) == (3, 17, 2)
    assert report.stopped.reason.startswith("stopped on failures (`halt:`): 3 of 3 jobs")
    assert (await service.run(manifest)).unknown == 6
    assert service.submissions == 6


@pytest.mark.parametrize("between", [[], ["refused"]], ids=["nothing else", "refused inputs between"])
async def test_ten_unreadable_answers_without_an_acceptance_stop_the_buying(service, between):
    """Without `halt:`, too: whatever is wrong, it costs no more than that. It is said, exit 69."""
    refused = [InjectedFault(on="submit", kind="status", status=422, body="detail") for _ in between]
    lost = InjectedFault(on="submit", kind="no_id")
    service.emulator.script("submit", *[fault for _ in range(40) for fault in (lost, *refused)])
    jobs = [{"id": f"j{number}", "prompt": f"picture {number}"} for number in range(60)]
    report = await service.run(service.manifest(*jobs, concurrency=1))
    assert (report.unknown, report.exit_code) == (10, 69)
    assert "10 submissions in a row" in report.stopped.reason


async def test_an_acceptance_in_between_begins_a_new_count(service):
    """Nine in a row that cannot be read, then one that can: buying goes on, and all jobs are tried."""
    lost = InjectedFault(on="submit", kind="no_id")
    service.emulator.script("submit", *[lost] * 9, None, *[lost] * 9)
    jobs = [{"id": f"j{number}", "prompt": f"picture {number}"} for number in range(22)]
    report = await service.run(service.manifest(*jobs, concurrency=1))
    assert (report.unknown, report.done, report.exit_code) == (18, 4, 2)


@pytest.mark.parametrize(("halt", "bought"), [("3", 3), ("50%", 20)])
async def test_halt_stops_the_buying_when_too_much_fails(service, halt, bought):
    """Three failures, or half of twenty: buying stops, exit 1, and the rest is left."""
    service.fault(InjectedFault(on="job", kind="fail"))
    jobs = [{"id": f"j{n}", "prompt": f"p{n}"} for n in range(40)]
    report = await service.run(service.manifest(*jobs, halt=halt, concurrency=1))
    assert (report.exit_code, report.failed, report.left) == (1, bought, 40 - bought)
    assert service.record("j0").state is State.FAILED


async def test_until_stops_the_buying_at_that_time(service):
    """When the time comes nothing more is bought, what is in flight comes home, exit 75."""
    jobs = [{"id": f"j{n}", "prompt": f"p{n}"} for n in range(40)]
    manifest = service.manifest(*jobs, concurrency=1)
    report = await service.run(manifest, until=LoopClock().now() + 10)
    assert report.exit_code == 75
    assert 5 <= report.done <= 12
    assert report.done + report.left == 40
    assert report.done == service.submissions


class SetClock(LoopClock):
    """A wall clock that somebody sets ``hours`` ahead after ``seconds``."""

    def __init__(self, seconds: float, hours: float) -> None:
        self._at = self.monotonic() + seconds
        self._ahead = hours * 3600

    def now(self) -> float:
        return super().now() + (self._ahead if self.monotonic() >= self._at else 0.0)


async def test_a_clock_that_is_set_past_the_time_of_until_ends_the_buying(service):
    """Over is over: the wall clock is looked at before each purchase, not once at the beginning."""
    jobs = [{"id": f"j{n}", "prompt": f"p{n}"} for n in range(40)]
    clock = SetClock(5, hours=3)
    report = await service.run(service.manifest(*jobs, concurrency=1), until=clock.now() + 3600, clock=clock)
    assert report.exit_code == 75
    assert report.done == service.submissions <= 7


async def test_for_counts_the_time_of_the_run_whatever_the_wall_clock_says(service):
    """`--for`: a clock that is set changes nothing about how long a run buys."""
    jobs = [{"id": f"j{n}", "prompt": f"p{n}"} for n in range(40)]
    report = await service.run(service.manifest(*jobs, concurrency=1), for_seconds=10.0, clock=SetClock(2, hours=-3))
    assert report.exit_code == 75
    assert "--for" in report.stopped.reason
    assert 5 <= report.done == service.submissions <= 12
