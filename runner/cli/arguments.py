"""Arguments that several commands share: the manifest and the output folder."""

from __future__ import annotations

import functools
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import click
import msgspec
from click.shell_completion import CompletionItem

from runner.cli.console import say
from runner.core.aio import run_loop
from runner.core.errors import ManifestError, UsageError
from runner.core.models import Budget, Job
from runner.core.nesting import check_nesting
from runner.core.shards import Shard, find_shard
from runner.engine.catalogue import offers
from runner.engine.load_manifest import load
from runner.engine.options import RunOptions
from runner.engine.redo import RedoMode
from runner.files.output_folder import Folder
from runner.ledger import look
from runner.ledger.folders import output_folder, results_folder
from runner.ledger.records import RESULTS
from runner.manifest import MAX_BYTES, Manifest, Offer, OnUnknown, parse_budget, salvage_settings
from runner.planning.selection import JobFilter
from runner.report.selection import Selection

T = TypeVar("T")


class BudgetType(click.ParamType):  # type: ignore[type-arg]  # before 8.4 click's has no parameter
    """Type of a budget: ``25.00`` or ``25.00/day``, as in a manifest."""

    name = "usd"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Budget:
        try:
            return parse_budget(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def manifest_argument(function: Callable[..., T]) -> Callable[..., T]:
    return click.argument("manifest", shell_complete=_files)(function)


def _files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001 - click's signature
    """Return one item that leaves the completion of file names to the shell."""
    return [CompletionItem(incomplete, type="file")]


class ShardType(click.ParamType):  # type: ignore[type-arg]  # before 8.4 click's has no parameter
    """Type of a shard: ``2/4``, or ``auto`` to read the shard of an array job from the environment."""

    name = "shard"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Shard:
        try:
            return find_shard(str(value), os.environ)
        except UsageError as error:
            self.fail(str(error), param, ctx)


def place_options(function: Callable[..., T]) -> Callable[..., T]:
    """Add ``--output`` and ``--emulator`` to a command; together they select the output folder."""
    function = click.option(
        "--output", type=click.Path(path_type=Path), help="Output folder, instead of the manifest's."
    )(function)
    return click.option("--emulator", is_flag=True, help="Use an emulator in this process; it costs nothing.")(function)


def api_options(function: Callable[..., T]) -> Callable[..., T]:
    """Add ``--api`` and ``--same-api-as`` to a command that asks the API about earlier purchases."""
    text = "Earlier address of the same API, used by this folder."
    function = click.option("--same-api-as", metavar="URL", help=text)(function)
    return click.option("--api", metavar="URL", help="Address of the API, with /v1.")(function)


def redo_options(function: Callable[..., T]) -> Callable[..., T]:
    """Add ``--redo --missing --all`` to a command. The command receives them as one ``RedoFlags`` named ``redo``."""

    @click.option("--redo", is_flag=True, help="Buy done jobs again; needs --only, --missing or --all.")
    @click.option("--missing", is_flag=True, help="With --redo: jobs whose files are lost.")
    @click.option("--all", "every", is_flag=True, help="With --redo: every done job.")
    @functools.wraps(function)
    def with_redo(*arguments: object, redo: bool, missing: bool, every: bool, **others: object) -> T:
        return function(*arguments, redo=RedoFlags(redo, missing, every), **others)

    return with_redo


limit_option = click.option(
    "--limit", type=click.IntRange(min=0), metavar="N", help="Select only the first N of these jobs."
)
shard_option = click.option(
    "--shard", type=ShardType(), metavar="I/N|auto", help="Select only the jobs of shard I of N."
)
on_unknown_option = click.option(
    "--on-unknown",
    type=click.Choice([str(choice) for choice in OnUnknown]),
    metavar="MODE",
    help="Purchases of unknown outcome: hold, or resubmit.",
)


def choice_options(function: Callable[..., T]) -> Callable[..., T]:
    """Add ``--only --only-from --failed`` to a command, which receives them as one ``Choice`` named ``choice``."""

    @click.option("--only", multiple=True, metavar="GLOB", help="Select only jobs whose id matches; repeatable.")
    @click.option(
        "--only-from",
        metavar="FILE",
        help="Select the ids that FILE lists; - is standard input.",
    )
    @click.option("--failed", is_flag=True, help="Select only jobs whose last purchase failed.")
    @functools.wraps(function)
    def with_choice(
        *arguments: object, only: tuple[str, ...], only_from: str | None, failed: bool, **others: object
    ) -> T:
        return function(*arguments, choice=Choice(only, only_from, failed), **others)

    return with_choice


class Choice(NamedTuple):
    """Options that select jobs by their ids."""

    only: tuple[str, ...] = ()
    only_from: str | None = None
    failed: bool = False

    def filter(self) -> JobFilter:
        """Return the filter; the file of ``--only-from`` is read. Raises ``UsageError``."""
        return RunOptions(only=self.only, only_ids=self.ids(), failed=self.failed).job_filter

    def ids(self) -> dict[str, frozenset[str]] | None:
        """Return the ids that the file of ``--only-from`` lists, each with the SHA-256 of its rejected files, if known.

        None: there is no file. Raises ``UsageError``.
        """
        if self.only_from is None:
            return None
        try:
            data = sys.stdin.buffer.read() if self.only_from == "-" else Path(self.only_from).read_bytes()
            check_nesting(data)
            found = ids_in(data.decode("utf-8-sig"))
        except OSError as error:
            raise UsageError(f"--only-from: {self.only_from} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise UsageError(f"--only-from: {self.only_from} lists no ids: {error}") from None
        if not found:
            raise UsageError(f"--only-from: {self.only_from} lists no ids, so no job is selected")
        return found


def ids_in(text: str) -> dict[str, frozenset[str]]:
    """Return the ids in a file: one per line, a JSON list of them, or the rejected ones of a ``selection.json``.

    A selection also tells the SHA-256 of each rejected file. Raises ``ValueError``.
    """
    if not text.lstrip().startswith(("{", "[")):
        return {line.strip(): frozenset() for line in text.splitlines() if line.strip()}
    if not text.lstrip().startswith("{"):
        return dict.fromkeys(msgspec.json.decode(text, type=list[str]), frozenset())
    found: dict[str, frozenset[str]] = {}
    for picture in msgspec.json.decode(text, type=Selection).pictures:
        if picture.mark == "reject":
            found[picture.id] = found.get(picture.id, frozenset()) | {picture.sha256}
    return found


class RedoFlags(NamedTuple):
    """Flags of a redo on the command line."""

    redo: bool
    missing: bool
    every: bool

    def mode(self, choice: Choice) -> RedoMode | None:
        """Return the redo that the flags and ``choice`` ask for; None: no redo. Raises ``UsageError``."""
        if (self.missing or self.every) and not self.redo:
            raise UsageError("--missing and --all select the jobs of a --redo; add --redo, or leave them out")
        if self.missing and self.every:
            raise UsageError("--missing and --all exclude each other; give one of them")
        if not self.redo:
            return None
        if self.missing or self.every:
            return RedoMode.MISSING if self.missing else RedoMode.ALL
        if not choice.only and choice.only_from is None:
            raise UsageError(
                "--redo buys done jobs again, for money; select them with --only, --only-from, --missing or --all"
            )
        return RedoMode.SELECTED


def read_manifest(target: str, options: RunOptions, *, keep_rows: bool = False) -> Manifest:
    """Read the manifest that an argument names; ``-`` is standard input. ``keep_rows``: jobs keep their rows' columns.

    Raises ``ManifestError``, and ``UsageError`` if ``target`` is a folder.
    """

    def ask(models: Sequence[str]) -> Mapping[str, Offer]:
        return run_loop(lambda: offers(models, options, os.environ))

    if target == "-":
        return load("-", text=sys.stdin.buffer.read(MAX_BYTES + 1), offers=ask, keep_rows=keep_rows)
    if Path(target).is_dir():
        raise UsageError(f"{target} is a folder; this command needs a manifest")
    return load(target, offers=ask, keep_rows=keep_rows)


def find_folder(target: str, output: Path | None, *, emulator: bool) -> Folder:
    """Return the output folder that an argument names: the folder itself, or the folder of a manifest.

    The manifest may be invalid or missing.
    """
    if output is not None:
        return Folder(output.absolute())
    path = Path(target)
    itself = results_folder(path)
    if itself is not None:
        return Folder(itself)
    name, chosen = salvage_settings(path)
    return Folder(output_folder(path, name, chosen, emulator=emulator))


def known_folder(target: str, output: Path | None, *, emulator: bool) -> Folder:
    """Return the folder of ``find_folder``. Raises ``UsageError`` if the folder holds no results.

    The message then names the folder of runs with ``--emulator``, if that one has results.
    """
    folder = find_folder(target, output, emulator=emulator)
    if not look(folder.root).empty:
        return folder
    tried = find_folder(target, output, emulator=True)
    if not look(tried.root).empty:
        raise UsageError(
            f"{folder.root} holds no {RESULTS}: no run without --emulator has used it. {tried.root} holds the results "
            "of the emulator; to use those, repeat with --emulator."
        )
    raise _no_results(target, output, folder)


def readable_folder(target: str, output: Path | None, *, emulator: bool) -> Folder:
    """Return the folder of ``known_folder`` for a command that only reads.

    If the manifest's folder holds no results, that of its runs with ``--emulator`` is taken.
    """
    folder = find_folder(target, output, emulator=emulator)
    if look(folder.root).empty:
        tried = find_folder(target, output, emulator=True)
        if look(tried.root).empty:
            raise _no_results(target, output, folder)
        say(f"{folder.root} holds no results; these are those of --emulator", err=True)
        return tried
    return folder


def _no_results(target: str, output: Path | None, folder: Folder) -> UsageError:
    """Return the error for a folder without results."""
    if output is None and not Path(target).exists():
        return UsageError(f"there is no file or folder {target}, and {folder.root} holds no {RESULTS}")
    return UsageError(f"{folder.root} holds no {RESULTS}: no run has used this folder yet")


def known_jobs(target: str, *, emulator: bool) -> Iterable[Job]:
    """Return the jobs of ``known_manifest``; none if there is none."""
    manifest = known_manifest(target, emulator=emulator)
    return manifest.jobs if manifest is not None else ()


def known_ids(target: str, *, emulator: bool) -> Iterator[str]:
    """Yield the ids of ``known_jobs``. The manifest is read when the first one is asked for."""
    for job in known_jobs(target, emulator=emulator):
        yield job.id


def known_manifest(target: str, *, emulator: bool) -> Manifest | None:
    """Return a manifest; None if ``target`` is no readable manifest. The catalogue is not contacted."""
    if not Path(target).is_file() or results_folder(Path(target)) is not None:
        return None
    try:
        return read_manifest(target, RunOptions(emulator=emulator, offline=True))
    except (ManifestError, UsageError):
        return None


def spoken(target: str, output: Path | None, *, emulator: bool) -> str:
    """Return the arguments that name the same results to another command, quoted for a shell.

    Empty if the manifest came from standard input without ``output``.
    """
    if target == "-" and output is None:
        return ""
    words = [str(output)] if output is not None else [target, *(["--emulator"] if emulator else [])]
    return shlex.join(words)
