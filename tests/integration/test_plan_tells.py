"""A plan's numbers are what the run after it does, job by job: whatever was bought, failed, edited and lost before."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from support.examples import examples
from support.plan_against_run import Entry, Mismatch, Mutation, Round, Story, check, planner_with, stories

EASY = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=examples(20, quick=6), derandomize=True, phases=[Phase.generate], suppress_health_check=EASY)
@given(story=stories())
def test_a_plan_comes_true(story: Story) -> None:
    """Reused, collected, delivered again, bought, held, failed, and the money: as announced, for every job."""
    check(story)


@pytest.mark.soak
@settings(max_examples=3000, deadline=None, suppress_health_check=EASY)
@given(story=stories())
def test_a_plan_comes_true_for_long(story: Story) -> None:
    """The same, many more times."""
    check(story)


FAULTS = {
    "other inputs are taken for the same": Mutation(
        module="planning.rules",
        old="force.state is State.DONE and force.fingerprint == job.fingerprint",
        new="force.state is State.DONE",
    ),
    "an unknown is bought again": Mutation(
        module="planning.rules", old="and not _may_resubmit(history, resubmit=resubmit)", new="and False"
    ),
    "a failure is bought however often it failed and why": Mutation(
        module="planning.rules",
        old="if newest.error is None or not newest.error.retryable:",
        new="if newest.error is None:",
    ),
    "what is owed is not collected": Mutation(
        module="planning.rules", old="if record.owed and not record.rebuy), None)", new="if False), None)"
    ),
    "files that are gone count as there": Mutation(
        module="planning.rules", old="if not present(force):", new="if False:"
    ),
    "renamed jobs are new": Mutation(
        module="planning.planner", old="        return self._unclaimed.take(job.fingerprint)", new="        return None"
    ),
    "the limit counts before --only": Mutation(
        module="planning.selection",
        old="(job for job in jobs if job.id in names)",
        new="(job for job in islice(jobs, self._limit) if job.id in names)",
    ),
    "what is bought once an older purchase is home is forgotten": Mutation(
        module="planning.rules", old=" or (self.then is not None and self.then.buys)", new=""
    ),
}


ASH, ELM = Entry(name="a", prompt="ash"), Entry(name="a", prompt="elm")
BOTH = (ASH, Entry(name="b", prompt="elm"))


def after(trouble: str, then: Entry = ASH) -> Story:
    return Round(entries=(ASH,), troubles={"ash": trouble}), Round(entries=(then,))


TELLING: dict[str, Story] = {
    "other inputs are taken for the same": (Round(entries=(ASH,)), Round(entries=(ELM,))),
    "an unknown is bought again": after("unknown"),
    "a failure is bought however often it failed and why": after("failed for good"),
    "what is owed is not collected": after("generated"),
    "files that are gone count as there": (Round(entries=(ASH,)), Round(entries=(ASH,), lose=(0,))),
    "renamed jobs are new": (Round(entries=(ASH,)), Round(entries=(Entry(name="x", prompt="ash"),))),
    "the limit counts before --only": (Round(entries=BOTH, options={"only": "b*", "limit": 1}),),
    "what is bought once an older purchase is home is forgotten": after("generated", ELM),
}
"""For each fault a story that brings it to light: searching for one takes long, and may end without."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_rules_of_a_plan_is_noticed(name: str) -> None:
    """The comparison above fails for a planner that goes by one wrong rule; else it would prove nothing."""
    check(TELLING[name])
    with pytest.raises(Mismatch):
        check(TELLING[name], planner_with(FAULTS[name]))
