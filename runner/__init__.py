"""A batch job runner for the RunComfy Model API that loses nothing and buys nothing twice.

As a library::

    report = await runner.run(runner.load("jobs/demo.yaml"), runner.RunOptions(emulator=True))

The input schemas of models that are not bundled are passed to ``load`` as ``offers``; ``runner.engine.catalogue`` reads
them from the API. ``jobs/bulk_catalogue.py``, ``jobs/nightly.py`` and ``jobs/resumable.py`` are example programs.

``runner/guide/architecture.md`` describes the packages, the results log and where a change belongs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.core.errors import (
        AccountError,
        ConflictError,
        LedgerCorrupt,
        LedgerError,
        Locked,
        ManifestError,
        OutputError,
        RunnerError,
        Unavailable,
        UsageError,
    )
    from runner.core.models import Budget, Fault, Job, Output, Record, State
    from runner.core.shards import Shard
    from runner.engine.operations import run
    from runner.engine.options import RunOptions
    from runner.engine.stop import Stop
    from runner.engine.summary import Report
    from runner.manifest import Manifest, load

__version__ = "0.1.0"

_HOME = {
    "AccountError": "core.errors",
    "Budget": "core.models",
    "ConflictError": "core.errors",
    "Fault": "core.models",
    "Job": "core.models",
    "LedgerCorrupt": "core.errors",
    "LedgerError": "core.errors",
    "Locked": "core.errors",
    "Manifest": "manifest",
    "ManifestError": "core.errors",
    "Output": "core.models",
    "OutputError": "core.errors",
    "Record": "core.models",
    "Report": "engine.summary",
    "RunOptions": "engine.options",
    "RunnerError": "core.errors",
    "Shard": "core.shards",
    "State": "core.models",
    "Stop": "engine.stop",
    "Unavailable": "core.errors",
    "UsageError": "core.errors",
    "load": "manifest",
    "run": "engine.operations",
}

__all__ = [
    "AccountError",
    "Budget",
    "ConflictError",
    "Fault",
    "Job",
    "LedgerCorrupt",
    "LedgerError",
    "Locked",
    "Manifest",
    "ManifestError",
    "Output",
    "OutputError",
    "Record",
    "Report",
    "RunOptions",
    "RunnerError",
    "Shard",
    "State",
    "Stop",
    "Unavailable",
    "UsageError",
    "load",
    "run",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that ``runner --help`` starts at once."""
    if name not in _HOME:
        raise AttributeError(f"module 'runner' has no attribute {name!r}")
    return getattr(import_module(f"runner.{_HOME[name]}"), name)
