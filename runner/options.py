"""What a command is about: its options, the folder, the ledger for one who only looks, and what decides about jobs.

Everything that needs no network is here, apart from ``app``, so that looking is quick.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.download.place import Folder
from runner.errors import UsageError
from runner.ledger import Ledger, Log
from runner.manifest import Manifest, OnUnknown
from runner.model import Budget
from runner.records import RESULTS
from runner.redo import Choice
from runner.settings import EMULATOR, ApiBase, find_api, output_folder
from runner.survey import Selection, Surveyor, manifest_path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What a run does differently from its manifest; None leaves a thing as the manifest has it."""

    output: Path | None = None
    concurrency: int | Literal["auto"] | None = None
    """Requests in flight at the API; ``"auto"``: as many as keep it busy."""
    only: str | None = None
    """Jobs whose id matches this pattern."""
    limit: int | None = None
    """The first so many of the selected jobs."""
    on_unknown: OnUnknown | None = None
    budget: Budget | None = None
    until: float | None = None
    """When to stop buying, in seconds since the epoch."""
    emulator: bool = False
    """Run against an emulator inside this process: nothing is paid."""
    api: str | None = None
    offline: bool = False
    """Ask the catalogue nothing: neither what models take nor what they cost."""
    redo: bool = False
    """Buy done jobs anew: those that ``only`` matches, those that are ``missing``, or ``every`` one."""
    missing: bool = False
    """Of a redo: only jobs whose files neither the disk nor the API has any more."""
    every: bool = False
    """Of a redo: all done jobs."""

    def __post_init__(self) -> None:
        if isinstance(self.concurrency, int) and not 1 <= self.concurrency <= 1000:
            raise UsageError(f"concurrency is {self.concurrency}; it can be 1 to 1000")
        if self.limit is not None and self.limit < 0:
            raise UsageError(f"limit is {self.limit}; it can be 0 or more")
        if self.emulator and self.api is not None:
            raise UsageError("--emulator and --api name two different services; give one of them")

        if (self.missing or self.every) and not self.redo:
            raise UsageError("--missing and --all choose what --redo buys anew; they mean nothing without it")
        if self.redo and not (self.only or self.missing or self.every):
            raise UsageError("--redo buys done jobs anew, for money; say which: --only GLOB, --missing, or --all")
        if self.missing and self.every:
            raise UsageError("--missing and --all choose differently; give one of them")

    @property
    def choice(self) -> Choice | None:
        """Which done jobs are bought anew."""
        if not self.redo:
            return None
        return Choice.MISSING if self.missing else Choice.SELECTED

    @property
    def selection(self) -> Selection:
        return Selection(only=self.only, limit=self.limit)

    def folder(self, manifest: Manifest) -> Folder:
        """Where the results of ``manifest`` go."""
        chosen = self.output or manifest.settings.output
        return Folder(output_folder(manifest.path, manifest.settings.name, chosen, emulator=self.emulator))


def surveyor_of(manifest: Manifest, options: RunOptions, ledger: Ledger, folder: Folder, base: ApiBase) -> Surveyor:
    """What decides about the jobs of ``manifest``."""
    return Surveyor(
        jobs=manifest.jobs,
        ledger=ledger,
        folder=folder,
        api=base.name,
        manifest=manifest_path(manifest.path, folder.root),
        resubmit=(options.on_unknown or manifest.settings.on_unknown) is OnUnknown.RESUBMIT,
    )


@contextmanager
def reading(folder: Folder) -> Iterator[Ledger]:
    """The ledger of ``folder`` for one who only looks: no lock, nothing changed."""
    ledger = Ledger(Log(folder.root / RESULTS, writable=False))
    try:
        yield ledger
    finally:
        ledger.close()


def api_of(options: RunOptions, environ: Mapping[str, str]) -> ApiBase:
    """Which API the options and surroundings name; for the emulator only its name."""
    return ApiBase(url="", name=EMULATOR) if options.emulator else find_api(options.api, environ)
