"""Batch job runner for the RunComfy Model API: no paid result is lost, and no job is paid for twice.

As a library::

    report = await runner.run(runner.load("jobs/demo.yaml"), runner.RunOptions(emulator=True))

Input schemas of models that are not bundled are passed to ``load`` as ``offers``; ``runner.engine.catalogue`` reads
these schemas from the API. Example programs: ``jobs/bulk_catalogue.py``, ``jobs/nightly.py``, ``jobs/resumable.py``.

``runner/guide/architecture.md`` describes the packages and the results log, and says where a change belongs.
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
    from runner.engine.load_manifest import load
    from runner.engine.operations import run, run_sync
    from runner.engine.options import RunOptions
    from runner.engine.redo import RedoMode
    from runner.engine.stop import Stop
    from runner.engine.summary import Report
    from runner.manifest import Manifest

__version__ = "0.2.0"

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
    "RedoMode": "engine.redo",
    "Report": "engine.summary",
    "RunOptions": "engine.options",
    "RunnerError": "core.errors",
    "Shard": "core.shards",
    "State": "core.models",
    "Stop": "engine.stop",
    "Unavailable": "core.errors",
    "UsageError": "core.errors",
    "load": "engine.load_manifest",
    "run": "engine.operations",
    "run_sync": "engine.operations",
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
    "RedoMode",
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
    "run_sync",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that ``runner --help`` starts at once."""
    if name not in _HOME:
        raise AttributeError(f"module 'runner' has no attribute {name!r}")
    return getattr(import_module(f"runner.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names, also those that are not imported yet."""
    return list(__all__)
