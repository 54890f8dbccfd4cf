"""Commands and options of other tools, and what does the same here."""

from __future__ import annotations

import re
from collections.abc import Collection

SAME_COMMAND = {
    "archive": "export",
    "balance": "plan",
    "check": "plan",
    "continue": "run",
    "cost": "plan",
    "create": "init",
    "docs": "guide",
    "doctor": "plan",
    "download": "collect",
    "dry-run": "plan",
    "estimate": "plan",
    "fetch": "collect",
    "generate": "run",
    "history": "export",
    "info": "status",
    "lint": "plan",
    "list": "status",
    "logs": "status",
    "ls": "status",
    "man": "guide",
    "manual": "guide",
    "new": "init",
    "open": "report",
    "preview": "plan",
    "price": "plan",
    "progress": "status",
    "pull": "collect",
    "repair": "verify",
    "rerun": "run",
    "restart": "run",
    "resume": "run",
    "retry": "run",
    "serve": "emulator",
    "show": "status",
    "start": "run",
    "stats": "status",
    "stop": "cancel",
    "submit": "run",
    "sync": "collect",
    "validate": "plan",
    "view": "report",
    "watch": "status",
}
"""Commands of other tools, and the command here that does the same."""

_LOGIN = "Set RUNCOMFY_TOKEN to your API token, or log in once with `runcomfy login`, RunComfy's own tool."
_DELETE = "Nothing deletes results; files of jobs that left the manifest stay: `runner status --gone`."

COMMANDS = {
    "auth": _LOGIN,
    "clean": _DELETE,
    "config": "Settings are keys of the manifest: `runner guide manifest`.",
    "delete": _DELETE,
    "gc": _DELETE,
    "help": "Write `runner --help`, `runner COMMAND --help` or `runner guide`.",
    "login": _LOGIN,
    "logout": "Unset RUNCOMFY_TOKEN, or log out with RunComfy's own tool.",
    "prune": _DELETE,
    "version": "Write `runner --version`.",
}
"""Commands of other tools that have no counterpart, with an answer."""

_CONCURRENCY = "Use --concurrency, or leave it out: the number then follows the API."
_RERUN = "The same `runner run` again continues the last run."
_MANIFEST = "It is a key of the manifest: `runner guide manifest`."
_CREDENTIAL = "Set RUNCOMFY_TOKEN; a token on the command line could be read by others."
_OUTPUT = "Use --output."
_SELECT = "Use --only."
_FORMAT = "Use --json, --log-format, or `runner export --format`."

OPTIONS = {
    "--api-base": "Use --api.",
    "--api-key": _CREDENTIAL,
    "--base-url": "Use --api.",
    "--batch-size": _CONCURRENCY,
    "--config": "The manifest is the argument, without an option.",
    "--continue": _RERUN,
    "--csv": "The manifest names the feed: `runner guide feeds`. Receipts as CSV: `runner export`.",
    "--debug": "Use --verbose.",
    "--dest": _OUTPUT,
    "--dry-run": "`runner plan` shows what a run would do, without buying.",
    "--endpoint": "Use --api.",
    "--exclude": "List the jobs that you want with --only or --only-from.",
    "--file": "The manifest is the argument, without an option.",
    "--filter": _SELECT,
    "--force": "Use --redo to buy done jobs again.",
    "--format": _FORMAT,
    "--height": _MANIFEST,
    "--id": _SELECT,
    "--input": "The manifest is the argument, without an option.",
    "--jobs": _CONCURRENCY,
    "--key": _CREDENTIAL,
    "--log-level": "Use --quiet or --verbose.",
    "--manifest": "The manifest is the argument, without an option.",
    "--max-concurrency": _CONCURRENCY,
    "--max-cost": "Use --budget.",
    "--max-parallel": _CONCURRENCY,
    "--max-retries": "`retries:` is a key of the manifest; a rejected submission is repeated by the same command.",
    "--max-workers": _CONCURRENCY,
    "--model": _MANIFEST,
    "--no-progress": "Use --quiet.",
    "--num": "Use --limit, or --buy for a number of purchases.",
    "--out": _OUTPUT,
    "--out-dir": _OUTPUT,
    "--output-dir": _OUTPUT,
    "--output-format": _FORMAT,
    "--overwrite": "Use --redo to buy done jobs again.",
    "--parallel": _CONCURRENCY,
    "--progress": "The display is shown at a terminal; leave the option out.",
    "--prompt": _MANIFEST,
    "--rate": _MANIFEST,
    "--rate-limit": "`rate:` is a key of the manifest.",
    "--resume": _RERUN,
    "--retries": "`retries:` is a key of the manifest.",
    "--retry": _RERUN,
    "--retry-failed": "Use --failed.",
    "--seed": _MANIFEST,
    "--select": _SELECT,
    "--silent": "Use --quiet.",
    "--simulate": "`runner plan` shows what a run would do; --emulator tries it.",
    "--size": _MANIFEST,
    "--skip-existing": "Leave it out: done jobs are never bought again.",
    "--threads": _CONCURRENCY,
    "--timeout": "`timeout:` is a key of the manifest.",
    "--token": _CREDENTIAL,
    "--watch": "`runner status --watch` follows a run.",
    "--width": _MANIFEST,
    "--workers": _CONCURRENCY,
    "-c": _CONCURRENCY,
    "-f": "The manifest is the argument, without an option; --redo buys done jobs again.",
    "-i": "The manifest is the argument, without an option.",
    "-j": _CONCURRENCY,
    "-n": "`runner plan` shows what a run would do; --limit N selects the first N jobs.",
    "-o": _OUTPUT,
    "-p": _CONCURRENCY,
    "-q": "Use --quiet.",
    "-v": "Use --verbose, or `runner --version`.",
    "-y": "Use --yes.",
}
"""Options of other tools, and what to use here; a command may have one of them as an option of its own."""

WRITES = {
    "export": "The rows go to standard output: add `> receipts.csv`. The output folder is --output.",
    "report": "The page is named with --to, the output folder with --output.",
    "schema": "The schema goes to standard output: add `> manifest.schema.json`.",
}
"""Commands that write a file, or print what is usually kept in one, and the answer to ``-o`` and the like."""


def answer_option(option: str, command: str, known: Collection[str]) -> str | None:
    """Return what to use in place of ``option`` of another tool, or None for an option that is not in ``OPTIONS``.

    ``known`` are the options of ``command``. An answer with an option that ``command`` lacks is about ``runner run``,
    and says so.
    """
    answer = OPTIONS.get(option)
    if answer == _OUTPUT and command in WRITES:
        return WRITES[command]
    if answer is None or named_options(answer) <= {*known}:
        return answer
    return f"For `runner run`: {answer}"


def named_options(answer: str) -> set[str]:
    """Return the options in ``answer`` that belong to no command in backticks."""
    return set(re.findall(r"(?<![\w-])--[\w-]+", re.sub(r"`[^`]*`", "", answer)))
