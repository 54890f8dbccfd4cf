"""A batch job runner for the RunComfy Model API that loses nothing and buys nothing twice.

The map, top to bottom; imports point down only::

    cli                     arguments, signals, exit codes, printing
    commands, display       one module a verb; what is seen of a run while it goes on; hook hears of its end;
                            console is how they speak to a person
    cluster                 a batch in shards on a cluster: hands them out, follows them; each is a run as below
    app, options, forecast  wires the parts; what the command line and the library both use; what a run would do;
                            beside them settle (the user's word) and catalogue (what models take that are not bundled)
    batch                   one run from the survey to the report; crew does its steps, books count them;
                            beside it redo, cancel, verify and restore
    survey                  the manifest's jobs held against the results manifest; planner decides about each,
                            and asks unclaimed what a renamed job may take over;
                            chosen are the jobs that a command is about
    schedule | job          lanes and stop | one job's steps
    api | download | ledger | gallery   the ones that touch the outside; they never meet each other; with them http,
                            throttle, tracker (the budget), cache (the catalogue's schemas), threads, stop and loop
    plan | pace | polling | survival | drain | capacity | money | shares | questions | summary | progress | events |
                            ending | words | receipts: decisions, pure functions of values
    manifest | settings | wire | answers | records | spreadsheet text ↔ values
    model | errors | clock | disk | digests | formats | shards | characters   frozen values, the error tree, time as
                            an argument, durable steps, names by the million, kinds of files, which part a job
                            belongs to, what drives a terminal

A manifest file becomes typed jobs in a spool (``manifest``); each job is compared with what the results manifest
already knows (``plan``); lanes (``schedule``) carry the rest one job at a time (``job``): intent into the ledger,
request to the API, answer into the ledger, files onto the disk, *done* into the ledger. ``emulator`` stands apart
and imports nothing of this.

A run of a shard is the same run with less: ``chosen`` keeps its jobs (``shards.Shard``) and its lanes (``shares``),
``ledger.hold`` gives it a results manifest and a lock of its own, and ``others`` is all that it knows of the rest. Only
``planner`` asks those, so that nothing is bought twice under a new id, and ``tracker``, so that the budget is one.

As a library::

    report = await runner.run(runner.load("jobs/demo.yaml"), runner.RunOptions(emulator=True))

``load`` asks nobody; for models that are not bundled, give it as ``offers`` what ``runner.engine.catalogue`` finds out.

``jobs/bulk_catalogue.py``, ``jobs/nightly.py`` and ``jobs/resumable.py`` are programs to begin with.
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
