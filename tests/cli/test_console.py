"""The user's word in the decision about a job: what was given up, what is bought anew, what a redo chose."""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.models import LOST, Fault, Job, Output, Record, State
from runner.planning.rules import Action, decide, redo_pending, revive, wanted_redo

JOB = Job(id="mug", model="m", inputs={}, fingerprint="A", file="mug")
GIVEN_UP = Fault(code=LOST, message="given up", retryable=True)
FAILED = Fault(code="500001", message="worker lost", retryable=True)


def purchase(text: str) -> Record:
    """``done A``; ``rebuy``, ``redo=1``, ``redone=1`` and ``lost`` say more."""
    number, state, fingerprint, *words = text.split()
    more: dict[str, Any] = {"rebuy": "rebuy" in words, "error": FAILED if state == "failed" else None}
    more |= {name: int(value) for name, equals, value in (word.partition("=") for word in words) if equals}
    if "lost" in words:
        more["error"] = GIVEN_UP
    outputs = (Output(url="https://a/1", path="mug.png", sha256="00", bytes=3),) if state == "done" else ()
    return Record(
        id="mug",
        purchase=int(number),
        state=State(state),
        at="now",
        api="api",
        manifest="-",
        model="m",
        inputs={},
        fingerprint=fingerprint,
        file="mug",
        request_id=None if state in ("unknown", "released", "submitting") else f"r-{number}",
        outputs=outputs,
        **more,
    )


RULES: dict[str, tuple[list[str], Action]] = {
    "an unknown bought anew": (["1 unknown A rebuy"], Action.BUY),
    "a stuck one bought anew": (["1 submitted A rebuy"], Action.BUY),
    "refused since": (["1 unknown A rebuy", "2 released A"], Action.BUY),
    "bought since": (["1 unknown A rebuy", "2 done A"], Action.REUSE),
    "bought since, and failed": (["1 unknown A rebuy", "2 failed A"], Action.BUY),
    "in doubt again": (["1 unknown A rebuy", "2 unknown A"], Action.HOLD),
    "owed again": (["1 submitted A rebuy", "2 submitted A"], Action.COLLECT),
    "found late, after all": (["1 done A rebuy"], Action.REUSE),
    "an older file of the same inputs does not stand in for it": (["1 done A", "2 unknown A rebuy"], Action.BUY),
    "other inputs by now, which are there": (["1 done A", "2 unknown B rebuy"], Action.RESTORE),
    "three tries and the user's word": (["1 failed A", "2 failed A", "3 unknown A rebuy"], Action.BUY),
    "given up": (["1 failed A lost"], Action.BUY),
    "given up for the fourth time": (["1 failed A", "2 failed A", "3 failed A lost"], Action.BUY),
    "given up, with other inputs in force": (["1 done B", "2 failed A lost"], Action.BUY),
    "a given up unknown": (["1 released A lost"], Action.BUY),
    "chosen by a redo": (["1 done A redo=1"], Action.BUY),
    "chosen, and refused since": (["1 done A redo=1", "2 released A redone=1"], Action.BUY),
    "chosen and owed": (["1 done A redo=1", "2 submitted A redone=1"], Action.COLLECT),
    "chosen and in doubt": (["1 done A redo=1", "2 unknown A redone=1"], Action.HOLD),
    "chosen, in doubt, bought anew": (["1 done A redo=1", "2 unknown A redone=1 rebuy"], Action.BUY),
    "chosen and bought": (["1 done A redo=1", "2 done A redone=1"], Action.REUSE),
    "chosen and failed: once is once": (["1 done A redo=1", "2 failed A redone=1"], Action.REUSE),
    "chosen and cancelled": (["1 done A redo=1", "2 cancelled A redone=1"], Action.REUSE),
    "chosen and given up": (["1 done A redo=1", "2 failed A redone=1 lost"], Action.BUY),
    "chosen again": (["1 done A redo=2", "2 failed A redone=1"], Action.BUY),
    "chosen again and bought": (["1 done A redo=1", "2 done A redone=1 redo=2", "3 done A redone=2"], Action.REUSE),
    "answered when the redo was closed without it": (["1 done A redo=1 redone=1"], Action.REUSE),
    "chosen, and other inputs by now": (["1 done B redo=1"], Action.BUY),
    "chosen, edited, and edited back": (["1 done A redo=1", "2 done B"], Action.BUY),
}


@pytest.mark.parametrize(("past", "action"), RULES.values(), ids=RULES)
def test_the_users_word_decides(past: list[str], action: Action) -> None:
    """A word counts until one purchase was made by it, and never longer."""
    assert decide(JOB, [purchase(text) for text in past], present=lambda _: True).action is action


def test_what_is_taken_back_carries_no_word() -> None:
    """An older purchase that is put in force again is not one that a redo chose or made."""
    history = [purchase("1 done A redo=1 redone=1"), purchase("2 done B")]
    revived = revive(JOB, history[0], history, archive_path=lambda *_: "x")
    assert (revived.redo, revived.redone, revived.purchase) == (0, 0, 3)


@pytest.mark.parametrize(
    ("past", "pending"),
    [
        (["1 done A"], False),
        (["1 done A redo=1"], True),
        (["1 done A redo=1", "2 submitted A redone=1"], True),
        (["1 done A redo=1", "2 unknown A redone=1"], True),
        (["1 done A redo=1", "2 released A redone=1"], True),
        (["1 done A redo=1", "2 done A redone=1"], False),
        (["1 done A redo=1", "2 failed A redone=1"], False),
        (["1 done B redo=1"], False),
    ],
)
def test_a_redo_waits_for_what_it_chose(past: list[str], pending: bool) -> None:
    """It is over once each chosen job was bought and is at an end, or wants other inputs by now."""
    history = [purchase(text) for text in past]
    assert redo_pending(history, "A", 1) is pending
    assert wanted_redo(history, "A") in (0, 1)
