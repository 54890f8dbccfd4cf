"""``runner verify``: compare files with the results; repair files or the results log."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from runner.cli.arguments import (
    Choice,
    api_options,
    choice_options,
    known_folder,
    known_ids,
    known_manifest,
    manifest_argument,
    place_options,
    readable_folder,
)
from runner.cli.command_help import Command
from runner.cli.console import echo, say
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
from runner.manifest import Manifest
from runner.planning.selection import selected_ids

SHOWN = 50
"""Findings of a kind that are printed; ``--json`` has all of them."""
MAX_NAME = 300
"""Characters of an id from a damaged line that are printed."""


@click.command("verify", cls=Command, page="exit-codes")
@manifest_argument
@place_options
@choice_options
@api_options
@click.option("--repair", is_flag=True, help="Repair files from local copies or the API; buy nothing.")
@click.option("--repair-log", is_flag=True, help="Repair a damaged results log.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output.")
def command(
    manifest: str,
    output: Path | None,
    emulator: bool,
    choice: Choice,
    api: str | None,
    same_api_as: str | None,
    repair: bool,
    repair_log: bool,
    as_json: bool,
) -> int:
    """Verify every file of MANIFEST's output against the results log, and report missing, altered, truncated, swapped
    and foreign files.

    Without --repair or --repair-log, nothing is changed. Exits with 0 if every file is right, else with 1; --repair-log
    exits with 2 if purchases have to be resolved with `runner reconcile`. MANIFEST may also be the output folder.

    \b
    Examples:
      runner verify output/spring
      runner verify output/spring --repair
      runner verify output/spring --only 'mug-*'
    """
    if repair and repair_log:
        raise UsageError("--repair and --repair-log are two steps: run with --repair-log first, then with --repair")
    if repair_log and choice != Choice():
        raise UsageError("--repair-log repairs the whole results log; leave out --only, --only-from and --failed")
    options = RunOptions(emulator=emulator, api=api, same_api_as=same_api_as)
    chosen = choice.filter()
    find = known_folder if repair or repair_log else readable_folder
    folder = find(manifest, output, emulator=emulator)
    if repair_log:
        return _mend(folder, options, as_json=as_json)
    with open_reader(folder.root) as ledger:
        selected = selected_ids(chosen, ledger, known_ids(manifest, emulator=emulator))
    if not repair:
        return _verify(folder, selected, as_json=as_json)
    return _repair(folder, options, known_manifest(manifest, emulator=emulator), selected, as_json=as_json)


def _verify(folder: Folder, selected: Callable[[str], bool] | None, *, as_json: bool) -> int:
    with open_reader(folder.root) as ledger:
        found = check(ledger, folder, selected)
    busy = holders(look(folder.root))
    if found.wrong and busy:
        say(
            f"runner: in use by {'; '.join(busy)}, which changes files; verify again after that run",
            err=True,
        )
    _tell(found, folder, {}, as_json=as_json)
    if any(finding.kind is not FindingKind.FOREIGN for finding in found.wrong):
        say("runner: `runner verify --repair` repairs these files at no cost, as far as they are available", err=True)
    return 1 if found.wrong else 0


def _repair(
    folder: Folder,
    options: RunOptions,
    manifest: Manifest | None,
    selected: Callable[[str], bool] | None,
    *,
    as_json: bool,
) -> int:
    done = run_loop(lambda: _restore(folder, options, manifest, selected))
    extra = {"repaired": done.repaired, "kept": done.kept, "failed": done.failed}
    _tell(done.after, folder, extra, as_json=as_json)
    if done.interrupted:
        say("runner: interrupted; run the same command again to continue", err=True)
        return 75
    return 1 if done.after.wrong else 0


async def _restore(
    folder: Folder, options: RunOptions, manifest: Manifest | None, selected: Callable[[str], bool] | None
) -> RepairResult:
    watch = make_plain_display()
    from runner.engine.operations import repair  # noqa: PLC0415 - the HTTP client is slow to import, and checking does not need it

    return await attend(
        lambda stop: repair(folder, options, manifest=manifest, selected=selected, observer=watch.count, stop=stop),
        watch,
    )


def _tell(found: VerifyReport, folder: Folder, extra: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        echo(json.dumps({**found.as_json(), "output": str(folder.root), **extra}))
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
        return ": not in the results log"
    whose = f" ({finding.id}, purchase {finding.purchase})"
    if finding.copy:
        whose = f"{whose}: a copy; `runner copies MANIFEST` makes it again"
    if finding.note is not None:
        return f"{whose}: {finding.note}"
    if finding.belongs_to is not None:
        return f"{whose}: contains {finding.belongs_to.path} ({finding.belongs_to.id})"
    if finding.actual is None or finding.expected is None:
        return whose
    return f"{whose}: {_stand(finding.actual)} instead of {_stand(finding.expected)}"


def _stand(stand: FileCondition) -> str:
    return f"{stand.bytes:,} bytes {stand.sha256[:12]}…"


def _mend(folder: Folder, options: RunOptions, *, as_json: bool) -> int:
    from runner.engine.operations import repair_log  # noqa: PLC0415 - the HTTP client is slow to import, and checking does not need it

    mended = repair_log(folder, options)
    if as_json:
        echo(json.dumps(_log_as_json(mended)))
    for log in () if as_json else mended:
        if log.copy is None:
            say(f"{log.path}: the results log is intact: {log.found.kept:,} lines; nothing was changed")
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
    say(f"kept     {found.kept:,} lines; a copy of the damaged file is {copy}")
    for damage in found.damages[:SHOWN]:
        say(f"removed  line {damage.line}: {_damage(damage)}")
    if len(found.damages) > SHOWN:
        say(f"         … and {len(found.damages) - SHOWN:,} more")
    for record in found.held:
        request = f", request {record.request_id}" if record.request_id else ""
        state = "paid, not downloaded yet" if record.owed else "unknown outcome, not bought again"
        say(f"on hold  {record.id} (purchase {record.purchase}{request}): {state}")
    if any(not record.owed for record in found.held):
        say(
            "Resolve unknown purchases with `runner reconcile`, after a look at RunComfy's Generations page. Until "
            "then they stay on hold."
        )
    if found.hidden:
        echo(HIDDEN)


HIDDEN = """\
A damaged line does not name its job with certainty. It may have been the only line of a purchase, so that a run would
buy that job a second time. Before the next run, compare `runner plan --jobs` with RunComfy's Generations page. Jobs
that had failed, were cancelled or were refused are on hold."""


def _damage(damage: Damage) -> str:
    fragment = damage.fragment
    request = f", request {fragment.request_id}" if fragment.request_id else ""
    number = f" purchase {fragment.purchase}" if fragment.purchase else ""
    name = f"names {fragment.id[:MAX_NAME]}{number}{request}" if fragment.id else f"names no job{request}"
    return f"{fragment.size:,} bytes; {name}" + ("" if damage.named or not fragment.id else " (may be incorrect)")
