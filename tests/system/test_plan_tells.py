"""A plan's numbers are what the run after it does, job by job: whatever was bought, failed, edited and lost before."""

from __future__ import annotations

import pytest
from foretelling import Mismatch, Mutation, Story, check, planner_with, stories
from hypothesis import HealthCheck, Phase, given, seed, settings

EASY = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=30, deadline=None, suppress_health_check=EASY)
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
        module="plan",
        old="force.state is State.DONE and force.fingerprint == job.fingerprint",
        new="force.state is State.DONE",
    ),
    "an unknown is bought again": Mutation(
        module="plan", old="and not _may_resubmit(history, resubmit=resubmit)", new="and False"
    ),
    "a failure is bought however often it failed and why": Mutation(
        module="plan", old="if newest.error is None or not newest.error.retryable:", new="if newest.error is None:"
    ),
    "what is owed is not collected": Mutation(
        module="plan", old="if record.owed and not record.rebuy), None)", new="if False), None)"
    ),
    "files that are gone count as there": Mutation(module="plan", old="if not present(force):", new="if False:"),
    "renamed jobs are new": Mutation(
        module="survey", old="        ids = self._unclaimed.get(job.fingerprint, [])", new="        ids: list[str] = []"
    ),
    "the limit counts before --only": Mutation(
        module="survey",
        old="(job for job in jobs if self.only",
        new="(job for job in islice(jobs, self.limit) if self.only",
    ),
    "what is bought once an older purchase is home is forgotten": Mutation(
        module="plan", old=" or (self.then is not None and self.then.buys)", new=""
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_in_the_rules_of_a_plan_is_noticed(fault: Mutation) -> None:
    """The test above fails for a planner that goes by one wrong rule; else it would prove nothing."""
    foretell = planner_with(fault)

    @seed(1)
    @settings(
        max_examples=200,
        deadline=None,
        suppress_health_check=EASY,
        phases=[Phase.generate],
        database=None,
        report_multiple_bugs=False,
    )
    @given(story=stories())
    def search(story: Story) -> None:
        check(story, foretell)

    with pytest.raises(Mismatch):
        search()
