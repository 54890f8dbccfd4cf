"""Last requests of a run: nothing is left to submit, and the last to end decides when. No I/O.

A slot that becomes free is of no use any more, so it does not matter when it is noticed that a request ended, as long
as others are still under way. Let the others have ended by x seconds from now with probabilities F₁(x) … Fₖ(x), each
given that it had not when it was last asked. All of them have with probability F₁(x) · … · Fₖ(x); up to the x where
that reaches ``MAY``, there is no hurry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

MAY = 0.01
"""So probable it must be that all others have ended, for the remaining one to be worth a question."""
STEPS = 8

Ended = Callable[[float], Iterable[float]]
"""The probabilities that each of some requests will have ended so many seconds from now; taken as far as needed."""


def idle_seconds(others: Ended, most: float) -> float:
    """For how long, at ``most``, one of ``others`` will most likely be under way anyway."""
    if may_have_ended(others(0.0)):
        return 0.0
    if not may_have_ended(others(most)):
        return most
    early, late = 0.0, most
    for _ in range(STEPS):
        middle = (early + late) / 2
        early, late = (early, middle) if may_have_ended(others(middle)) else (middle, late)
    return late


def may_have_ended(probabilities: Iterable[float]) -> bool:
    """Tell whether it is not improbable that all have ended of which each has with one of these."""
    together = 1.0
    for probability in probabilities:
        together *= probability
        if together < MAY:
            return False
    return True
