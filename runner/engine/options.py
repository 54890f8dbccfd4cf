"""What a command is about: its options, the folder, the ledger for one who only looks, and what decides about jobs.

Everything that needs no network is here, apart from ``app``, so that looking is quick.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.api.config import ApiBase, find_api
from runner.core.errors import UsageError
from runner.core.models import EMULATOR, Budget
from runner.core.shards import Shard, share_concurrency
from runner.engine.redo import Choice
from runner.files.output_folder import Folder
from runner.ledger import NOTHING, Ledger, Log, Reader, Together, look, path_of
from runner.ledger.layout import output_folder
from runner.manifest import Manifest, OnUnknown
from runner.planning.planner import Surveyor, manifest_path
from runner.planning.selection import Chosen, Selection


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
    shard: Shard | None = None
    """Only the jobs of this shard, with a results manifest and a part of the budget of its own."""
    share: Shard | None = None
    """Which part of ``concurrency`` and ``rate`` it has; None: as the shard. Where never more than four shards run at
    a time, however many there are, each has a quarter."""

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
        if self.share is not None and self.shard is None:
            raise UsageError("a share of the lanes is for a run of one shard: say which")

    @property
    def choice(self) -> Choice | None:
        """Which done jobs are bought anew."""
        if not self.redo:
            return None
        return Choice.MISSING if self.missing else Choice.SELECTED

    @property
    def selection(self) -> Selection:
        return Selection(shard=self.shard, only=self.only, limit=self.limit)

    def folder(self, manifest: Manifest) -> Folder:
        """Where the results of ``manifest`` go."""
        chosen = self.output or manifest.settings.output
        return Folder(output_folder(manifest.path, manifest.settings.name, chosen, emulator=self.emulator))


def lanes_of(manifest: Manifest, options: RunOptions) -> int | None:
    """How many lanes a run has; None: as many as keep the API busy, in each shard as that finds out for itself.

    Raises ``UsageError`` where there are more shards than lanes.
    """
    lanes = options.concurrency or manifest.settings.concurrency
    if lanes == "auto" or lanes is None:
        return None
    part = options.share or options.shard
    return lanes if part is None else share_concurrency(lanes, part)


def rate_of(manifest: Manifest, options: RunOptions) -> float | None:
    """Submissions a second; None: as many as the lanes make."""
    part, rate = options.share or options.shard, manifest.settings.rate_per_second
    return rate / part.of if rate is not None and part is not None else rate


def gap_of(manifest: Manifest, options: RunOptions) -> float:
    """Seconds before the first submission of a run that takes over a share of the rate from one that has just ended."""
    rate = rate_of(manifest, options)
    return 1.0 / rate if rate is not None and options.share is not None else 0.0


def surveyor_of(
    manifest: Manifest, options: RunOptions, ledger: Reader, folder: Folder, base: ApiBase, others: Reader = NOTHING
) -> Surveyor:
    """What decides about the jobs of ``manifest``; ``others`` is what is known of the other shards' jobs."""
    return Surveyor(
        jobs=manifest.jobs,
        ledger=ledger,
        others=others,
        folder=folder,
        api=base.name,
        manifest=manifest_path(manifest.path, folder.root),
        resubmit=(options.on_unknown or manifest.settings.on_unknown) is OnUnknown.RESUBMIT,
    )


def chosen(manifest: Manifest, options: RunOptions, surveyor: Surveyor) -> Chosen:
    """The jobs of ``manifest`` that a run is about, each as its purchase was read."""
    return Chosen(manifest.jobs, options.selection, surveyor.as_bought)


@contextmanager
def reading(folder: Folder) -> Iterator[Reader]:
    """What is known of ``folder``, shards together, for one who only looks: no lock, nothing changed."""
    with ExitStack() as stack:
        while True:
            layout = look(folder.root)
            found = stack.enter_context(_opened(folder.root, layout.shards))
            if look(folder.root).shards == layout.shards:  # else it was split or merged while they were opened
                break
        yield found


@contextmanager
def reading_others(folder: Folder, shard: Shard | None) -> Iterator[Reader]:
    """What the other shards know; nothing where there are none."""
    if shard is None or shard.of == 1:
        yield NOTHING
        return
    with _opened(folder.root, tuple(other for other in shard.all if other != shard)) as found:
        yield found


@contextmanager
def _opened(root: Path, shards: tuple[Shard, ...]) -> Iterator[Reader]:
    """The ledgers of ``shards`` as one; the whole folder's where there are none."""
    with ExitStack() as stack:
        ledgers = {}
        for shard in shards or (None,):
            ledger = Ledger(Log(path_of(root, shard), writable=False))
            stack.callback(ledger.close)
            ledgers[shard.index if shard else 1] = ledger
        yield Together(shards[0].of, ledgers) if shards else ledgers[1]


def api_of(options: RunOptions, environ: Mapping[str, str]) -> ApiBase:
    """Which API the options and surroundings name; for the emulator only its name."""
    return ApiBase(url="", name=EMULATOR) if options.emulator else find_api(options.api, environ)
