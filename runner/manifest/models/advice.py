"""Warnings about inputs that a model handles badly: one warning for each kind, with the number of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from runner.core.models import Job
    from runner.manifest.nodes import Mark
    from runner.manifest.problems import Problems

_KLEIN: Final = "blackforestlabs/flux-2-klein/"
_PROMPT_TOKENS: Final = 512
_BYTES_PER_TOKEN: Final = 4
"""Approximate size of a token in English. Scripts with more bytes per letter need more tokens, too."""


class Hints:
    """Counter of the jobs with inputs that their model handles badly."""

    def __init__(self) -> None:
        self._long: list[Mark] = []
        self._wide: list[Mark] = []
        self._counts = {"long": 0, "wide": 0}

    def see(self, job: Job, place: Mark) -> None:
        if not job.model.startswith(_KLEIN):
            return
        inputs = job.inputs
        prompt, width, height = inputs.get("prompt"), inputs.get("width"), inputs.get("height")
        # Count characters first: encoding is needed only for a long prompt.
        if isinstance(prompt, str) and len(prompt) > _PROMPT_TOKENS and _tokens(prompt) > _PROMPT_TOKENS:
            self._note("long", self._long, place)
        if isinstance(width, int) and isinstance(height, int) and (9 * width > 16 * height or 9 * height > 16 * width):
            self._note("wide", self._wide, place)

    def _note(self, what: str, first: list[Mark], place: Mark) -> None:
        self._counts[what] += 1
        if not first:
            first.append(place)

    def tell(self, problems: Problems) -> None:
        """Add one warning for each kind, at the first of its jobs."""
        for mark in self._long:
            what = f"{_jobs(self._counts['long'])} a prompt of more than about {_PROMPT_TOKENS} tokens"
            problems.warn(mark, f"{what}; this is the first", "FLUX.2 Klein may ignore the end of such a prompt")
        for mark in self._wide:
            what = f"{_jobs(self._counts['wide'])} a shape beyond 16:9; this is the first"
            problems.warn(mark, what, "FLUX.2 Klein crops such pictures")


def _tokens(prompt: str) -> float:
    return len(prompt.encode(errors="replace")) / _BYTES_PER_TOKEN


def _jobs(count: int) -> str:
    return "1 job has" if count == 1 else f"{count:,} jobs have"
