"""One folder, one API: another address of it is said before anything is bought, and may be said to be the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from support.harness import Service, plain
from support.virtual_time import LoopClock

import runner
from runner.core.models import EMULATOR, Budget, State
from runner.core.shards import Shard
from runner.emulator import InjectedFault
from runner.engine import operations
from runner.engine.config import RunConfig
from runner.engine.forecast import Forecast, make_forecast
from runner.ledger import merge_shards, open_reader, recognize
from runner.ledger.records import decode, encode

pytestmark = pytest.mark.anyio


class ByName(Service):
    """The same emulator, asked as ``localhost``."""

    @property
    def environ(self) -> dict[str, str]:
        return {**super().environ, "RUNCOMFY_MODEL_API_BASE": self.base}

    @property
    def base(self) -> str:
        return self.emulator.base.replace("127.0.0.1", "localhost")

    async def run(self, *arguments: Any, **options: Any) -> runner.Report:
        with self.answering():
            return await super().run(*arguments, **options)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Have the emulator give links to the name by which it is asked."""
        teller = self.emulator._service.teller
        teller.origin = teller.origin.replace("127.0.0.1", "localhost")
        try:
            yield
        finally:
            teller.origin = teller.origin.replace("localhost", "127.0.0.1")


@pytest.fixture
def by_name(service: Service) -> ByName:
    return ByName(service.emulator, service.folder, seen=service.seen)


def plan(service: Service, manifest: runner.Manifest, **options: Any) -> Forecast:
    config = RunConfig.resolve(manifest, runner.RunOptions(**options), service.environ)
    return make_forecast(config, manifest.jobs, now=0.0, visit=lambda *_: None)


def edit(service: Service, **changes: Any) -> None:
    """Change each line of the results log."""
    path = service.output / "results.jsonl"
    lines = [msgspec.structs.replace(decode(line), **changes) for line in path.read_bytes().splitlines()]
    path.write_bytes(b"".join(map(encode, lines)))


async def collect(service: Service, **options: Any) -> runner.Report:
    folder, choice = operations.Folder(service.output), runner.RunOptions(**options)
    return await operations.collect(folder, choice, clock=LoopClock(), environ=service.environ)


async def test_another_address_buys_nothing_and_names_both(service: Service, by_name: ByName) -> None:
    """65 from `run` and `plan`: how much was bought where, and both ways on."""
    manifest = service.manifest(*plain(3))
    await service.run(manifest)
    with pytest.raises(runner.ConflictError) as told:
        await by_name.run(manifest)
    text = str(told.value)
    assert f"out holds 3 purchases made at {service.emulator.base}, and this run uses {by_name.base}" in text
    assert f"--same-api-as {service.emulator.base}" in text
    assert "--output" in text
    assert "Nothing was bought" in text
    with pytest.raises(runner.ConflictError, match="holds 3 purchases made at"):
        plan(by_name, manifest)
    assert service.submissions == 3


async def test_an_address_that_is_said_to_be_the_same_reuses_all_from_then_on(
    service: Service, by_name: ByName
) -> None:
    """`--same-api-as` is said once: later runs at either address need no word, and nothing is bought again."""
    manifest = service.manifest(*plain(3))
    await service.run(manifest)
    assert plan(by_name, manifest, same_api_as=service.emulator.base).counts == {"reuse": 3}
    with pytest.raises(runner.ConflictError):
        await by_name.run(manifest)  # a plan writes nothing down
    report = await by_name.run(manifest, same_api_as=service.emulator.base + "/")
    assert (report.skipped, report.exit_code) == (3, 0)
    assert report.spent_usd == pytest.approx(3 * 0.0045)
    for asked in (by_name, service, by_name):
        again = await asked.run(service.manifest(*plain(3)))
        assert (again.skipped, again.exit_code) == (3, 0)
    assert service.submissions == 3
    more = await by_name.run(service.manifest(*plain(4)))
    assert (more.done, more.skipped) == (1, 3)
    assert (await service.run(service.manifest(*plain(4)))).skipped == 4
    assert sum(bool(record.same_apis) for record in service.lines()) == 1, "said once, whatever comes later"


async def test_the_word_survives_what_becomes_of_the_line_that_has_it(service: Service, by_name: ByName) -> None:
    """The job is bought anew and renamed, the log is compacted: the two addresses stay one service."""
    await service.run(service.manifest({"id": "a", "prompt": "p"}))
    await by_name.run(service.manifest({"id": "a", "prompt": "p"}), same_api_as=service.emulator.base)
    await by_name.run(service.manifest({"id": "a", "prompt": "q"}))
    await service.run(service.manifest({"id": "b", "prompt": "q"}))
    (service.output / "b.png").unlink()
    assert (await by_name.run(service.manifest({"id": "b", "prompt": "q"}))).done == 1
    for asked in (by_name, service):
        assert (await asked.run(service.manifest({"id": "b", "prompt": "q"}))).skipped == 1
    assert service.submissions == 2
    with open_reader(service.output) as ledger:
        assert ledger.same_apis() == {tuple(sorted((by_name.base, service.emulator.base)))}


async def test_what_is_owed_is_fetched_at_the_other_address(service: Service, by_name: ByName) -> None:
    """It is asked for there, links to the old address are not followed, and the picture is delivered."""
    service.fault(InjectedFault(on="file", kind="status", status=500))
    await service.run(service.manifest(*plain(2), retries=0))
    service.fault()
    assert [record.state for record in service.purchases("a")] == [State.GENERATED]
    refused = await collect(by_name)
    assert (refused.done, refused.exit_code) == (0, 65)
    assert refused.stopped is not None
    assert f"2 paid results are at {service.emulator.base}" in refused.stopped.reason
    first = service.emulator.base
    with by_name.answering():
        report = await collect(by_name, same_api_as=first)
    assert (report.done, report.exit_code, service.submissions) == (2, 0, 2)
    assert service.files() == ["a.png", "b.png"]


async def test_a_budget_counts_what_was_spent_at_every_address(service: Service, by_name: ByName) -> None:
    """Two addresses are one account: what is left of the budget is the same at both, and so is what was spent."""
    await service.run(service.manifest(*plain(2)))
    budget = Budget(usd=0.0145)
    manifest = service.manifest(*plain(9))
    told = plan(by_name, manifest, same_api_as=service.emulator.base, budget=budget)
    assert told.tracker is not None
    assert told.tracker.left_usd == pytest.approx(budget.usd - 2 * 0.0045)
    report = await by_name.run(manifest, same_api_as=service.emulator.base, budget=budget)
    assert (report.done, report.exit_code) == (1, 75)
    assert report.spent_usd == pytest.approx(3 * 0.0045)


async def test_a_redo_goes_on_at_the_other_address(service: Service, by_name: ByName) -> None:
    """Chosen at one address and finished at the other, and bought once."""
    await service.run(service.manifest(*plain(2)))
    service.fault(InjectedFault(on="submit", kind="status", status=402, code=402001))
    await service.run(service.manifest(*plain(2)), redo=runner.RedoMode.ALL)
    service.fault()
    report = await by_name.run(service.manifest(*plain(2)), same_api_as=service.emulator.base)
    assert report.done == 2
    assert (await service.run(service.manifest(*plain(2)))).skipped == 2
    assert len({record.request_id for record in service.lines()} - {None}) == 4


async def test_shards_learn_the_word_from_each_other(service: Service, by_name: ByName) -> None:
    """Said for one shard it holds for the batch, and after a merge."""
    manifest = service.manifest(*plain(8))
    shards = [Shard(index=index, of=2) for index in (1, 2)]
    for shard in shards:
        await service.run(manifest, shard=shard)
    with pytest.raises(runner.ConflictError):
        await by_name.run(manifest, shard=shards[0])
    await by_name.run(manifest, shard=shards[0], same_api_as=service.emulator.base)
    assert (await by_name.run(manifest, shard=shards[1])).done == 0
    merge_shards(service.output, "now")
    assert (await by_name.run(manifest)).skipped == 8
    assert service.submissions == 8


async def test_addresses_are_the_same_through_a_third(service: Service) -> None:
    """A gateway is replaced twice: the words add up."""
    await service.run(service.manifest(*plain(3)))
    path = service.output / "results.jsonl"
    lines = [decode(line) for line in path.read_bytes().splitlines()]
    said = [("https://one/v1", "https://two/v1"), ("https://two/v1", service.emulator.base)]
    path.write_bytes(
        b"".join(
            encode(msgspec.structs.replace(record, api="https://one/v1", same_apis=said[number % 2]))
            for number, record in enumerate(lines)
        )
    )
    with open_reader(service.output) as ledger:
        recognize(service.emulator.base, ledger)
        assert ledger.apis() == {service.emulator.base}
        assert len(ledger.purchases("a", service.emulator.base)) == 1
        assert ledger.purchases("a", "https://one/v1") == []


@pytest.mark.parametrize("change", [{"api": EMULATOR}, {"api": "https://x.example/v1", "state": State.RELEASED}])
async def test_what_cost_nothing_elsewhere_stops_nobody(service: Service, change: dict[str, Any]) -> None:
    """An emulator's pictures, and submissions that another address refused."""
    await service.run()
    edit(service, **change, outputs=(), request_id=None)
    (service.output / "a.png").unlink()
    assert (await service.run()).done == 1


async def test_a_word_about_an_address_without_purchases_changes_nothing(service: Service) -> None:
    """A nightly command may keep the option."""
    assert (await service.run(same_api_as="https://gateway.example/v1")).done == 1
    assert (await service.run(same_api_as="https://gateway.example/v1")).skipped == 1
    with open_reader(service.output) as ledger:
        assert ledger.same_apis() == set()


async def test_an_address_that_is_none_is_refused(service: Service) -> None:
    """As `--api` is; and beside the emulator the option means nothing."""
    with pytest.raises(runner.UsageError, match="should look like"):
        await service.run(same_api_as="gateway")
    with pytest.raises(runner.UsageError, match="--same-api-as"):
        runner.RunOptions(emulator=True, same_api_as="https://x/v1")
