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
    """Storage hosts in addition to those that are always allowed."""
    max_file_bytes: int
    max_pixels: int
    strict_size: bool
    """True if a picture of another size than requested is rejected."""

    @classmethod
    def of(cls, settings: Settings) -> DownloadLimits:
        """Return the limits that a manifest sets."""
        return cls(
            trusted_hosts=settings.trusted_hosts,
            max_file_bytes=settings.max_file_bytes,
            max_pixels=settings.max_pixels,
            strict_size=settings.strict_size,
        )


class RunConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Resolved settings of a command on a folder. The defaults apply if there is no manifest."""

    folder: Folder
    """Output folder."""
    api: ApiBase
    """The API. For an emulator inside this process, only the name is known before it is started."""
    same_api: str | None = None
    """Another address of the same API, as given by the user; None: not given."""
    shard: Shard | None = None
    """Shard whose jobs are selected; None: all jobs."""
    manifest: str = "-"
    """Name of the manifest in records: its path relative to the folder; ``-`` for standard input."""
    beside: tuple[Path, ...] = ()
    """Folders in which results of this manifest may be if its file had another name earlier."""
    inputs_folder: Path = Path()
    """Folder at which the paths of files in inputs start."""
    job_filter: JobFilter = JobFilter()
    buy: int | None = None
    """Largest number of purchases; None: any number."""
    redo: RedoMode | None = None
    """Done jobs that are bought again; None: none."""
    resubmit: bool = False
    """True if a purchase whose outcome is unknown is submitted again, once."""
    concurrency: int | None = None
    """Requests in flight at the API; None: as many as keep the API busy."""
    rate_per_second: float | None = None
    """Submissions per second; None: no limit beyond the slots."""
    first_delay_seconds: float = 0.0
    """Delay before the first submission: another process at the same rate may have submitted just before."""
    timeout_seconds: float = 600.0
    """Time from the acceptance of a request to its final state."""
    retries: int = 4
    """Retries of one delivery within a run."""
    budget: Budget | None = None
    halt: Halt | None = None
    until: float | None = None
    """Time at which buying stops, in seconds since the epoch; None: no such time."""
    for_seconds: float | None = None
    """Duration of buying, from the beginning of the run; None: no such duration."""
    offline: bool = False
    """True if the catalogue is not contacted; prices are those of earlier purchases."""
    download_limits: DownloadLimits | None = None
    """Limits of downloads; None: those recorded with each purchase."""

    @classmethod
    def resolve(cls, manifest: Manifest, options: RunOptions, environ: Mapping[str, str]) -> RunConfig:
        """Return the settings of a run of ``manifest`` with ``options``. Options take precedence over the manifest.

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
            manifest=name_in_records(manifest.path, folder.root),
            beside=_earlier_folders(manifest, options),
            inputs_folder=manifest.folder,
            job_filter=options.job_filter,
            buy=options.buy,
            redo=RedoMode.SELECTED if options.redo is RedoMode.ALL else options.redo,
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
        """Return the settings of a command that needs only the folder, and buys nothing.

        Raises ``UsageError`` for an API address that is not safe.
        """
        return cls(folder=folder, api=options.api_base(environ), same_api=options.same_api, shard=options.shard)

    @property
    def emulated(self) -> bool:
        """Return whether the API is an emulator inside this process."""
        return self.api.name == EMULATOR

    @property
    def backlog(self) -> int:
        """Return how many paid results may wait for delivery."""
        return most_waiting(self.concurrency)

    def planner(self, jobs: JobStore, ledger: LedgerReader, others: LedgerReader = EMPTY) -> Planner:
        """Return the planner of ``jobs``; ``others`` has the purchases of other shards."""
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
        """Return the selection of ``jobs`` for the command, each job as it was read for its purchase.

        Raises ``UsageError`` if a name of the filter matches no job.
        """
        chosen = self.job_filter
        if chosen.names is not None:
            chosen.names.require_matches(jobs.ids())
            chosen = msgspec.structs.replace(chosen, names=chosen.names.without(planner.is_replaced))
        failed = planner.failed_ids() if chosen.failed else frozenset()
        return Selection(jobs, chosen, planner.as_bought, failed)


def _earlier_folders(manifest: Manifest, options: RunOptions) -> tuple[Path, ...]:
    """Return the folders to which an earlier file name of the manifest may have led.

    There are none if ``name:`` or ``output:`` is set.
    """
    settings = manifest.settings
    decided = settings.named or settings.output is not None or options.output is not None
    if decided or options.emulator or manifest.path is None:
        return ()
    return output_parents(manifest.path)


def _concurrency(settings: Settings, options: RunOptions) -> int | None:
    """Return the number of requests in flight; None for ``auto``: each shard then determines its own number."""
    concurrency = options.concurrency or settings.concurrency
    if concurrency == "auto" or concurrency is None:
        return None
    part = options.share or options.shard
    return concurrency if part is None else share_concurrency(concurrency, part)


def _rate(settings: Settings, options: RunOptions) -> float | None:
    """Return the submissions per second; None: no limit. A shard gets its part of the rate."""
    part, rate = options.share or options.shard, settings.rate_per_second
    return rate / part.of if rate is not None and part is not None else rate


def name_in_records(manifest: Path | None, folder: Path) -> str:
    """Return the path of the manifest relative to the output folder, with ``/``; ``-`` for standard input."""
    if manifest is None:
        return "-"
    return Path(os.path.relpath(manifest.resolve(), folder.resolve())).as_posix()
