"""Summary at the end of a run: counts, cost, causes of failures, and the commands to type next.

The summary has at most ``MAX_LINES`` lines, so that it fits into a mail or the last page of a terminal.
"""

from __future__ import annotations

import shlex

import msgspec

from runner.cli.console import plain
from runner.core.models import PARTIAL, Record
from runner.core.text import in_words, usd
from runner.engine.summary import FailureCause, Report, counts_in_words, warning_words

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
    left_out = [f"left out by where: {report.left_out_rows:,}"] if report.left_out_rows else []
    lines = [
        _headline(report),
        *left_out,
        *([f"copies: {report.copies:,} made"] if report.copies else []),
        f"cost: {usd(report.cost_usd)} this run, {usd(report.spent_usd)} in this folder so far",
        f"results: {report.results}",
    ]
    if report.stopped is not None and report.exit_code != 0:
        lines.append(f"stopped: {plain(report.stopped.reason)}")
    lines += _cause_lines(report)
    lines += [plain(note) for note in report.notes[:MAX_NOTES]]
    if report.total and report.total == report.skipped:
        lines.append("every job was done before; nothing was submitted")
    steps = [line for step in next_steps(report, typed) for line in str(step).splitlines()]
    return [*lines[: MAX_LINES - len(steps)], *steps]


def _headline(report: Report) -> str:
    jobs = "1 job" if report.total == 1 else f"{report.total:,} jobs"
    if not report.total:
        why = "no job selected, no paid result to download" if report.stopped is None else "see the reason below"
        return f"nothing was done: {why} ({in_words(report.seconds)})"
    return f"{jobs} in {in_words(report.seconds)}: {counts_in_words(report.counts, stuck=_stuck(report))}"


def _stuck(report: Report) -> int:
    """Return how many of the unknown purchases are stuck, as far as their causes tell."""
    found = sum(cause.count for cause in report.causes if cause.outcome == "unknown" and cause.example.stuck)
    return min(found, report.unknown)


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
    outcome = "stuck" if cause.outcome == "unknown" and record.stuck else _OUTCOMES.get(cause.outcome, cause.outcome)
    return f"  {cause.count:,} {outcome}, {what}; such as {record.id}{message}{request}"


_OUTCOMES = {"owed": "not downloaded", "skipped": "done before"}
"""Outcomes in words, where the name of the count is not plain."""


def _warned(record: Record) -> str:
    if record.warning == PARTIAL:
        return "with unavailable outputs (`runner verify --repair` tries to download them again, at no cost)"
    return f"with {warning_words(record.warning or '')}"


def next_steps(report: Report, typed: Typed) -> list[Step]:
    """Return the next steps, the most urgent first."""
    steps = []
    target = typed.target or shlex.quote(report.output)
    first = _first(report)
    if report.unknown:
        steps.append(Step(command=f"runner reconcile {target}", why=_resolve_words(report)))
    if report.owed or report.left:
        downloads = f"downloads {counted(report.owed, 'paid result')} at no cost" if report.owed else ""
        tries = f"continues with {counted(report.left, 'job')}" if report.left else ""
        steps.append(Step(command=typed.again, why=first + "; ".join(filter(None, [downloads, tries]))))
    elif first:
        steps.append(Step(command=typed.again, why=f"{first}continues"))
    if report.failed or report.cancelled:
        lists = f"lists {counted(report.failed + report.cancelled, 'job')} to correct, or to run again"
        steps.append(Step(command=f"runner status {target}", why=lists))
    if report.missing:
        buys = f"buys {counted(report.missing, 'job')} again whose files are unavailable, also at the API"
        steps.append(Step(command=f"{typed.run} --redo --missing", why=buys))
    if report.copies_failed:
        steps.append(Step(command=f"runner copies {target}", why="tries the missing copies again, at no cost"))
    if not steps and report.total:
        steps.append(Step(command=f"runner report {target}", why="writes one page with every picture"))
    return steps[:MAX_STEPS]


def _first(report: Report) -> str:
    """Return what to do before or with the next run, to go before what that run does; empty: nothing."""
    if report.stopped is None:
        return ""
    return f"{report.stopped.remedy}: " if report.stopped.remedy else _FIRST.get(report.stopped.exit_code, "")


_FIRST = {
    64: "after you have corrected the command, see `stopped:` above: ",
    65: "after you have corrected the problem named under `stopped:` above: ",
    69: "later, when the API or the catalogue is available: ",
    73: "after you have made room on the disk: ",
    77: "after you have corrected the token or the balance of the account: ",
}
"""Condition for the next run, by the exit code of the reason why buying stopped. Without it, a run stops again."""


def _resolve_words(report: Report) -> str:
    """Return what to resolve, and how."""
    stuck = _stuck(report)
    unknown = report.unknown - stuck
    parts = []
    if unknown:
        parts.append(f"resolves {unknown:,} of unknown outcome; look at RunComfy's Generations page first")
    if stuck:
        parts.append(f"{'also' if unknown else 'resolves'} {stuck:,} stuck, paid but unavailable")
    return "; ".join(parts)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 job``, ``2 jobs``."""
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"


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
