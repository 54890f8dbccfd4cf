"""What a person sees of a run: lines on standard error, made for a log file as well as for a terminal."""

from __future__ import annotations

import logging
import shlex
import sys
from collections import Counter
from collections.abc import Iterable

import anyio
import click

from runner.errors import ManifestError, RunnerError
from runner.model import OWED, Problem, Record, State
from runner.summary import COUNTS, Report

TICK_SECONDS = 30.0
TERMINAL_TICK_SECONDS = 5.0
EXAMPLES = 5
MAX_PROBLEMS = 200

log = logging.getLogger("runner")


def set_up_logging(*, quiet: bool, verbose: bool) -> None:
    """One line per event on standard error, with its time."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, level=logging.WARNING)
    log.setLevel(logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING)


class Progress:
    """Counts records as they become durable, and says now and then how far things are."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._ended: Counter[State] = Counter()
        self._bought = 0
        self._in_flight: set[tuple[str, int]] = set()
        self._said = ""

    def say(self, line: str) -> None:
        if not self._quiet:
            click.echo(f"runner: {line}", err=True)

    def see(self, record: Record) -> None:
        """Count one transition, and log it without its prompt."""
        log.info("%s/%d %s %s", record.id, record.purchase, record.state, record.request_id or "")
        key = record.id, record.purchase
        if record.state is State.SUBMITTED and record.error is None:
            self._bought += 1
        if record.state in OWED and record.error is None:
            self._in_flight.add(key)
            return
        self._in_flight.discard(key)
        if record.state is not State.SUBMITTING and not (record.redo and record.state is State.DONE):
            self._ended[record.state] += 1

    async def tick(self) -> None:
        """Say the counts from time to time, if they changed."""
        while True:
            await anyio.sleep(TERMINAL_TICK_SECONDS if sys.stderr.isatty() else TICK_SECONDS)
            words = [f"{count:,} {state}" for state, count in sorted(self._ended.items())]
            line = ", ".join([*words, f"{len(self._in_flight):,} in flight"])
            if line != self._said:
                self._said = line
                self.say(line)


def show_warnings(warnings: Iterable[Problem]) -> None:
    for warning in warnings:
        click.echo(
            f"{warning.place}: warning: {warning.what}" + (f" ({warning.advice})" if warning.advice else ""),
            err=True,
        )


def show_report(report: Report, *, quiet: bool, target: str = "") -> None:
    """The end of a run in words: what came of it, what it cost, and what to do next.

    ``target`` is what the person typed to say which results are meant; without it the output folder serves.
    """
    if quiet and report.exit_code == 0:
        return
    counts = ", ".join(f"{getattr(report, name):,} {name}" for name in COUNTS if getattr(report, name))
    lines = [f"{report.total:,} jobs: {counts or 'none'} in {report.seconds:.1f} s"]
    lines.append(f"cost: ${report.cost_usd:.4f} this run, ${report.spent_usd:.4f} in this folder so far")
    lines.append(f"results: {report.results}")
    lines += _examples(report)
    if report.stopped is not None and report.exit_code != 0:
        lines.append(f"stopped: {report.stopped.reason}")
    lines += report.notes
    lines += _next_steps(report, target or shlex.quote(report.output))
    for line in lines:
        click.echo(f"runner: {line}", err=True)


def _examples(report: Report) -> list[str]:
    shown = [f"  {record.id}: {record.state}: {_why(record)}" for record in report.examples[:EXAMPLES]]
    return [*shown, "  …"] if len(report.examples) > EXAMPLES else shown


def _why(record: Record) -> str:
    if record.error is None:
        return f"picture of another {record.warning} than asked for" if record.warning else "see `runner status`"
    request = f" (request {record.request_id})" if record.request_id else ""
    return record.error.message + request


def _next_steps(report: Report, target: str) -> list[str]:
    """What the person should do, the most pressing first."""
    steps = []
    if not report.total:
        steps.append("no job was selected, and nothing was owed")
    if report.total and report.total == report.skipped:
        steps.append("all of it was done before: nothing was submitted")
    if report.unknown:
        steps.append(
            f"{report.unknown:,} may have been bought and are held, or are stuck: look at your RunComfy Generations "
            f"page, then settle them with `runner reconcile {target}`"
        )
    if report.owed:
        steps.append(
            f"{report.owed:,} are paid for and not on disk yet: run the same command again to fetch them, free"
        )
    if report.left:
        steps.append(f"{report.left:,} were not tried: run the same command again")
    if report.failed:
        steps.append(
            f"{report.failed:,} failed: change their inputs; those that may work unchanged are retried next time"
        )
    if report.missing:
        steps.append(
            f"{report.missing:,} are done, but their files are gone and the API no longer has them: "
            "`runner run … --redo --missing` buys them anew"
        )
    return steps


def show_error(error: RunnerError) -> None:
    """Say what went wrong with a command as a whole."""
    if isinstance(error, ManifestError):
        show_problems(error)
    else:
        click.echo(f"runner: {error}", err=True)


def show_problems(error: ManifestError) -> None:
    """Print a manifest's faults, up to a number that a person reads."""
    for problem in error.problems[:MAX_PROBLEMS]:
        click.echo(str(problem), err=True)
    count = error.count
    more = f", {MAX_PROBLEMS} of them shown" if count > MAX_PROBLEMS else ""
    click.echo(
        f"runner: {count:,} {'fault' if count == 1 else 'faults'} in the manifest{more}; nothing was bought",
        err=True,
    )
