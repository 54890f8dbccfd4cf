"""Last requests of a run: nothing is left to submit, and the request that ends last decides when the run ends. No I/O.

A slot that becomes free is not needed any more. So the end of a request may be noticed late, as long as others are
still under way. Let the others have ended by x seconds from now with probabilities F₁(x) … Fₖ(x), each given that the
request had not ended when it was last polled. All of them have ended with probability F₁(x) · … · Fₖ(x). Up to the x
where that product reaches ``MAY``, there is no hurry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

MAY = 0.01
"""Least probability that all others have ended for which the remaining request is polled."""
STEPS = 8

Ended = Callable[[float], Iterable[float]]
"""Function of seconds from now that yields for each of some requests the probability of its end by then; consumed as
far as needed."""


def idle_seconds(others: Ended, most: float) -> float:
    """Return the seconds, at ``most``, for which one of ``others`` will most likely still be under way."""
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
    """Tell whether all requests may have ended, given the probability for each: ``MAY`` or more in all."""
    together = 1.0
    for probability in probabilities:
        together *= probability
        if together < MAY:
            return False
    return True
