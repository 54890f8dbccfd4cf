"""Execution of ``run`` and ``collect``: display, summary, hook and exit code."""

from __future__ import annotations

import functools
import json
import os
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import ParamSpec, TypeVar

import click
import msgspec

from runner.cli.arguments import find_folder, spoken
from runner.cli.console import echo
from runner.cli.display import OutputOptions, RunDisplay
from runner.cli.display.events import Severity
from runner.cli.display.summary import Typed
from runner.cli.hook import run_hook
from runner.cli.new_files import NewFiles
from runner.cli.signals import signals
from runner.core.errors import OutputError, RunnerError
from runner.core.models import Json
from runner.core.shards import Shard
from runner.engine.billing.costs import exact, spent
from runner.engine.summary import Report, outcome_of_record
from runner.ledger import open_reader, path_of

P = ParamSpec("P")

T = TypeVar("T")


def output_options(function: Callable[..., T]) -> Callable[..., T]:
    """Add ``--json --quiet --verbose --log-format`` to a command.

    The command receives ``as_json``, and the other three as one ``OutputOptions`` named ``shown``.
    """

    @click.option("--json", "as_json", is_flag=True, help="End with one JSON object on standard output.")
    @click.option("--quiet", is_flag=True, help="Print only what needs attention; nothing on success.")
    @click.option("--verbose", is_flag=True, help="Print every step of every job.")
    @click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        metavar="FORMAT",
        help="Write the log as text, or as json (an object a line).",
    )
    @functools.wraps(function)
    def with_output(*arguments: object, quiet: bool, verbose: bool, log_format: str, **others: object) -> T:
        shown = OutputOptions(quiet=quiet, verbose=verbose, objects=log_format == "json")
        return function(*arguments, shown=shown, **others)

    return with_output


class ResultsPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Location of the results that a command line names."""

    manifest: str
    output: Path | None
    emulator: bool
    shard: Shard | None = None

    def typed(self) -> Typed:
        """Return the texts that repeat this command and name these results in the next one."""
        again = shlex.join(["runner", *sys.argv[1:]])
        target = spoken(self.manifest, self.output, emulator=self.emulator)
        return Typed(again=again, target=target, run=self._run())

    def _run(self) -> str:
        """Return the command that runs the same jobs; more options can be appended."""
        named = self.manifest != "-" and not Path(self.manifest).is_dir()
        words = ["runner", "run", *([self.manifest] if named else [])]
        words += ["--output", str(self.output)] if self.output is not None else []
        words += ["--emulator"] if self.emulator else []
        words += ["--shard", str(self.shard)] if self.shard is not None else []
        return shlex.join(words if named else [*words[:2], "MANIFEST", *words[2:]])

    def standing(self) -> dict[str, Json]:
        """Return the ``--json`` object of a command that failed: the cost of the folder and its open purchases.

        Counts and cost stay at 0 if the results log cannot be read.
        """
        folder = find_folder(self.manifest, self.output, emulator=self.emulator)
        counts: Counter[str] = Counter()
        usd = Decimal()
        with suppress(RunnerError), open_reader(folder.root) as ledger:
            for record in ledger.latest():
                if self.shard is None or self.shard.owns(record.id):
                    counts[outcome_of_record(record)] += record.owed or record.question
                    usd += exact(spent(record))
        return Report(
            output=str(folder.root),
            results=str(path_of(folder.root, self.shard)),
            spent_usd=float(usd),
            owed=counts["owed"],
            unknown=counts["unknown"],
        ).as_json()


def conclude(
    work: Callable[[], Report], watch: RunDisplay, place: ResultsPlace, *, as_json: bool, on_finish: str | None = None
) -> int:
    """Do ``work``, report its outcome, and return the exit code.

    The ``on_finish`` command runs after every ending except two: a kill, and a second signal. Both end the process at
    once.
    """
    if on_finish is None:
        return _conclude(work, watch, place, None, as_json=as_json)
    hook = _Hook(on_finish, watch)
    try:
        return _conclude(work, watch, place, hook, as_json=as_json)
    finally:
        hook.close()


def _conclude(
    work: Callable[[], Report], watch: RunDisplay, place: ResultsPlace, hook: _Hook | None, *, as_json: bool
) -> int:
    heard = as_json or hook is not None
    try:
        report = _interruptible(work)
    except RunnerError as error:
        watch.fail(error)
        did = error.did or (place.standing() if heard else {})
        summary, code = {**did, "error": str(error)}, error.exit_code
    except Exception as error:  # a bug in the program: tell the hook, then raise the exception again for the traceback
        watch.close()
        did = place.standing() if heard else {}
        if hook is not None:
            hook.call({**did, "error": type(error).__name__, "exit_code": 70})
        raise
    else:
        watch.finish(report, place.typed())
        summary, code = report.as_json(), report.exit_code
    if as_json:
        try:
            echo(json.dumps(summary))
        except OutputError as error:  # the hook is called in any case
            watch.say(str(error), weight=Severity.ALERT, level="error", message=str(error))
            code = code if code in (64, 65) else error.exit_code
    if hook is not None:
        hook.call({**summary, "exit_code": code})
    return code


class _Interrupted(RunnerError):
    """Interruption by a signal before anything was in flight."""

    exit_code = 75


def _interruptible(work: Callable[[], T]) -> T:
    """Do ``work``, and let every signal of ``signals`` end it as Ctrl-C does.

    This covers the time before ``attend`` listens for signals, for example while a manifest is read.
    """
    before = {number: signal.signal(number, _interrupt) for number in signals()}
    try:
        return work()
    except (KeyboardInterrupt, click.Abort):
        raise _Interrupted("interrupted; nothing more is bought. Run the same command again to continue.") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> None:  # noqa: ARG001 - signature of a signal handler
    raise KeyboardInterrupt


class _Hook:
    """Command of ``--on-finish`` for one run, and the list of new files that it gets."""

    def __init__(self, command: str, watch: RunDisplay) -> None:
        self._command = command
        self._watch = watch
        self._files: NewFiles | None = None
        try:
            self._files = NewFiles()
        except OSError as error:
            self._warn(f"--on-finish gets no list of new files: {error.strerror}")
        else:
            watch.listen(self._files)

    def call(self, summary: dict[str, Json]) -> None:
        """Run the command with ``summary`` on its standard input."""
        files = self._files
        if files is not None:
            files.finish()
            self._warn(files.trouble)
        path = files.path if files is not None else None
        self._warn(run_hook(self._command, json.dumps(summary), summary["exit_code"], os.environ, new_files=path))

    def close(self) -> None:
        """Delete the list."""
        if self._files is not None:
            self._files.remove()

    def _warn(self, trouble: str) -> None:
        if trouble:
            text = f"{trouble}; the results of the run are not affected"
            self._watch.say(text, weight=Severity.ALERT, level="warning", message=trouble)
