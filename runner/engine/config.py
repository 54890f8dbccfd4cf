"""Configuration of a run: manifest, options and environment, resolved into one value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from runner.api.config import ApiBase
from runner.core.models import EMULATOR, Budget, Halt
from runner.core.shards import Shard, share_concurrency
from runner.engine.options import RunOptions
from runner.engine.redo import RedoMode
from runner.engine.stop import most_waiting
from runner.files.output_folder import Folder
from runner.ledger import EMPTY, LedgerReader
from runner.ledger.folders import output_folder, output_parents
from runner.manifest import JobStore, Manifest, OnUnknown, Settings
from runner.planning.planner import Planner
from runner.planning.selection import JobFilter, Selection


class DownloadLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a download."""

    trusted_hosts: tuple[str, ...]
    """Storage hosts beside those that are always allowed."""
    max_file_bytes: int
    max_pixels: int
    strict_size: bool
    """Whether a picture of another size than asked for is refused."""

    @classmethod
    def of(cls, settings: Settings) -> DownloadLimits:
        """The limits that a manifest sets."""
        return cls(
            trusted_hosts=settings.trusted_hosts,
            max_file_bytes=settings.max_file_bytes,
            max_pixels=settings.max_pixels,
            strict_size=settings.strict_size,
        )


class RunConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides how a command works on a folder. The defaults serve where there is no manifest."""

    folder: Folder
    """Where the results are."""
    api: ApiBase
    """Of an emulator inside this process only the name is known before it is started."""
    same_api: str | None = None
    """Another address of it, by the user's word."""
    shard: Shard | None = None
    """Whose jobs this is about; None: all."""
    manifest: str = "-"
    """How records name the manifest: relative to the folder; ``-`` for standard input."""
    beside: tuple[Path, ...] = ()
    """Folders of results where those of this manifest may be under an earlier name of its file."""
    job_filter: JobFilter = JobFilter()
    redo: RedoMode | None = None
    """Which done jobs are bought anew."""
    resubmit: bool = False
    """Whether a purchase whose outcome is unknown is submitted again, once."""
    concurrency: int | None = None
    """Requests in flight at the API; None: as many as keep it busy."""
    rate_per_second: float | None = None
    """Submissions a second; None: as many as the slots make."""
    first_delay_seconds: float = 0.0
    """Wait before the first submission: another process may have made the last one of this rate just now."""
    timeout_seconds: float = 600.0
    """From the acceptance of a request to a final state."""
    retries: int = 4
    """Of one delivery within a run."""
    budget: Budget | None = None
    halt: Halt | None = None
    until: float | None = None
    """When to stop buying, in seconds since the epoch."""
    for_seconds: float | None = None
    """How long to buy, from the beginning of the run."""
    offline: bool = False
    """Whether the catalogue is left alone: prices are those of earlier purchases."""
    download_limits: DownloadLimits | None = None
    """What downloads may be; None leaves it to what each record carries."""

    @classmethod
    def resolve(cls, manifest: Manifest, options: RunOptions, environ: Mapping[str, str]) -> RunConfig:
        """Return what a run of ``manifest`` with ``options`` goes by. An option wins over the manifest.

        Raises ``UsageError`` for an API address that is not safe, or for more shards than requests in flight.
        """
        settings = manifest.settings
        chosen = options.output or settings.output
        folder = Folder(output_folder(manifest.path, settings.name, chosen, emulator=options.emulator))
        rate = _rate(settings, options)
        return cls(
            folder=folder,
            api=options.api_base(environ),
            same_api=options.same_api,
            shard=options.shard,
            manifest=_name_in_records(manifest.path, folder.root),
            beside=_earlier_folders(manifest, options),
            job_filter=options.job_filter,
            redo=options.choice,
            resubmit=(options.on_unknown or settings.on_unknown) is OnUnknown.RESUBMIT,
            concurrency=_concurrency(settings, options),
            rate_per_second=rate,
            first_delay_seconds=1.0 / rate if rate is not None and options.share is not None else 0.0,
            timeout_seconds=settings.timeout_seconds,
            retries=settings.retries,
            budget=options.budget or settings.budget,
            halt=settings.halt,
            until=options.until,
            for_seconds=options.for_seconds,
            offline=options.offline and not options.emulator,
            download_limits=DownloadLimits.of(settings),
        )

    @classmethod
    def of_folder(cls, folder: Folder, options: RunOptions, environ: Mapping[str, str]) -> RunConfig:
        """Return what a command goes by that needs only the folder: it buys nothing.

        Raises ``UsageError`` for an API address that is not safe.
        """
        return cls(folder=folder, api=options.api_base(environ), same_api=options.same_api, shard=options.shard)

    @property
    def emulated(self) -> bool:
        """Tell whether the API is an emulator inside this process."""
        return self.api.name == EMULATOR

    @property
    def backlog(self) -> int:
        """So many paid results may wait for delivery."""
        return most_waiting(self.concurrency)

    def planner(self, jobs: JobStore, ledger: LedgerReader, others: LedgerReader = EMPTY) -> Planner:
        """Return what decides about ``jobs``; ``others`` is what is known of the other shards' jobs."""
        return Planner(
            jobs=jobs,
            ledger=ledger,
            others=others,
            folder=self.folder,
            api=self.api.name,
            manifest=self.manifest,
            resubmit=self.resubmit,
        )

    def select(self, jobs: JobStore, planner: Planner) -> Selection:
        """Return those of ``jobs`` that the command is about, each as its purchase was read."""
        return Selection(jobs, self.job_filter, planner.as_bought)


def _earlier_folders(manifest: Manifest, options: RunOptions) -> tuple[Path, ...]:
    """Return where an earlier name of the manifest's file may have led; nowhere if ``name:`` or ``output:`` decide."""
    settings = manifest.settings
    decided = settings.named or settings.output is not None or options.output is not None
    if decided or options.emulator or manifest.path is None:
        return ()
    return output_parents(manifest.path)


def _concurrency(settings: Settings, options: RunOptions) -> int | None:
    """Return the requests in flight, or None for ``auto``: then each shard finds its number out for itself."""
    concurrency = options.concurrency or settings.concurrency
    if concurrency == "auto" or concurrency is None:
        return None
    part = options.share or options.shard
    return concurrency if part is None else share_concurrency(concurrency, part)


def _rate(settings: Settings, options: RunOptions) -> float | None:
    """Return the submissions a second; a shard has its part of them."""
    part, rate = options.share or options.shard, settings.rate_per_second
    return rate / part.of if rate is not None and part is not None else rate


def _name_in_records(manifest: Path | None, folder: Path) -> str:
    """Return the manifest's path relative to the output folder, with ``/``."""
    if manifest is None:
        return "-"
    return Path(os.path.relpath(manifest.resolve(), folder.resolve())).as_posix()
