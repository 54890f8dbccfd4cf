"""The rules of the house: who may know whom, how long a function may be, what the package offers."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import runner

ROOT = Path(runner.__file__).parent

ROWS = [
    {"runner.cli.main", "runner.__main__"},
    {
        "runner.cli.commands",
        "runner.cli.arguments",
        "runner.cli.execute",
        "runner.cli.console",
        "runner.cli.display",
        "runner.cli.hook",
    },
    {"runner.cluster"},
    {
        "runner.engine.operations",
        "runner.engine.catalogue",
        "runner.engine.options",
        "runner.engine.maintenance.reconcile",
        "runner.engine.forecast",
    },
    {
        "runner.engine.batch",
        "runner.engine.tally",
        "runner.engine.maintenance.cancel",
        "runner.engine.pipeline",
        "runner.engine.redo",
        "runner.planning.selection",
        "runner.planning.survey",
        "runner.planning.planner",
        "runner.planning.renames",
        "runner.engine.scheduler",
        "runner.engine.steps",
        "runner.engine.maintenance.verify",
        "runner.engine.maintenance.repair_files",
    },
    {
        "runner.api.client",
        "runner.files",
        "runner.planning.conflicts",
        "runner.ledger",
        "runner.report",
        "runner.engine.pacing.throttle",
        "runner.engine.billing.budget",
        "runner.engine.stop",
        "runner.core.http",
        "runner.engine.cache",
        "runner.core.loop",
        "runner.core.aio",
    },
    {
        "runner.planning.rules",
        "runner.engine.pacing.pace",
        "runner.engine.pacing.polling",
        "runner.engine.pacing.durations",
        "runner.engine.pacing.drain",
        "runner.engine.pacing.concurrency",
        "runner.engine.billing.costs",
        "runner.engine.maintenance.questions",
        "runner.engine.summary",
        "runner.cli.display.progress",
        "runner.cli.display.events",
        "runner.cli.words",
        "runner.cli.display.summary",
        "runner.engine.billing.receipts",
        "runner.engine.billing.shares",
    },
    {
        "runner.manifest",
        "runner.api.config",
        "runner.api.responses",
        "runner.api.fields",
        "runner.ledger.records",
        "runner.cli.spreadsheet",
    },
    {
        "runner.core.models",
        "runner.core.errors",
        "runner.core.text",
        "runner.core.clock",
        "runner.core.compact",
        "runner.core.disk",
        "runner.core.formats",
        "runner.core.shards",
    },
]
"""From the top; a module imports from its own row and those below."""

APART = [
    {"runner.engine.scheduler", "runner.engine.steps"},
    {"runner.api.client", "runner.files", "runner.ledger", "runner.report"},
]
"""These never import one another."""

PURE = set().union(*ROWS[-3:])
IO_LIBRARIES = {"aiohttp", "anyio", "aiofiles"}
RANK = {part: len(ROWS) - number for number, row in enumerate(ROWS) for part in row}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
        yield name, ast.parse(path.read_text(encoding="utf-8"))


TREES = dict(modules())


def imports(name: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, nested and under TYPE_CHECKING included."""
    here = [*name.split("."), "__init__"] if (ROOT.parent / name.replace(".", "/")).is_dir() else name.split(".")
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: -node.level] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                full = f"{source}.{alias.name}"
                yield node.lineno, full if full in TREES else source


def part_of(name: str) -> str:
    """The longest entry of ``ROWS`` that ``name`` is or lies in; else its first package below ``runner``."""
    parts = name.split(".")
    above = [".".join(parts[:length]) for length in range(len(parts), 1, -1)]
    return next((part for part in above if part in RANK), ".".join(parts[:2]))


OURS = [
    (name, line, target)
    for name in TREES
    for line, target in imports(name)
    if target == "runner" or target.startswith("runner.")
]


def told(found: list[tuple[str, int, str]]) -> list[str]:
    return [f"{name}:{line} imports {target}" for name, line, target in found]


def test_every_module_has_its_place() -> None:
    """A new module is given a row before it is imported."""
    modules = {name for name in TREES if not (ROOT.parent / name.replace(".", "/")).is_dir()}
    assert {part_of(name) for name in modules} - {"runner.emulator"} - set(RANK) == set()


def test_imports_point_down_only() -> None:
    """Decisions know nothing of sockets, steps nothing of commands: each layer can be read without those above."""
    upward = [
        (name, line, target)
        for name, line, target in OURS
        if part_of(name) in RANK and part_of(target) in RANK and RANK[part_of(target)] > RANK[part_of(name)]
    ]
    assert told(upward) == []


def test_neighbours_that_must_not_meet_do_not() -> None:
    """The lanes know no step, and what touches the outside is joined only by the steps."""
    met = [
        (name, line, target)
        for name, line, target in OURS
        for group in APART
        if {part_of(name), part_of(target)} <= group and part_of(name) != part_of(target)
    ]
    assert told(met) == []


def test_the_bottom_rows_do_no_io() -> None:
    """Decisions and formats are functions of values: no event loop, no sockets, no async files."""
    found = [
        (name, line, target)
        for name in TREES
        if part_of(name) in PURE
        for line, target in imports(name)
        if target.partition(".")[0] in IO_LIBRARIES
    ]
    assert told(found) == []


def test_the_emulator_stands_apart() -> None:
    """It shares no code with the client it tests, and only ``app`` and its own command start it."""
    inside = [
        (name, line, target)
        for name, line, target in OURS
        if part_of(name) == "runner.emulator" and part_of(target) != "runner.emulator"
    ]
    outside = {
        name for name, _, target in OURS if part_of(target) == "runner.emulator" and part_of(name) != "runner.emulator"
    }
    assert told(inside) == []
    assert outside <= {"runner.engine.operations", "runner.cli.commands.emulator"}


def test_no_two_modules_import_each_other() -> None:
    """There is no cycle to hide in a function, whatever the row."""
    edges: dict[str, set[str]] = {name: set() for name in TREES}
    for name, _, target in OURS:
        if target != "runner" and name not in ("runner", target):
            edges[name].add(target)
    edges["runner.core.errors"].discard("runner.core.models")  # for the type checker's eyes only
    done: set[str] = set()
    while ready := {name for name, targets in edges.items() if name not in done and targets <= done}:
        done |= ready
    assert sorted(set(edges) - done) == []


def test_the_package_imports_nothing_of_its_own_at_once() -> None:
    """``runner --help`` starts without the HTTP stack, the manifest reader or the emulator."""
    code = (
        "import sys, runner; print([name for name in sys.modules if name.startswith(('runner.', 'aiohttp', 'anyio'))])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert printed.stdout.strip() == "[]"


def test_help_loads_nothing_but_what_prints_it() -> None:
    """``runner --help`` answers at once: no verb, no value of a batch, no library but the command line's."""
    code = (
        "import sys; from runner.cli.main import main; sys.argv = ['runner', '--help']; main();"
        "print(sorted(n for n, m in sys.modules.items() if n.startswith('runner.') and not hasattr(m, '__path__')),"
        "sorted({'msgspec', 'asyncio', 'yaml', 'aiohttp', 'rich'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    needed = ["runner.core.text", "runner.cli.main", "runner.cli.console", "runner.core.errors"]
    assert printed.stdout.splitlines()[-1] == f"{sorted(needed)} []"


FUNCTIONS = {
    f"{name}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
    for name, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
}


def test_no_function_is_longer_than_a_page() -> None:
    """What does one thing fits on a screen."""
    assert {name: length for name, length in FUNCTIONS.items() if length > 60} == {}


def test_all_that_is_offered_is_listed_and_resolves() -> None:
    """``runner.__all__`` is the library: each name can be had, and no other is promised."""
    assert sorted(runner.__all__) == sorted(runner._HOME)
    assert sorted(runner.__all__) == list(runner.__all__)
    for name in runner.__all__:
        assert getattr(runner, name).__name__ == name
        assert getattr(runner, name).__module__.startswith(f"runner.{runner._HOME[name]}")


def test_what_the_type_checker_sees_is_what_is_offered() -> None:
    """Editors complete the same names that can be imported."""
    block = next(node for node in TREES["runner"].body if isinstance(node, ast.If))
    seen = {alias.name for node in ast.walk(block) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(runner.__all__)


def test_a_name_that_is_not_offered_is_not_there() -> None:
    """A misspelt name fails as it does anywhere."""
    with pytest.raises(AttributeError, match="no attribute 'Runner'"):
        _ = runner.Runner
