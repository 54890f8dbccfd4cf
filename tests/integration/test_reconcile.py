"""The user's word about what may have been bought and what cannot be had: nothing lost, nothing bought unasked."""

from __future__ import annotations

import anyio
import pytest
from support.harness import Service, plain

import runner
from runner.core.models import State
from runner.emulator import InjectedFault
from runner.engine.maintenance.reconcile import OpenPurchases, find_open_purchases, parse_adopt
from runner.ledger import open_reader

pytestmark = pytest.mark.anyio

LOST_ANSWER = InjectedFault(on="submit", kind="reset", when="after", times=1)
PRICE = 0.0045


def questions(service: Service) -> OpenPurchases:
    with open_reader(service.output) as ledger:
        return find_open_purchases(ledger)


async def in_doubt(service: Service, jobs: int = 1) -> str:
    """Job ``a`` was bought and the answer lost; the id of its request at the service."""
    service.fault(LOST_ANSWER)
    assert (await service.run(service.manifest(*plain(jobs), concurrency=1))).unknown == 1
    service.fault()
    return service.emulator.requests[0]["request_id"]


async def stuck(service: Service) -> None:
    """Job ``a`` was bought and the service has forgotten it."""
    service.fault(InjectedFault(on="result", kind="forget", each=1))
    assert (await service.run()).unknown == 1
    service.fault()


async def test_an_unknown_is_listed_with_what_it_takes_to_find_it(service):
    """Id, purchase, when its intent was written, model, prompt and reserve; and nothing is stuck."""
    await in_doubt(service)
    found = questions(service)
    assert [(r.id, r.purchase, r.inputs["prompt"]) for r in found.unknown] == [("a", 1, "picture 0")]
    assert (found.stuck, found.exit_code) == ((), 2)
    intent = next(record for record in service.seen if record.state is State.SUBMITTING)
    assert found.unknown[0].intended_at == intent.at
    assert found.unknown[0].reserved_usd == PRICE


async def test_stuck_ones_are_listed_apart(service):
    """What is paid and cannot be had is no unknown."""
    await stuck(service)
    found = questions(service)
    assert ([r.id for r in found.stuck], found.unknown, found.exit_code) == (["a"], (), 2)


async def test_an_adopted_request_is_brought_home_without_buying(service):
    """`--adopt`: the request found on the Generations page is collected by the next run."""
    request_id = await in_doubt(service)
    assert (await service.reconcile(f"adopt a={request_id}")).exit_code == 0
    report = await service.run()
    assert (report.done, report.exit_code, service.submissions) == (1, 0, 1)
    assert (service.record().request_id, service.files()) == (request_id, ["a.png"])


async def test_collect_brings_an_adopted_request_home_too(service):
    """`collect` needs no manifest for it."""
    request_id = await in_doubt(service)
    await service.reconcile(f"adopt a={request_id}")
    assert (await service.collect()).done == 1


async def test_a_request_that_the_api_does_not_know_is_not_adopted(service):
    """A typo, or another service's id: refused with words, and nothing of the whole command is recorded."""
    await in_doubt(service, jobs=2)
    lines = service.lines()
    with pytest.raises(runner.UsageError, match=r"(?s)a=nonsense: the API has no request nonsense.*Nothing was"):
        await service.reconcile("adopt a=nonsense")
    assert service.lines() == lines
    assert questions(service).unknown[0].id == "a"


async def test_where_the_api_cannot_be_asked_nothing_is_adopted(service):
    """It is said, exit 69, with the way on: `--offline` adopts unseen, and the next run finds out."""
    request_id = await in_doubt(service)
    lines = service.lines()
    for fault in (InjectedFault(on="status", kind="reset"), InjectedFault(on="status", kind="status", status=500)):
        service.fault(fault, InjectedFault(on="result", kind="reset"))
        with pytest.raises(runner.Unavailable, match=r"could not be asked.*Nothing was recorded.*--offline") as caught:
            await service.reconcile(f"adopt a={request_id}")
        assert caught.value.exit_code == 69
    assert service.lines() == lines
    calls = service.emulator.stats["calls"]
    assert (await service.reconcile(f"adopt a={request_id}", offline=True)).exit_code == 0
    assert service.emulator.stats["calls"] == calls
    service.fault()
    assert (await service.run()).done == 1


async def test_a_request_of_another_account_is_not_adopted(service):
    """The API does not show it to this token: exit 77, nothing is recorded."""
    request_id = await in_doubt(service)
    service.fault(InjectedFault(on="status", kind="status", status=403))
    with pytest.raises(runner.AccountError, match="this token"):
        await service.reconcile(f"adopt a={request_id}")
    assert service.record().state is State.UNKNOWN


async def test_the_token_goes_to_no_address_that_only_a_record_names(service, make_service):
    """The purchase was made elsewhere: the address is to be said, and nobody is asked."""
    request_id = await in_doubt(service)
    elsewhere = await make_service("elsewhere")
    elsewhere.folder = service.folder
    with pytest.raises(runner.UsageError, match=rf"made at {service.emulator.base}.*--api {service.emulator.base}"):
        await elsewhere.reconcile(f"adopt a={request_id}")
    assert (await elsewhere.reconcile(f"adopt a={request_id}", api=service.emulator.base)).exit_code == 0


async def test_what_is_given_up_needs_no_api(service):
    """`--lost` and `--rebuy` ask nobody."""
    await in_doubt(service)
    calls = service.emulator.stats["calls"]
    await service.reconcile("rebuy a")
    await service.reconcile("lost a")
    assert service.emulator.stats["calls"] == calls


async def test_a_lost_unknown_was_never_bought(service):
    """`--lost`: it counts for nothing, and the next run buys the job."""
    await in_doubt(service)
    assert (await service.reconcile("lost a")).exit_code == 0
    assert (service.record().state, service.record().error.code) == (State.RELEASED, "lost")
    report = await service.run()
    assert (report.done, service.submissions) == (1, 2)
    assert report.spent_usd == pytest.approx(PRICE)


async def test_a_lost_stuck_one_was_paid_and_is_bought_anew(service):
    """`--lost` on a stuck purchase: failed, its cost counts, nothing asks after it, and the next run buys anew."""
    await stuck(service)
    await service.reconcile("lost a")
    assert (service.record().state, service.record().error.retryable) == (State.FAILED, True)
    report = await service.run()
    assert (report.done, report.exit_code, service.submissions) == (1, 0, 2)
    assert report.spent_usd == pytest.approx(2 * PRICE)


async def test_lost_is_no_try_of_the_services(service):
    """Three purchases given up by the user do not keep the fourth from being made."""
    for number in range(1, 4):
        service.fault(InjectedFault(on="result", kind="forget", each=1))
        await service.run()
        await service.reconcile("lost a")
        assert service.submissions == number
    service.fault()
    assert (await service.run()).done == 1


async def test_rebuy_leaves_an_unknown_as_it_is_and_buys_once(service):
    """`--rebuy`: the unknown stays and counts as spent; the next run buys anew, and the one after does not."""
    await in_doubt(service)
    assert (await service.reconcile("rebuy a")).exit_code == 0
    manifest = service.manifest(*plain(1))
    for skipped in (0, 1):
        report = await service.run(manifest)
        assert (report.done, report.skipped, report.exit_code) == (1 - skipped, skipped, 0)
        assert report.spent_usd == pytest.approx(2 * PRICE)
    assert service.submissions == 2
    assert [record.state for record in service.purchases("a")] == ["unknown", "done"]
    assert [r.id for r in questions(service).passed] == ["a"]


async def test_rebuy_is_used_up_by_one_purchase(service):
    """If the new purchase is in doubt as well, that is a new question: it is held."""
    await in_doubt(service)
    await service.reconcile("rebuy a")
    service.fault(LOST_ANSWER)
    assert (await service.run()).unknown == 1
    assert (await service.run()).unknown == 1
    assert service.submissions == 2
    assert [r.purchase for r in questions(service).unknown] == [2]


async def test_rebuy_survives_refusals_until_something_is_bought(service):
    """The word stands until the service takes the job: a busy service does not use it up."""
    await in_doubt(service)
    await service.reconcile("rebuy a")
    service.fault(InjectedFault(on="submit", kind="status", status=402, code=400002, times=1))
    assert (await service.run()).left == 1
    assert (await service.run()).done == 1


async def test_rebuy_all_means_every_open_one(service):
    """`--rebuy all` passes over all that is unknown or stuck, and what is bought is each of them once."""
    service.fault(InjectedFault(on="submit", kind="reset", when="after", times=2))
    assert (await service.run(jobs=3)).unknown == 2
    service.fault()
    assert (await service.reconcile("rebuy all")).exit_code == 0
    assert (await service.run(jobs=3)).exit_code == 0
    assert service.submissions == 5


async def test_a_stuck_one_that_is_bought_anew_is_still_asked_after_and_not_counted_again(service):
    """`--rebuy` on a stuck purchase: the job is done by the new one; each run still asks, and says nothing of it."""
    await stuck(service)
    await service.reconcile("rebuy a")
    report = await service.run()
    assert (report.done, report.total, report.exit_code, service.submissions) == (1, 1, 0, 2)
    before = service.emulator.stats["calls"]["result"]
    report = await service.run()
    assert (report.skipped, report.total, report.exit_code, service.submissions) == (1, 1, 0, 2)
    assert service.emulator.stats["calls"]["result"] > before


async def test_a_stuck_one_that_heals_first_is_not_bought_again(service):
    """After `--rebuy` the run asks once more before it buys: what has come meanwhile is delivered instead."""
    service.fault(InjectedFault(on="result", kind="no_output"))
    await service.run()
    await service.reconcile("rebuy a")
    service.fault()
    report = await service.run()
    assert (report.total, report.exit_code, service.submissions) == (1, 0, 1)
    assert service.files() == ["a.png"]


async def test_what_comes_late_does_not_displace_what_is_newer(service):
    """Adopted after the job was bought anew: its files go to .replaced/<id>/<purchase>/, and the newer ones stay."""
    request_id = await in_doubt(service)
    await service.reconcile("rebuy a")
    await service.run()
    newer = (service.output / "a.png").read_bytes()
    await service.reconcile(f"adopt a={request_id}")
    report = await service.run()
    assert (report.total, report.exit_code, service.submissions) == (1, 0, 2)
    assert (service.output / "a.png").read_bytes() == newer
    assert service.files() == [".replaced/a/1/a.png", "a.png"]
    assert [record.state for record in service.purchases("a")] == ["done", "done"]
    assert (await service.run()).skipped == 1
    assert service.files() == [".replaced/a/1/a.png", "a.png"]


async def test_two_purchases_of_one_job_that_arrive_together_take_their_places_in_order(make_service):
    """An adopted one and a newer one are both owed: the newer one's files stand in the end, whoever is faster."""
    service = await make_service(seconds=100.0)
    service.fault(LOST_ANSWER)
    await service.run()
    service.fault()
    await service.reconcile("rebuy a")
    assert (await service.run(service.manifest(*plain(1), timeout="5s"))).owed == 1
    await service.reconcile(f"adopt a={service.emulator.requests[0]['request_id']}")
    report = await service.run(service.manifest(*plain(1), timeout="1h"))
    assert (report.total, report.exit_code, service.submissions) == (1, 0, 2)
    assert service.files() == [".replaced/a/1/a.png", "a.png"]
    assert service.record().purchase == 2


async def test_an_adopted_purchase_with_other_inputs_than_now_is_kept_aside(service):
    """The inputs changed since: what was adopted is brought home, and what the manifest wants now is in force."""
    request_id = await in_doubt(service)
    await service.reconcile("rebuy a")
    now = {"id": "a", "prompt": "another"}
    assert (await service.run(service.manifest(now))).done == 1
    await service.reconcile(f"adopt a={request_id}")
    report = await service.run(service.manifest(now))
    assert (report.total, report.exit_code, service.submissions) == (1, 0, 2)
    assert service.files() == [".replaced/a/1/a.png", "a.png"]


WRONG = {
    "an id that is not there": (["lost ab"], r"no job with this id.*did you mean `a`"),
    "a job that is done": (["lost b"], r"purchase 1 is done; there is nothing to resolve"),
    "a purchase that is not there": (["lost a/7"], "a has no purchase 7"),
    "a request of another purchase": (["adopt a={b}"], r"belongs to purchase 1 of b"),
    "two words about one": (["lost a", "rebuy a"], "names the same purchase"),
    "one of several is wrong": (["rebuy a", "lost b", "lost x"], r"(?s)lost b.*lost x.*Nothing was recorded"),
}


@pytest.mark.parametrize(("words", "said"), WRONG.values(), ids=WRONG)
async def test_a_wrong_word_settles_nothing(service, words, said):
    """Every fault is named, with the nearest id, and nothing is recorded: exit 64."""
    await in_doubt(service, jobs=2)
    before = service.lines()
    other = service.record("b").request_id
    with pytest.raises(runner.UsageError, match=said):
        await service.reconcile(*(word.replace("{b}", other) for word in words))
    assert service.lines() == before


async def test_one_request_is_not_adopted_twice(service):
    """Two jobs in one command may not claim the same request."""
    service.fault(InjectedFault(on="submit", kind="reset", when="after", times=2))
    await service.run(service.manifest(*plain(2), concurrency=1))
    request_id = service.emulator.requests[0]["request_id"]
    with pytest.raises(runner.UsageError, match="belongs to purchase 1 of a"):
        await service.reconcile(f"adopt a={request_id}", f"adopt b={request_id}")


async def test_a_stuck_one_has_its_request_already(service):
    """`--adopt` is for unknowns."""
    await stuck(service)
    with pytest.raises(runner.UsageError, match="already has a request"):
        await service.reconcile("adopt a=r1")


@pytest.mark.parametrize("text", ["a", "=r1", "a=", "a=has space", "a=x/y"])
def test_what_is_no_adoption_is_refused(text):
    """The form is ID=REQUEST_ID, and a request id has letters, digits, - and _."""
    with pytest.raises(ValueError, match="--adopt"):
        parse_adopt(text)


async def test_an_unknown_that_was_resubmitted_is_no_question_any_more(service):
    """`on_unknown: resubmit` has passed it over: it is listed apart, and can still be adopted or given up."""
    request_id = await in_doubt(service)
    await service.run(service.manifest(*plain(1), on_unknown="resubmit"))
    found = questions(service)
    assert (found.exit_code, [r.purchase for r in found.passed]) == (0, [1])
    with pytest.raises(runner.UsageError, match="there is nothing to resolve"):
        await service.reconcile("rebuy a")
    await service.reconcile(f"adopt a={request_id}")
    assert (await service.run()).exit_code == 0
    assert [record.state for record in service.purchases("a")] == ["done", "done"]


@pytest.mark.parametrize("word", ["lost", "rebuy"])
async def test_a_request_that_never_ends_can_be_given_up(make_service, word):
    """After a day it stops all buying; it is no question, but who names it may settle it, and the next run buys."""
    service = await make_service(seconds=1e7)
    manifest = service.manifest(*plain(1), timeout="10m")
    await service.run(manifest)
    for _ in range(2):
        await anyio.sleep(45_000)
    stopped = (await service.run(manifest)).stopped
    assert stopped is not None
    assert "`runner reconcile --accept a` closes it and buys nothing" in stopped.reason
    assert questions(service).open == ()
    await service.reconcile(f"{word} a")
    await service.run(manifest)
    assert [record.state for record in service.purchases("a")][1:] == [State.SUBMITTED]
    assert service.submissions == 2
