"""Causes for which a person, or another run, is needed: one row each, with its jobs and the command that helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.report.cards import STATE_NAMES, STATES, Card

MAX_CAUSES = 50
"""Most rows. An API may send any code, so further causes of a state are counted together."""

_COMMANDS = {
    "failed": "run",
    "unknown": "reconcile",
    "stuck": "reconcile",
    "altered": "verify",
    "missing": "verify",
    "owed": "collect",
    "cancelled": "run",
    "left": "run",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Jobs in one state for one reason. The texts are unescaped; the page escapes them."""

    number: int
    state: str
    jobs: str
    """Number of jobs in words."""
    why: str
    """Error of the first of them."""
    means: str
    advice: str
    command: str
    cards: frozenset[int]
    """Places of its cards in the list of all cards."""


def causes(cards: Sequence[Card], target: str) -> list[Cause]:
    """Return the causes, those that need a person first. ``target`` is what names the batch to a command."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for number, card in enumerate(cards):
        if card.state in _COMMANDS:
            key = card.state, card.code, card.advice
            if key not in found and len(found) >= MAX_CAUSES:
                key = card.state, "", ""
            found.setdefault(key, []).append(number)
    ordered = sorted(found.values(), key=lambda numbers: STATES.index(cards[numbers[0]].state))
    return [_cause(place, numbers, cards, target) for place, numbers in enumerate(ordered)]


def _cause(place: int, numbers: Sequence[int], cards: Sequence[Card], target: str) -> Cause:
    first = cards[numbers[0]]
    jobs = len({cards[number].id for number in numbers})
    repair = " --repair" if _COMMANDS[first.state] == "verify" else ""
    return Cause(
        number=place,
        state=first.state,
        jobs=f"1 job: {first.id}" if jobs == 1 else f"{jobs:,} jobs",
        why=first.why,
        means=first.means,
        advice=first.advice,
        command=f"runner {_COMMANDS[first.state]} {target}{repair}",
        cards=frozenset(numbers),
    )


def title(found: Sequence[Cause]) -> str:
    """Return the heading: a person is needed, or another run is enough."""
    person = any(cause.state in ("failed", "unknown", "stuck", "altered") for cause in found)
    return "Needs you" if person else "For the next run"


def count_states(found: Sequence[Cause], cards: Sequence[Card]) -> str:
    """Return the number of jobs in each state of ``found``: ``2 failed, 1 unknown``."""
    jobs: dict[str, set[str]] = {}
    for cause in found:
        jobs.setdefault(cause.state, set()).update(cards[number].id for number in cause.cards)
    return ", ".join(f"{len(ids):,} {STATE_NAMES.get(state, state)}" for state, ids in jobs.items())


def flight(cards: Sequence[Card]) -> str:
    """Return what a run that is going on works on, in words; empty if there is nothing."""
    jobs = len({card.id for card in cards if card.state == "running"})
    if not jobs:
        return ""
    return f"{'1 job is' if jobs == 1 else f'{jobs:,} jobs are'} in flight: a run is going on."
