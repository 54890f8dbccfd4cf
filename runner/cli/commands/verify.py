"""``runner verify``: compare files with the results; repair files or the results log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from runner.cli.arguments import known_folder, known_settings, manifest_argument, place_options, same_api_option
from runner.cli.console import say
from runner.cli.display import make_plain_display
from runner.cli.signals import attend
from runner.core.aio import run_loop
from runner.core.errors import UsageError
from runner.core.models import Record
from runner.engine.maintenance.repair_files import RepairResult
from runner.engine.maintenance.verify import FileCondition, Finding, FindingKind, VerifyReport, check
from runner.engine.options import RunOptions
from runner.files.output_folder import Folder
from runner.ledger import holders, look, open_reader
from runner.ledger.repair import Damage, RepairedLog, SalvageResult
from runner.manifest import Settings

SHOWN = 50
"""Findings of a kind that are printed; ``--json`` has all of them."""
MAX_NAME = 300
"""Characters of an id from a damaged line that are printed."""


@click.command("verify")
@manifest_argument
@place_options
@click.option("--api", metavar="URL", help="The API's address, with /v1.")
@same_api_option
@click.option("--repair", is_flag=True, help="Put the files right, from what is here or from the API; buy nothing.")
@click.option("--repair-log", is_flag=True, help="Mend a results manifest that is refused as damaged.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    manifest: str,
    output: Path | None,
    emulator: bool,
    api: str | None,
    same_api_as: str | None,
    repair: bool,
    repair_log: bool,
    as_json: bool,
) -> int:
    """Hold every file of MANIFEST's output against its record: missing, altered, truncated, swapped, foreign.

    MANIFEST may be the output folder itself. Without --repair nothing is changed. Exits 0 if all is right, else 1;
    --repair-log exits 2 where something may have been bought and waits for your word.

    \b
    Examples:
      runner verify output/spring
      runner verify output/spring --repair
    """
    if repair and repair_log:
        raise UsageError("--repair mends files, --repair-log the record of them; begin with --repair-log")
    options = RunOptions(emulator=emulator, api=api, same_api_as=same_api_as)
    folder = known_folder(manifest, output, emulator=emulator)
    if repair_log:
        return _mend(folder, options, as_json=as_json)
    if not repair:
        return _verify(folder, as_json=as_json)
    return _repair(folder, options, known_settings(manifest, emulator=emulator), as_json=as_json)


def _verify(folder: Folder, *, as_json: bool) -> int:
    with open_reader(folder.root) as ledger:
        found = check(ledger, folder)
    busy = holders(look(folder.root))
    if found.wrong and busy:
        say(
            f"runner: in use by {'; '.join(busy)}; what it is about to change may look wrong: look again later",
            err=True,
        )
    _tell(found, folder, {}, as_json=as_json)
    if any(finding.kind is not FindingKind.FOREIGN for finding in found.wrong):
        say("runner: `runner verify --repair` puts right what can be had without buying", err=True)
    return 1 if found.wrong else 0


def _repair(folder: Folder, options: RunOptions, settings: Settings | None, *, as_json: bool) -> int:
    done = run_loop(lambda: _restore(folder, options, settings))
    extra = {"repaired": done.repaired, "kept": done.kept, "failed": done.failed}
    _tell(done.after, folder, extra, as_json=as_json)
    if done.interrupted:
        say("runner: interrupted; repeat the command to go on", err=True)
        return 75
    return 1 if done.after.wrong else 0


async def _restore(folder: Folder, options: RunOptions, settings: Settings | None) -> RepairResult:
    watch = make_plain_display()
    from runner.engine.operations import repair  # noqa: PLC0415 - the HTTP client is slow to import, and checking does not need it

    return await attend(lambda stop: repair(folder, options, settings=settings, observer=watch.count, stop=stop), watch)


def _tell(found: VerifyReport, folder: Folder, extra: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**found.as_json(), "output": str(folder.root), **extra}))
        return
    for name, paths in extra.items():
        for path, why in paths.items() if isinstance(paths, dict) else ():
            say(f"not repaired  {path}: {why}")
        for path in paths if isinstance(paths, list) else ():
            say(f"{name:<9}  {path}")
    for kind in FindingKind:
        _list(found.of(kind))
    counts = ", ".join(f"{len(found.of(kind)):,} {kind}" for kind in FindingKind if found.of(kind))
    say(f"{folder.root}: {found.ok:,} of {found.checked:,} files are right" + (f"; {counts}" if counts else ""))


def _list(findings: list[Finding]) -> None:
    for finding in findings[:SHOWN]:
        say(f"{finding.kind:<9}  {finding.path}{_words(finding)}")
    if len(findings) > SHOWN:
        say(f"           … and {len(findings) - SHOWN:,} more (--json lists all)")


def _words(finding: Finding) -> str:
    if finding.id is None:
        return ": no record names it"
    whose = f" ({finding.id}, purchase {finding.purchase})"
    if finding.note is not None:
        return f"{whose}: {finding.note}"
    if finding.belongs_to is not None:
        return f"{whose}: holds the bytes of {finding.belongs_to.path} ({finding.belongs_to.id})"
    if finding.actual is None or finding.expected is None:
        return whose
    return f"{whose}: {_stand(finding.actual)} instead of {_stand(finding.expected)}"


def _stand(stand: FileCondition) -> str:
    return f"{stand.bytes:,} bytes {stand.sha256[:12]}…"


def _mend(folder: Folder, options: RunOptions, *, as_json: bool) -> int:
    from runner.engine.operations import repair_log  # noqa: PLC0415 - the HTTP client is slow to import, and checking does not need it

    mended = repair_log(folder, options)
    if as_json:
        click.echo(json.dumps(_log_as_json(mended)))
    for log in () if as_json else mended:
        if log.copy is None:
            say(f"{log.path}: the results manifest is in order: {log.found.kept:,} lines; nothing was changed")
        else:
            _show_log(log.found, log.copy)
    found = [log.found for log in mended]
    return 2 if any(log.hidden or any(not record.owed for record in log.held) for log in found) else 0


def _log_as_json(mended: Sequence[RepairedLog]) -> dict[str, object]:
    """Return one JSON object for all results logs."""
    return {
        "kept": sum(log.found.kept for log in mended),
        "cut": [_damage_as_json(damage, log.path) for log in mended for damage in log.found.damages],
        "held": [_held_as_json(record) for log in mended for record in log.found.held],
        "hidden": any(log.found.hidden for log in mended),
        "copy": next((str(log.copy) for log in mended if log.copy is not None), None),
    }


def _damage_as_json(damage: Damage, path: Path) -> dict[str, object]:
    return {
        "line": damage.line,
        "bytes": damage.fragment.size,
        "id": damage.fragment.id,
        "purchase": damage.fragment.purchase,
        "request_id": damage.fragment.request_id,
        "named": damage.named,
        "results": str(path),
    }


def _held_as_json(record: Record) -> dict[str, object]:
    return {
        "id": record.id,
        "purchase": record.purchase,
        "state": record.state.value,
        "request_id": record.request_id,
    }


def _show_log(found: SalvageResult, copy: Path) -> None:
    say(f"kept   {found.kept:,} lines; the file as it was is {copy}")
    for damage in found.damages[:SHOWN]:
        say(f"cut    line {damage.line}: {_damage(damage)}")
    if len(found.damages) > SHOWN:
        say(f"       … and {len(found.damages) - SHOWN:,} more")
    for record in found.held:
        request = f", request {record.request_id}" if record.request_id else ""
        what = "owed; the next run collects it" if record.owed else "unknown: perhaps bought, and not bought again"
        say(f"held   {record.id} (purchase {record.purchase}{request}): {what}")
    if any(not record.owed for record in found.held):
        say(
            "Settle what is unknown with `runner reconcile`, after a look at your RunComfy Generations page; until "
            "then a run leaves it alone."
        )
    if found.hidden:
        click.echo(HIDDEN)


HIDDEN = """\
A damaged line names no job for certain. It may have been the only line of a purchase: of a job that now looks new, or
of a newer version of one that is done. A run would buy that once more. Before the next run compare
`runner plan --jobs` with the Generations page of your RunComfy account. Jobs that had failed, were cancelled or were
refused are held."""


def _damage(damage: Damage) -> str:
    fragment = damage.fragment
    request = f", request {fragment.request_id}" if fragment.request_id else ""
    number = f" purchase {fragment.purchase}" if fragment.purchase else ""
    name = f"names {fragment.id[:MAX_NAME]}{number}{request}" if fragment.id else f"names no job{request}"
    return f"{fragment.size:,} bytes; {name}" + ("" if damage.named or not fragment.id else ", which may be garbled")
