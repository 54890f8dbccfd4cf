"""Live schemas in whole runs: asked for, kept, and away for a night without anything being bought again."""

from __future__ import annotations

import shutil

import msgspec
import pytest
from support.virtual_time import LoopClock

from runner.core.errors import ManifestError
from runner.core.models import State
from runner.emulator import InjectedFault
from runner.engine import operations
from runner.engine.catalogue import offers
from runner.engine.redo import RedoMode

pytestmark = pytest.mark.anyio

MODEL = "emulator/edit/image-to-image"
DAY = 24 * 3600.0
AWAY = InjectedFault(on="model", kind="status", status=500)
JOBS = """\
jobs:
  - {id: a, prompt: one, style: 012, strength: 1.0}
  - {id: b, prompt: two, style: 12, steps: 4.0}
  - {id: c, prompt: three, style: 1e3}
"""
BATCH = f"model: {MODEL}\n{JOBS}"


def calls(service) -> int:
    return service.emulator.stats["calls"]["model"]


def forget(service) -> None:
    shutil.rmtree(service.cache, ignore_errors=True)


async def known(service, *, offline: bool = False, **environ: str):
    surroundings = {**service.environ, **environ}
    return (await offers([MODEL], operations.RunOptions(offline=offline), surroundings, clock=LoopClock()))[MODEL]


async def test_what_the_catalogue_says_is_checked_before_anything_is_bought(service):
    """A misspelt input and a missing photo of a model that is not bundled cost nothing: they are errors with places."""
    with pytest.raises(ManifestError) as caught:
        await service.read(f"model: {MODEL}\njobs: [{{prompt: a, stepps: 4}}, {{prompt: b, image_url: mug.png}}]\n")
    assert "did you mean `steps`?" in str(caught.value)
    assert "`image_url` names `mug.png`, and there is no such file" in str(caught.value)
    assert service.submissions == 0


async def test_a_schema_is_asked_for_once_a_day(service):
    """Runs of one day share one question; the next day asks again."""
    await service.read(BATCH)
    await service.read(BATCH)
    assert calls(service) == 1
    (file,) = service.cache.rglob("*.json")
    file.write_bytes(file.read_bytes().replace(b'"at":1800', b'"at":1799'))
    manifest = await service.read(BATCH)
    assert calls(service) == 2
    assert manifest.warnings == ()


async def test_an_old_copy_serves_while_the_catalogue_is_away_and_that_is_said(service):
    """The inputs are checked all the same, by the copy whose date the warning gives."""
    await known(service)
    (file,) = service.cache.rglob("*.json")
    file.write_bytes(file.read_bytes().replace(b'"at":1800', b'"at":1799'))
    service.fault(AWAY)
    offer = await known(service)
    assert offer.schema is not None
    assert offer.note == "checked with the cached schema of 2027-01-03, because the catalogue cannot be reached"


async def test_offline_asks_nothing_and_takes_any_copy(service):
    """With ``--offline`` the cache alone serves, and without a copy nothing is known."""
    offer = await known(service, offline=True)
    assert (offer.schema, offer.note) == (None, "--offline: the catalogue is not contacted")
    await known(service)
    assert (await known(service, offline=True)).schema is not None
    assert calls(service) == 1


async def test_without_a_token_nothing_is_asked(service):
    """No account, no question; a copy serves where there is one."""
    offer = await known(service, RUNCOMFY_TOKEN="")
    assert (offer.schema, offer.note) == (None, "the catalogue needs an API token")
    assert calls(service) == 0


@pytest.mark.parametrize(
    "fault",
    [
        InjectedFault(on="model", kind="reset"),
        InjectedFault(on="model", kind="hang"),
        InjectedFault(on="model", kind="garbage"),
        InjectedFault(on="model", kind="half"),
        InjectedFault(on="model", kind="redirect"),
        InjectedFault(on="model", kind="status", status=401),
        InjectedFault(on="model", kind="status", status=429),
        InjectedFault(on="model", kind="error200", code=500001),
        InjectedFault(on="model", kind="status", status=200, body="html"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
async def test_a_catalogue_in_trouble_is_no_catalogue(service, fault):
    """Whatever its trouble: no crash, nothing kept, a reason given; what is no entry is never an empty one."""
    service.fault(fault)
    offer = await known(service)
    assert (offer.schema, offer.note) == (None, "the catalogue cannot be reached")
    assert list(service.cache.rglob("*.json")) == []


@pytest.mark.parametrize("fault", [InjectedFault(on="model", kind="status", status=404),
                                   InjectedFault(on="model", kind="error200", code=404001),
                                   InjectedFault(on="model", kind="status", status=400, code=400001)])  # fmt: skip
async def test_a_model_that_the_catalogue_does_not_know_is_told(service, fault):
    """65 at its place, before anything is bought; an earlier copy of its schema still serves, with a warning."""
    service.fault(fault)
    assert "has no such model" in (await known(service)).note
    with pytest.raises(ManifestError) as told:
        await service.read(BATCH)
    assert [problem.place.line for problem in told.value.problems] == [2]
    assert "the catalogue has no model" in str(told.value)
    service.fault()
    await service.read(BATCH)
    service.fault(fault)
    for path in service.cache.rglob("*.json"):
        kept = msgspec.json.decode(path.read_bytes())
        path.write_bytes(msgspec.json.encode({**kept, "at": kept["at"] - 2 * 86_400}))
    assert "checked with the cached schema of" in str((await service.read(BATCH)).warnings[0])


async def test_the_nearest_models_of_the_catalogue_are_named(service):
    """A slip in the id is found by the list of models that there are."""
    with pytest.raises(ManifestError, match=r"did you mean `?emulator/contact-sheet/text-to-image"):
        await service.read("model: emulator/contact-sheets/text-to-image\njobs: [{id: a, prompt: one}]\n")
    assert service.submissions == 0


@pytest.mark.parametrize("told", [None, [], "x", {"$ref": "http://127.0.0.1:9/"}, {"properties": {"a": {"type": "x"}}}])
async def test_a_malformed_schema_is_refused_and_an_older_good_one_serves(make_service, told):
    """A catalogue that breaks overnight changes nothing for a model whose schema was good yesterday."""
    schemas: dict[str, object] = {MODEL: told}
    service = await make_service(schemas=schemas)
    offer = await known(service)
    assert offer.schema is None
    assert "the schema in the catalogue" in offer.note
    del schemas[MODEL]
    await known(service)
    (file,) = service.cache.rglob("*.json")
    file.write_bytes(file.read_bytes().replace(b'"at":1800', b'"at":1799'))
    schemas[MODEL] = told
    offer = await known(service)
    assert offer.schema is not None
    assert "checked with the cached schema of" in offer.note


async def test_a_night_without_the_schema_buys_nothing_again(service):
    """Bought with the schema, run again with catalogue and cache gone: all are known, none is submitted."""
    report = await service.run(await service.read(BATCH))
    assert (report.done, service.record("b").inputs["style"]) == (3, "12")
    service.fault(AWAY)
    forget(service)
    manifest = await service.read(BATCH)
    assert [job.inputs["style"] for job in manifest.jobs] == ["012", 12, 1000.0]
    report = await service.run(manifest)
    assert (report.skipped, report.exit_code, service.submissions) == (3, 0, 3)


async def test_the_same_for_jobs_without_ids(service):
    """Their ids come from their inputs; the records follow, and come back with the schema."""
    batch = BATCH.replace("id: a, ", "").replace("id: b, ", "").replace("id: c, ", "")
    assert (await service.run(await service.read(batch))).done == 3
    first = service.files()
    service.fault(AWAY)
    forget(service)
    report = await service.run(await service.read(batch))
    assert (report.skipped, report.exit_code) == (3, 0)
    service.fault()
    report = await service.run(await service.read(batch))
    assert (report.skipped, report.exit_code, service.submissions) == (3, 0, 3)
    assert service.files() == first


@pytest.mark.parametrize("order", [("string", "integer"), ("string", None), (None, "string"), ("integer", "string")])
async def test_a_schema_that_changes_overnight_buys_nothing_again(make_service, order):
    """``4`` that is a number one night and a text the next is what it was."""
    schemas: dict[str, object] = {}

    def tell(kind: str | None) -> None:
        rule = {"type": "object", "properties": {"prompt": {"type": "string"}, "steps": {"type": kind}}}
        schemas[MODEL] = rule if kind else None

    service = await make_service(schemas=schemas)
    batch = f"model: {MODEL}\njobs: [{{id: a, prompt: one, steps: 4}}]\n"
    tell("integer")  # what the service takes in truth
    manifest = await service.read(batch)
    assert (await service.run(manifest)).done == 1
    for kind in order:
        tell(kind)
        forget(service)
        report = await service.run(await service.read(batch))
        assert (report.skipped, report.exit_code) == (1, 0)
    assert service.submissions == 1


async def test_bought_without_a_schema_is_not_bought_again_with_one(make_service):
    """The first night nothing was known of the model; that the second night knows it changes nothing."""
    schemas: dict[str, object] = {MODEL: None}
    service = await make_service(schemas=schemas)
    batch = f"model: {MODEL}\njobs: [{{id: a, prompt: one, steps: 4}}]\n"
    assert (await service.run(await service.read(batch))).done == 1
    schemas[MODEL] = {"type": "object", "properties": {"prompt": {"type": "string"}, "steps": {"type": "string"}}}
    report = await service.run(await service.read(batch))
    assert (report.skipped, service.submissions) == (1, 1)


async def test_what_failed_for_its_type_is_bought_once_the_schema_corrects_it(make_service):
    """``12`` was refused where a text is wanted; read as a text by the schema, it is another purchase."""
    schemas: dict[str, object] = {MODEL: None}
    service = await make_service(schemas=schemas)
    batch = f"model: {MODEL}\njobs: [{{id: a, prompt: one, style: 12}}]\n"
    assert (await service.run(await service.read(batch))).failed == 1
    del schemas[MODEL]
    assert (await service.run(await service.read(batch))).done == 1


async def test_a_change_where_nothing_is_known_of_the_model_is_a_change(make_service):
    """The same spelling as another type is bought where no schema was ever there to read it otherwise."""
    service = await make_service(schemas={MODEL: None})
    batch = f"model: {MODEL}\njobs: [{{id: a, prompt: one, style: 12}}]\n"
    assert (await service.run(await service.read(batch))).failed == 1
    assert (await service.run(await service.read(batch.replace("12", '"12"')))).done == 1


async def test_what_was_bought_after_a_refusal_for_its_type_stays_bought_without_the_schema(make_service):
    """Refused as a number, bought as a text: without the schema it is the picture that counts, not the refusal."""
    schemas: dict[str, object] = {MODEL: None}
    service = await make_service(schemas=schemas)
    batch = f"model: {MODEL}\njobs: [{{id: a, prompt: one, style: 12}}]\n"
    assert (await service.run(await service.read(batch))).failed == 1
    del schemas[MODEL]
    assert (await service.run(await service.read(batch))).done == 1
    schemas[MODEL] = None
    forget(service)
    report = await service.run(await service.read(batch))
    assert (report.skipped, report.exit_code) == (1, 0)


async def test_a_redo_on_a_night_without_the_schema_buys_what_was_bought(service):
    """Done jobs that the user wants anew are bought with the inputs of their purchase, and once."""
    assert (await service.run(await service.read(BATCH))).done == 3
    service.fault(AWAY)
    forget(service)
    report = await service.run(await service.read(BATCH), redo=RedoMode.ALL, budget=None)
    assert (report.done, report.exit_code, service.submissions) == (3, 0, 6)
    assert [record.inputs["style"] for record in service.purchases("b")] == ["12", "12"]


async def test_a_redo_that_was_interrupted_goes_on_without_the_schema(service):
    """Inputs that no schema reads otherwise are known exactly, and their redo is no change."""
    batch = f"model: {MODEL}\njobs: [{{id: a, prompt: one}}]\n"
    assert (await service.run(await service.read(batch))).done == 1
    service.fault(AWAY, InjectedFault(on="submit", kind="status", status=402))
    forget(service)
    manifest = await service.read(batch)
    assert (await service.run(manifest, redo=RedoMode.ALL)).exit_code == 77
    service.fault(AWAY)
    assert (await service.run(manifest)).done == 1
    assert len(service.purchases("a")) == 2


async def test_another_model_is_another_purchase_whatever_is_known_of_it(make_service):
    """A job that moves to a model without a schema has changed, and is bought there."""
    other = "emulator/studio/text-to-image"
    service = await make_service(schemas={other: None})
    assert (await service.run(await service.read(f"model: {MODEL}\njobs: [{{id: a, prompt: one}}]\n"))).done == 1
    assert (await service.run(await service.read(f"model: {other}\njobs: [{{id: a, prompt: one}}]\n"))).done == 1


MATRIX = f"""\
model: {MODEL}
jobs:
  - {{id: "{{{{ style }}}}", prompt: "a mug, {{{{ style }}}}", matrix: {{style: [oil, ink]}}}}
"""
FEED = f'model: {MODEL}\njobs: [{{from: f.csv, strength: 0.5, id: "{{{{ style }}}}"}}]\n'


@pytest.mark.parametrize("batch", [MATRIX, FEED], ids=["matrix", "feed"])
async def test_a_missing_schema_never_turns_what_is_an_input_into_a_mere_name(service, batch):
    """With the schema ``style`` is an input as well as a name in templates; without it nobody knows. Nothing is bought
    then, and the run says why and what to do."""
    (service.folder / "f.csv").write_text("style,prompt\noil,a mug\nink,a mug\n")
    report = await service.run(await service.read(batch))
    assert (report.done, service.record("oil").inputs["style"]) == (2, "oil")
    service.fault(AWAY)
    forget(service)
    manifest = await service.read(batch)
    assert all("style" not in job.inputs for job in manifest.jobs)
    report = await service.run(manifest)
    assert (report.left, report.exit_code, service.submissions) == (2, 69, 2)
    assert "try again when the catalogue can be reached" in report.stopped.reason
    service.fault()
    assert (await service.run(await service.read(batch))).skipped == 2


async def test_the_same_holds_for_jobs_without_ids(service):
    """Another reading gives them other ids; as long as purchases lie unclaimed, none of those is taken for new."""
    batch = MATRIX.replace('id: "{{ style }}", ', "")
    assert (await service.run(await service.read(batch))).done == 2
    service.fault(AWAY)
    forget(service)
    report = await service.run(await service.read(batch))
    assert (report.left, report.exit_code, service.submissions) == (2, 69, 2)


async def test_a_change_waits_for_the_schema_and_a_new_job_does_not(service):
    """On a night without the schema an edit cannot be told from another reading; a job beside all others can."""
    assert (await service.run(await service.read(BATCH))).done == 3
    service.fault(AWAY)
    forget(service)
    edited = await service.run(await service.read(BATCH.replace("one", "uno")))
    assert (edited.skipped, edited.left, edited.exit_code, service.submissions) == (2, 1, 69, 3)
    more = await service.run(await service.read(f"{BATCH}  - {{id: d, prompt: four}}\n"))
    assert (more.skipped, more.done, service.submissions) == (3, 1, 4)
    service.fault()
    assert (await service.run(await service.read(BATCH.replace("one", "uno")))).done == 1


async def test_an_owed_purchase_is_not_followed_by_a_second_one(service):
    """Killed before delivery, taken up on a night without the schema: collected, and not bought again as changed."""
    service.fault(InjectedFault(on="result", kind="status", status=500))
    report = await service.run(await service.read(f"timeout: 5s\n{BATCH}"))
    assert report.owed == 3
    service.fault(AWAY)
    forget(service)
    report = await service.run(await service.read(BATCH))
    assert (report.done, report.exit_code, service.submissions) == (3, 0, 3)


async def test_an_owed_purchase_whose_inputs_changed_is_not_followed_by_another_without_the_schema(service):
    """Perhaps only the reading is another one: it is collected, and what comes after waits for the schema."""
    service.fault(InjectedFault(on="result", kind="status", status=500))
    assert (await service.run(await service.read(f"timeout: 5s\n{BATCH}"))).owed == 3
    service.fault(AWAY)
    forget(service)
    report = await service.run(await service.read(BATCH.replace("one", "uno")))
    assert (report.exit_code, service.submissions) == (69, 3)
    assert {service.record(name).state for name in "abc"} == {State.DONE}


async def test_jobs_that_buy_nothing_do_not_stop_the_buying_without_the_schema(service):
    """One failed for good and one is held, edited meanwhile: only what would be bought and may look new is in doubt."""
    final = InjectedFault(on="submit", kind="status", status=422, match="one")
    lost = InjectedFault(on="submit", kind="hang", match="two", times=1)
    service.fault(final, lost)
    await service.run(await service.read(BATCH))
    assert service.record("b").state is State.UNKNOWN
    service.fault(AWAY)
    forget(service)
    edited = BATCH.replace("two", "zwei")
    report = await service.run(await service.read(f"{edited}  - {{id: d, prompt: four}}\n"))
    assert (report.unknown, report.skipped, report.done, report.stopped) == (1, 1, 1, None)


async def test_offline_runs_buy_at_the_price_of_earlier_purchases(service):
    """``--offline`` asks no catalogue, for prices neither: a budget goes by what was paid before, or stops with 69."""
    batch = f"budget: 1.00\n{BATCH}"
    manifest = await service.read(batch)
    report = await service.run(manifest, offline=True)
    assert (report.left, report.exit_code, service.submissions) == (3, 69, 0)
    assert "--offline" in report.stopped.reason
    assert (await service.run(manifest, limit=1)).done == 1
    asked = calls(service)
    report = await service.run(await service.read(batch, offline=True), offline=True)
    assert (report.done, report.skipped, calls(service)) == (2, 1, asked)
