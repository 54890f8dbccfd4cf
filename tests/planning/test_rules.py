"""What a rerun does with a job, by all that the results manifest knows of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from runner.core.copies import CopyFile
from runner.core.models import UNEXPLAINED, Fault, Job, Output, Record, State
from runner.planning.rules import MAX_PURCHASES, Action, Decision, decide, in_force, next_purchase, revive

MAY_HEAL = Fault(code="500001", message="worker lost", retryable=True)
FINAL = Fault(code="400123", message="bad prompt")
EXPIRED = Fault(code="expired", message="not known any more")


def job(inputs: str = "A", file: str = "mug") -> Job:
    return Job(id="mug", model="m", inputs={"prompt": inputs}, fingerprint=inputs, file=file)


def purchase(number: int, state: State, inputs: str = "A", **more: Any) -> Record:
    has_request = state not in (State.SUBMITTING, State.RELEASED, State.UNKNOWN)
    fields: dict[str, Any] = {
        "request_id": f"req-{number}" if has_request else None,
        "outputs": (Output(url="https://a/1", path="mug.png", sha256="00", bytes=3),) if state is State.DONE else (),
        "error": MAY_HEAL if state is State.FAILED else None,
        "file": "mug",
        **more,
    }
    return Record(
        id="mug",
        purchase=number,
        state=state,
        at="now",
        api="api",
        manifest="-",
        model="m",
        inputs={"prompt": inputs},
        fingerprint=inputs,
        **fields,
    )


def history(*parts: str) -> list[Record]:
    """``done A`` and so on, numbered; ``failed!`` is a failure that the API calls final."""
    records = []
    for number, part in enumerate(parts, 1):
        word, inputs = part.split()
        error = {"error": FINAL} if word.endswith("!") else {}
        records.append(purchase(number, State(word.rstrip("!")), inputs, **error))
    return records


def plan(records: list[Record], wanted: Job | None = None, *, present: bool = True, resubmit: bool = False) -> Decision:
    return decide(wanted or job(), records, present=lambda _: present, resubmit=resubmit)


RULES: dict[str, tuple[list[str], Action, int | None]] = {
    "a new job is bought": ([], Action.BUY, None),
    "what is done is reused": (["done A"], Action.REUSE, 1),
    "changed inputs are bought": (["done B"], Action.BUY, None),
    "changed twice": (["done B", "done C"], Action.BUY, None),
    "what is submitted is collected": (["submitted A"], Action.COLLECT, 1),
    "what is generated is collected": (["generated A"], Action.COLLECT, 1),
    "owed is collected before changed inputs are bought": (["submitted B"], Action.COLLECT, 1),
    "owed of an older purchase too": (["submitted B", "done A"], Action.COLLECT, 1),
    "the oldest that is owed comes first": (["done B", "generated B", "submitted A"], Action.COLLECT, 2),
    "owed comes before a question": (["submitted A", "unknown A"], Action.COLLECT, 1),
    "an unknown is held": (["unknown A"], Action.HOLD, 1),
    "an intent without an answer is held": (["submitting A"], Action.HOLD, 1),
    "an unknown is held whatever the inputs say": (["unknown B"], Action.HOLD, 1),
    "an unknown is held even where the inputs are done": (["done A", "unknown B"], Action.HOLD, 2),
    "an unknown after a failure is held": (["failed A", "unknown A"], Action.HOLD, 2),
    "an unknown stays held after a later try was refused": (["unknown A", "released A"], Action.HOLD, 1),
    "an unknown that was bought anew is over": (["unknown A", "done A"], Action.REUSE, 2),
    "what was refused is bought": (["released A"], Action.BUY, None),
    "what was refused with other inputs is bought": (["released B"], Action.BUY, None),
    "a refusal leaves what is done in force": (["done A", "released B"], Action.REUSE, 1),
    "what was cancelled is bought again": (["cancelled A"], Action.BUY, None),
    "a cancelled change leaves what is done in force": (["done A", "cancelled B"], Action.REUSE, 1),
    "a failure that may heal is bought again": (["failed A"], Action.BUY, None),
    "and a third time": (["failed A", "failed A"], Action.BUY, None),
    "but not a fourth": (["failed A", "failed A", "failed A"], Action.FAILED, 3),
    "a cancelled one counts as one of three": (["failed A", "cancelled A", "failed A"], Action.FAILED, 3),
    "an unknown counts as one of three": (["unknown A", "failed A", "failed A"], Action.FAILED, 3),
    "a refusal is none of three": (["failed A", "failed A", "released A"], Action.BUY, None),
    "a refusal does not start the count anew": (["failed A", "failed A", "failed A", "released B"], Action.FAILED, 3),
    "failures with other inputs do not count": (["failed B", "failed B", "failed B"], Action.BUY, None),
    "a final failure stays": (["failed! A"], Action.FAILED, 1),
    "a final failure stays after a refusal": (["failed! A", "released A"], Action.FAILED, 1),
    "a final failure with other inputs does not": (["failed! B"], Action.BUY, None),
    "edited to and fro around a final failure": (["failed! A", "done B"], Action.FAILED, 1),
    "a failed change leaves what is done in force": (["done A", "failed B"], Action.REUSE, 1),
    "a failed change is bought again": (["done B", "failed A"], Action.BUY, None),
    "a change that fails for good is not": (["done B", "failed! A"], Action.FAILED, 2),
    "edited back: taken back": (["done A", "done B"], Action.RESTORE, 1),
    "edited back to the newest of the same": (["done A", "done A", "done B"], Action.RESTORE, 2),
    "edited back past a failure": (["done A", "done B", "failed C"], Action.RESTORE, 1),
    "edited back past a refusal": (["done A", "done B", "released C"], Action.RESTORE, 1),
    "edited back though it once failed": (["failed! A", "done A", "done B"], Action.RESTORE, 2),
}


@pytest.mark.parametrize(("past", "action", "number"), RULES.values(), ids=RULES)
def test_a_rerun_follows_the_rules(past: list[str], action: Action, number: int | None) -> None:
    """Each rule of a rerun: what is reused, collected, taken back, bought, held, and about which purchase."""
    decision = plan(history(*past))
    assert decision.action is action
    assert (decision.record.purchase if decision.record else None) == number
    assert decision.reason


PASSED = {
    "edited back beside an unknown that was passed over": (State.UNKNOWN, "B", "A", Action.RESTORE),
    "edited back beside an owed one that was passed over": (State.SUBMITTED, "B", "A", Action.RESTORE),
    "the inputs that were passed over": (State.UNKNOWN, "B", "B", Action.BUY),
}


@pytest.mark.parametrize(("state", "inputs", "wanted", "action"), PASSED.values(), ids=PASSED)
def test_what_rebuy_passes_over_is_bought_anew_and_nothing_else(state, inputs, wanted, action):
    """`reconcile --rebuy` is about these inputs: edited back to what is done, that is taken back, and not bought."""
    past = [purchase(1, State.DONE, "A"), purchase(2, state, inputs, rebuy=True)]
    assert plan(past, job(wanted)).action is action


RESUBMIT: dict[str, tuple[list[str], Action]] = {
    "one unknown": (["unknown A"], Action.BUY),
    "an intent without an answer": (["submitting A"], Action.BUY),
    "an unknown of other inputs": (["unknown B"], Action.BUY),
    "the resubmission was refused": (["unknown A", "released A"], Action.BUY),
    "the resubmission is unknown too": (["unknown A", "unknown A"], Action.HOLD),
    "a second unknown years later": (["unknown A", "done A", "unknown B"], Action.HOLD),
    "a second unknown, refused since": (["unknown A", "done A", "unknown B", "released B"], Action.HOLD),
    "something is owed": (["unknown A", "submitted A"], Action.COLLECT),
    "the inputs are done already": (["done A", "unknown B"], Action.RESTORE),
    "the inputs failed for good": (["failed! A", "unknown B"], Action.FAILED),
    "nothing is unknown": (["done A"], Action.REUSE),
}


@pytest.mark.parametrize(("past", "action"), RESUBMIT.values(), ids=RESUBMIT)
def test_resubmit_buys_once_more_in_a_jobs_life_and_only_what_is_not_there(past: list[str], action: Action) -> None:
    """``on_unknown: resubmit`` risks paying twice once, and never for what the folder already holds."""
    assert plan(history(*past), resubmit=True).action is action


@pytest.mark.parametrize(
    ("past", "file", "action"),
    [
        (["done A"], "mug", Action.DELIVER),
        (["done A"], "other", Action.DELIVER),
        (["done A", "done B"], "mug", Action.DELIVER),
        (["done A", "failed B"], "mug", Action.DELIVER),
    ],
)
def test_files_that_are_gone_are_delivered_again_and_not_bought(past: list[str], file: str, action: Action) -> None:
    """A deleted picture is fetched from the API again: it is paid."""
    decision = plan(history(*past), job(file=file), present=False)
    assert decision.action is action
    assert decision.record is not None
    assert decision.record.fingerprint == "A"


def test_a_new_file_name_moves_the_picture() -> None:
    """Renaming a job's file renames the picture and buys nothing; ``plan`` counts it as reuse."""
    decision = plan(history("done A"), job(file="other/mug"))
    assert decision.action is Action.MOVE
    assert [action.category for action in (Action.MOVE, Action.RESTORE, Action.BUY)] == [
        Action.REUSE,
        Action.REUSE,
        Action.BUY,
    ]


@pytest.mark.parametrize(("follows", "buys"), [(None, False), (Action.REUSE, False), (Action.BUY, True)])
def test_what_is_collected_first_buys_only_if_a_purchase_follows(follows: Action | None, buys: bool) -> None:
    """`plan` says what a run spends, also once an older purchase is home."""
    then = None if follows is None else Decision(action=follows, reason="")
    assert Decision(action=Action.COLLECT, reason="", then=then).buys is buys


def test_a_stuck_purchase_is_asked_after_and_said_to_be_stuck() -> None:
    """What does not heal by itself stays owed: nothing is bought in its place, and the reason is told."""
    decision = plan([purchase(1, State.SUBMITTED, "B", error=EXPIRED)])
    assert decision.action is Action.COLLECT
    assert "stuck: not known any more" in decision.reason
    assert "inputs changed" in decision.reason


@pytest.mark.parametrize(
    ("past", "said"),
    [
        ([], "new"),
        (["done B"], "inputs changed"),
        (["released A"], "refused before"),
        (["cancelled A"], "cancelled before"),
        (["failed A"], "worker lost"),
        (["failed! A"], "bad prompt"),
        (["unknown A"], "reconcile"),
        (["failed A", "failed A", "failed A"], "3 times"),
    ],
)
def test_the_reason_says_why(past: list[str], said: str) -> None:
    """``plan --jobs`` explains each decision in words that fit it."""
    assert said in plan(history(*past)).reason


def test_a_failure_without_a_reason_is_not_paid_for_again() -> None:
    """A failed line that does not call itself retryable is final."""
    decision = plan([purchase(1, State.FAILED, error=None)])
    assert (decision.action, decision.record is not None) == (Action.FAILED, True)


@pytest.mark.parametrize(
    ("past", "number"),
    [
        ([], 1),
        (["done A"], 2),
        (["unknown A"], 2),
        (["released A"], 1),
        (["done A", "released B"], 2),
        (["done A", "failed B"], 3),
    ],
)
def test_a_purchase_that_was_never_made_gives_its_number_back(past: list[str], number: int) -> None:
    """A job refused a thousand times over a night has one line in force, and no number is used for two purchases."""
    assert next_purchase(history(*past)) == number


@pytest.mark.parametrize(
    ("past", "number"),
    [
        (["done A"], 1),
        (["done A", "done B"], 2),
        (["done A", "failed B"], 1),
        (["done A", "cancelled B"], 1),
        (["done A", "released B"], 1),
        (["done A", "failed B", "released B"], 1),
        (["done A", "submitted B"], 2),
        (["done A", "unknown B"], 2),
        (["done A", "unknown B", "released B"], 2),
        (["unknown A", "released A"], 1),
        (["failed A", "failed A"], 2),
        (["failed A", "released A"], 1),
        (["released A"], 1),
    ],
)
def test_the_newest_purchase_is_in_force_unless_it_brought_nothing(past: list[str], number: int) -> None:
    """If a new purchase fails, the old picture stays what the job has; no refusal hides an open question."""
    force = in_force(history(*past))
    assert force is not None
    assert force.purchase == number


def test_nothing_is_in_force_before_anything_was_bought() -> None:
    """A new job has no purchase."""
    assert in_force([]) is None


def aside(record: Record, output: Output) -> str:
    return f".replaced/{record.id}/{record.purchase}/{output.path}"


def test_reviving_the_purchase_in_force_keeps_its_number() -> None:
    """A missing or renamed file is brought back under the same purchase, where the manifest wants it now."""
    past = history("done A", "failed B")
    revived = revive(job(file="other"), past[0], past, archive_path=aside)
    assert (revived.purchase, revived.file, revived.restored_from) == (1, "other", None)
    assert revived.outputs == past[0].outputs


@pytest.mark.parametrize(("past", "number"), [(["done A", "done B"], 3), (["done A", "done B", "released C"], 3)])
def test_taking_back_an_older_purchase_is_a_new_line_that_costs_nothing(past: list[str], number: int) -> None:
    """Edited back: the files return from where they were set aside, and the bill stays where it was paid."""
    records = history(*past)
    records[0] = purchase(1, State.DONE, cost_usd=0.5, reserved_usd=0.6, renamed_from="cup")
    revived = revive(job(), records[0], records, archive_path=aside)
    assert (revived.purchase, revived.restored_from, revived.fingerprint) == (number, 1, "A")
    assert (revived.cost_usd, revived.reserved_usd, revived.renamed_from) == (None, None, None)
    assert [output.moved_from for output in revived.outputs] == [".replaced/mug/1/mug.png"]
    assert revived.request_id == "req-1"
    kept = [record for record in records if record.purchase != number]
    assert plan([*kept, revived]).action is Action.REUSE


def test_what_was_said_of_an_older_purchase_is_not_said_of_it_once_it_is_taken_back() -> None:
    """A `--rebuy`, a redo and its marks are spent: a crash before its files are in place buys nothing anew."""
    marks = {"rebuy": True, "redo": 2, "redo_chosen": True, "redo_closed": True, "redone": 1, "renamed_purchase": 7}
    past = [purchase(1, State.DONE, **marks), purchase(2, State.DONE, "B")]
    revived = revive(job(file="other"), past[0], past, archive_path=aside)
    assert {name: getattr(revived, name) for name in marks} == {
        "rebuy": False,
        "redo": 0,
        "redo_chosen": False,
        "redo_closed": False,
        "redone": 0,
        "renamed_purchase": None,
    }
    assert revived.file == "other"
    half = msgspec.structs.replace(revived, state=State.GENERATED)
    assert plan([*past, half]).action is Action.COLLECT


def test_copies_of_an_older_purchase_are_not_taken_for_there() -> None:
    """Those of a newer one have their names by now: after the files return, the copies are made again."""
    made = CopyFile(path="web/mug.jpg", bytes=1, sha256="0", recipe="0", of="0", media_type="image/jpeg")
    past = [purchase(1, State.DONE, copies=(made,)), purchase(2, State.DONE, "B", copies=(made,))]
    assert revive(job(), past[0], past, archive_path=aside).copies == ()
    assert revive(job("B", file="other"), past[1], past, archive_path=aside).copies == (made,)


def test_what_was_taken_back_twice_still_names_where_it_was_paid() -> None:
    """Edited to and fro and to again: the receipt lists one bill for one picture."""
    past = [*history("done A", "done B"), purchase(3, State.DONE, restored_from=1), purchase(4, State.DONE, "B")]
    assert revive(job(), past[2], past, archive_path=aside).restored_from == 1


PASTS = st.lists(
    st.tuples(st.sampled_from(State), st.sampled_from("AB"), st.sampled_from([MAY_HEAL, FINAL, None])), max_size=7
).map(
    lambda parts: [
        purchase(number, state, inputs, error=error if state is State.FAILED else None)
        for number, (state, inputs, error) in enumerate(parts, 1)
    ]
)


@settings(deadline=None, max_examples=examples(500))
@given(past=PASTS, present=st.booleans(), resubmit=st.booleans())
def test_no_history_leads_to_a_purchase_that_the_rules_forbid(
    past: list[Record], present: bool, resubmit: bool
) -> None:
    """Never bought: beside what is owed, over a question unasked, what is done, what failed thrice or for good."""
    decision = plan(past, present=present, resubmit=resubmit)
    made = [record for record in past if record.state is not State.RELEASED]
    same = [record for record in made if record.fingerprint == "A"]
    if any(record.owed for record in past):
        assert decision.action is Action.COLLECT
    if decision.action is Action.BUY:
        assert not any(record.state is State.DONE for record in same)
        assert not (made and made[-1].open) or (resubmit and sum(record.open for record in past) == 1)
        if same and same[-1].state is State.FAILED:
            assert same[-1].error is not None
            assert same[-1].error.retryable
            assert len(same) < MAX_PURCHASES


@settings(deadline=None, max_examples=examples(300))
@given(past=PASTS, refusals=st.integers(1, 3))
def test_refusals_change_nothing_but_the_words(past: list[Record], refusals: int) -> None:
    """A submission that was refused leaves every decision as it was before: it was never made."""
    number = len(past)
    refused = [purchase(number + more, State.RELEASED) for more in range(1, refusals + 1)]
    before, after = plan(past), plan([*past, *refused])
    assert (before.action, before.record) == (after.action, after.record)


@pytest.mark.parametrize(("code", "most"), [("500", 3), (UNEXPLAINED, 2)])
def test_a_failure_without_a_code_is_bought_again_once(code: str, most: int) -> None:
    """Nothing shows that it might heal: three tries are for what the API names."""
    fault = Fault(code=code, message="lost", retryable=True)
    for count in range(1, 5):
        history = [purchase(number, State.FAILED, error=fault) for number in range(1, count + 1)]
        decision = decide(job(), history, present=lambda _: True)
        assert decision.action is (Action.BUY if count < most else Action.FAILED)
