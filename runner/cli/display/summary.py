"""Summary at the end of a run: counts, cost, causes of failures, and the commands to type next.

The summary has at most ``MAX_LINES`` lines, so that it fits into a mail or the last page of a terminal.
"""

from __future__ import annotations

import shlex

import msgspec

from runner.cli.console import plain
from runner.core.models import PARTIAL, Record
from runner.core.text import in_words, usd
from runner.engine.summary import COUNTS, FailureCause, Report, warning_words

MAX_LINES = 15
MAX_CAUSES = 5
MAX_MESSAGE = 100
MAX_NOTES = 2
MAX_STEPS = 3

_ORDER = ("failed", "unknown", "cancelled", "owed", "missing", "done", "skipped")
"""Outcomes in the order in which their causes are listed.

``left`` is not among them: those jobs were left because buying stopped, and the summary gives the reason for the stop.
"""


class Typed(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of the command line that the user typed, to build the next commands from."""

    again: str
    """The same command."""
    target: str
    """Arguments that name these results to another command, quoted for a shell."""
    run: str
    """Command that runs the same jobs, for more options; ``MANIFEST`` replaces standard input or a folder."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A command to type next, and what the command does or what has to be done before it."""

    command: str
    why: str

    def __str__(self) -> str:
        return f"next: {self.command}\n      {self.why}"


def summary_lines(report: Report, typed: Typed) -> list[str]:
    """Return the whole summary, at most ``MAX_LINES`` lines."""
    lines = [
        _headline(report),
        f"cost: {usd(report.cost_usd)} this run, {usd(report.spent_usd)} in this folder so far",
        f"results: {report.results}",
    ]
    if report.stopped is not None and report.exit_code != 0:
        lines.append(f"stopped: {plain(report.stopped.reason)}")
    lines += _cause_lines(report)
    lines += [plain(note) for note in report.notes[:MAX_NOTES]]
    if report.total and report.total == report.skipped:
        lines.append("all of it was done before: nothing was submitted")
    steps = [line for step in next_steps(report, typed) for line in str(step).splitlines()]
    return [*lines[: MAX_LINES - len(steps)], *steps]


def _headline(report: Report) -> str:
    counts = ", ".join(f"{getattr(report, name):,} {name}" for name in COUNTS if getattr(report, name))
    jobs = "1 job" if report.total == 1 else f"{report.total:,} jobs"
    if not report.total:
        return f"no job was selected, and nothing was owed ({in_words(report.seconds)})"
    return f"{jobs} in {in_words(report.seconds)}: {counts}"


def _cause_lines(report: Report) -> list[str]:
    told = (cause for cause in report.causes if cause.outcome in _ORDER)
    found = sorted(told, key=lambda cause: _ORDER.index(cause.outcome))
    lines = [_cause_line(cause) for cause in found[:MAX_CAUSES]]
    if len(found) > MAX_CAUSES:
        count = sum(cause.count for cause in found[MAX_CAUSES:])
        lines.append(f"  and {count:,} more, of {len(found) - MAX_CAUSES} other kinds")
    return lines


def _cause_line(cause: FailureCause) -> str:
    record = cause.example
    if record.error is None:
        what = _warned(record) if record.warning else record.state.value
        message = ""
    else:
        http = f" (HTTP {cause.http_status})" if cause.http_status else ""
        what = f"{plain(cause.code)[:40]}{http}"
        text = plain(record.error.message, record)
        message = f": {text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + '…'}"
    request = f" [request {record.request_id}]" if record.request_id else ""
    return f"  {cause.count:,} {cause.outcome}, {what}; such as {record.id}{message}{request}"


def _warned(record: Record) -> str:
    if record.warning == PARTIAL:
        return "with outputs that could not be had (`runner verify --repair` asks for them again, free)"
    return f"a picture of {warning_words(record.warning or '')}"


def next_steps(report: Report, typed: Typed) -> list[Step]:
    """Return the next steps, the most urgent first."""
    steps = []
    target = typed.target or shlex.quote(report.output)
    if report.unknown:
        held = f"{report.unknown:,} perhaps bought or stuck: look at your Generations page first"
        steps.append(Step(command=f"runner reconcile {target}", why=held))
    if report.owed or report.left:
        fetches = f"fetches {report.owed:,} that {_is(report.owed)} paid, free" if report.owed else ""
        tries = f"tries the {report.left:,} that {_is(report.left)} left" if report.left else ""
        steps.append(Step(command=typed.again, why="; ".join(filter(None, [fetches, tries]))))
    if report.failed or report.cancelled:
        lists = f"lists the {report.failed + report.cancelled:,}; change their inputs, or run again if that may help"
        steps.append(Step(command=f"runner status {target}", why=lists))
    if report.missing:
        buys = f"buys the {report.missing:,} anew whose files are gone, at the API too"
        steps.append(Step(command=f"{typed.run} --redo --missing", why=buys))
    if not steps and report.total:
        steps.append(Step(command=f"runner report {target}", why="one page with every picture"))
    return steps[:MAX_STEPS]


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def cause_fields(report: Report) -> list[dict[str, object]]:
    """Return the causes as JSON objects."""
    return [
        {
            "outcome": cause.outcome,
            "code": cause.code,
            "http_status": cause.http_status,
            "count": cause.count,
            "example": cause.example.id,
        }
        for cause in report.causes
    ]
