"""Faults for unforeseen exceptions: a bug of the runner or of a library in the steps of one job."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import runner
from runner.core.models import INTERNAL, Fault

log = logging.getLogger(__name__)

_HOME = Path(runner.__file__).parent


def internal_fault(job_id: str, error: Exception) -> Fault:
    """Return the fault to record with the job, with the type and place of ``error``, and log the traceback."""
    log.debug("%s: a bug in runner", job_id, exc_info=error)
    what = traceback.format_exception_only(error)[-1].strip()  # also works if str(error) fails
    return Fault(code=INTERNAL, message=f"a bug in runner, please report it: {what} ({_place(error)})")


def _place(error: Exception) -> str:
    """Return file, line and function of the runner's innermost frame, and of the innermost frame of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_HOME)]
    places = (f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in [*ours[-1:], *frames[-1:]])
    return ", in ".join(dict.fromkeys(places))


def _short(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(_HOME.parent)) if path.is_relative_to(_HOME) else "/".join(path.parts[-2:])
