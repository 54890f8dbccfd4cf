"""Records made by hand."""

from __future__ import annotations

from runner.core.models import Fault, Record, State

PROMPT = "a teapot on a marble table"


def record(job: int, state: State, error: Fault | None = None, **more: object) -> Record:
    """Return a record of ``job``'s first purchase."""
    given = {"reserved_usd": 0.009, "request_id": f"r-{job}", **more}
    return Record(
        id=f"job-{job}",
        purchase=1,
        state=state,
        at="now",
        api="api",
        manifest="-",
        model="m",
        inputs={"prompt": PROMPT, "width": 64},
        fingerprint="A",
        file=f"job-{job}",
        error=error,
        **given,  # type: ignore[arg-type]
    )
