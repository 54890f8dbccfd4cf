"""The rules of the house: who may know whom, how long a function may be, what the package offers."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import runner
from runner.cli.main import COMMANDS
from runner.core.models import State

ROOT = Path(runner.__file__).parent

LAYERS = (
    ("cli",),
    ("report", "cluster"),
    ("engine",),
    ("planning",),
    ("manifest", "ledger", "api", "files"),
    ("core",),
)
"""The packages from the top. A module imports from its own package and from packages of the layers below."""

HEIGHT = {package: len(LAYERS) - number for number, layer in enumerate(LAYERS) for package in layer}
STARTS_EMULATOR = {"runner.engine.catalogue", "runner.engine.connection", "runner.cli.commands.emulator"}
WITHOUT_IO = ("core", "manifest", "planning", "engine.billing", "engine.pacing")
"""Packages of decisions and formats, apart from the modules in ``WITH_IO``."""
WITH_IO = {
    "runner.core.aio": "helpers for the event loop",
    "runner.core.http": "HTTP sessions",
    "runner.core.connections": "the connections of those",
    "runner.core.clock": "sleeping is a clock's work",
    "runner.engine.billing.budget": "workers wait in it for the bills of others",
    "runner.engine.pacing.throttle": "workers wait in it for their turn",
}
IO_LIBRARIES = {"aiohttp", "anyio", "aiofiles"}


@cache
def trees() -> dict[str, ast.Module]:
    """Return the syntax tree of each module by its name; parsed once, and only where a test asks."""
    paths = {path.relative_to(ROOT.parent).with_suffix(""): path for path in sorted(ROOT.rglob("*.py"))}
    return {
        ".".join(inside.parts).removesuffix(".__init__"): ast.parse(path.read_text(encoding="utf-8"))
        for inside, path in paths.items()
    }


def imports(name: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, nested and under TYPE_CHECKING included."""
    here = [*name.split("."), "__init__"] if (ROOT.parent / name.replace(".", "/")).is_dir() else name.split(".")
    for node in ast.walk(trees()[name]):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: -node.level] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                full = f"{source}.{alias.name}"
                yield node.lineno, full if full in trees() else source


def package_of(name: str) -> str:
    """``engine`` of ``runner.engine.steps.submit``; empty for ``runner`` itself and its entry point."""
    return name.split(".")[1] if name.count(".") and name != "runner.__main__" else ""


@cache
def our_imports() -> list[tuple[str, int, str]]:
    """Return module, line and target of every import of a module of ours."""
    return [
        (name, line, target)
        for name in trees()
        for line, target in imports(name)
        if target == "runner" or target.startswith("runner.")
    ]


def told(found: list[tuple[str, int, str]]) -> list[str]:
    return [f"{name}:{line} imports {target}" for name, line, target in found]


def test_every_package_has_its_layer() -> None:
    """A new package is given a layer before it is imported."""
    assert {package_of(name) for name in trees()} - {"", "emulator"} == set(HEIGHT)


def test_imports_point_down() -> None:
    """No package knows those above it or beside it, so each can be read without them."""
    wrong = [
        (name, line, target)
        for name, line, target in our_imports()
        if package_of(name) in HEIGHT and package_of(target) in HEIGHT and package_of(name) != package_of(target)
        if HEIGHT[package_of(target)] >= HEIGHT[package_of(name)]
    ]
    assert told(wrong) == []


def test_decisions_and_formats_do_no_io() -> None:
    """They are functions of values: no event loop, no sockets, no files read in the background."""
    inside = tuple(f"runner.{package}." for package in WITHOUT_IO)
    found = [
        (name, line, target)
        for name in trees()
        if name.startswith(inside) and name not in WITH_IO
        for line, target in imports(name)
        if target.partition(".")[0] in IO_LIBRARIES
    ]
    assert told(found) == []
    assert set(WITH_IO) <= set(trees())


def test_the_emulator_stands_apart() -> None:
    """It shares no code with the client it tests, and only the modules that start it import it."""
    inside = [
        (name, line, target)
        for name, line, target in our_imports()
        if package_of(name) == "emulator" and package_of(target) != "emulator"
    ]
    outside = {
        name for name, _, target in our_imports() if package_of(target) == "emulator" and package_of(name) != "emulator"
    }
    assert told(inside) == []
    assert outside <= STARTS_EMULATOR


def test_a_package_says_what_it_is_and_defines_nothing() -> None:
    """Each ``__init__`` holds a docstring and the names that the package offers."""
    allowed = (ast.Import, ast.ImportFrom)
    packages = {name: tree for name, tree in trees().items() if (ROOT.parent / name.replace(".", "/")).is_dir()}
    for name in sorted(set(packages) - {"runner"}):
        _, *rest = packages[name].body
        assert ast.get_docstring(packages[name]), name
        others = [ast.unparse(node) for node in rest if not isinstance(node, allowed)]
        assert [text for text in others if not text.startswith("__all__ = ")] == [], name


def test_no_two_modules_import_each_other() -> None:
    """There is no cycle to hide in a function, whatever the row."""
    edges: dict[str, set[str]] = {name: set() for name in trees()}
    for name, _, target in our_imports():
        if target != "runner" and name not in ("runner", target):
            edges[name].add(target)
    edges["runner.core.errors"].discard("runner.core.models")  # imported for the type checker only
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


def test_the_help_of_most_commands_loads_no_http_client() -> None:
    """``runner run --help`` and mistakes in its options are answered a third sooner without."""
    modules = [f"runner.cli.commands.{name}" for name in COMMANDS if name not in {"cancel", "emulator", "verify"}]
    code = f"import sys, importlib; [importlib.import_module(m) for m in {modules}]; print('aiohttp' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert printed.stdout.strip() == "False"


def test_no_function_is_longer_than_a_page() -> None:
    """What does one thing fits on a screen."""
    lengths = {
        f"{name}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > 60} == {}


def test_all_that_is_offered_is_listed_and_resolves() -> None:
    """``runner.__all__`` is the library: each name can be had, and no other is promised."""
    assert sorted(runner.__all__) == sorted(runner._HOME)
    assert sorted(runner.__all__) == list(runner.__all__)
    assert dir(runner) == list(runner.__all__)
    for name in runner.__all__:
        assert getattr(runner, name).__name__ == name
        assert getattr(runner, name).__module__.startswith(f"runner.{runner._HOME[name]}")


def test_what_the_type_checker_sees_is_what_is_offered() -> None:
    """Editors complete the same names that can be imported."""
    block = next(node for node in trees()["runner"].body if isinstance(node, ast.If))
    seen = {alias.name for node in ast.walk(block) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(runner.__all__)


def test_a_name_that_is_not_offered_is_not_there() -> None:
    """A misspelt name fails as it does anywhere."""
    with pytest.raises(AttributeError, match="no attribute 'Runner'"):
        _ = runner.Runner


PAGES = {name: (ROOT / "guide" / f"{name}.md").read_text(encoding="utf-8") for name in ("architecture", "ledger")}
"""Pages for people who change the code."""


def spans_of(page: str) -> list[str]:
    """Return what stands in backticks on a page, apart from the picture of the layers."""
    return re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL))


FILE = re.compile(r"(?P<path>[\w/-]+\.(?:py|md|html|json))(?:: (?P<name>\w+(?:\.\w+)?))?|(?P<folder>\w[\w/-]*/)")
"""``engine/stop.py``, ``engine/stop.py: Stop.wait`` or ``engine/steps/``."""
CLASS = re.compile(r"_?[A-Z]\w*[a-z]\w*(?:\.\w+)?")
"""``Stop`` or ``Stop.wait``, of a module that the page names elsewhere."""


def names_in(body: list[ast.stmt]) -> set[str]:
    """Classes, functions, fields and constants of a module or class, and ``Class.member`` of its classes."""
    found = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{member}" for member in names_in(node.body)}
    return found


@cache
def names_by_module() -> dict[str, set[str]]:
    return {name: names_in(tree.body) for name, tree in trees().items()}


def is_there(span: str) -> bool:
    """Whether the file, folder or name in ``span`` exists; of a class without its file, in one module only."""
    if match := FILE.fullmatch(span):
        path = match["path"] or match["folder"]
        there = ROOT.parent / path if path.startswith(("tests/", "jobs/", "runner/")) else ROOT / path
        module = ".".join(["runner", *Path(path).with_suffix("").parts])
        return there.exists() and (match["name"] is None or match["name"] in names_by_module()[module])
    return sum(span in names for names in names_by_module().values()) == 1


@pytest.mark.parametrize("page", sorted(PAGES))
def test_all_that_the_pages_about_the_code_name_exists(page: str) -> None:
    """A file or a function that is renamed is renamed on the page."""
    spans = spans_of(page)
    checked = [span for span in spans if FILE.fullmatch(span) or CLASS.fullmatch(span)]
    assert [span for span in checked if not is_there(span)] == []
    unchecked = [span for span in spans if span not in checked and re.search(r"\.py|\w\(|^[a-z_]+\.[a-z_]+$", span)]
    assert set(unchecked) == {"results.jsonl"}  # else a name is written in a way that this test does not see


def test_the_pages_about_the_code_name_every_package_and_state() -> None:
    """The picture has the layers that the imports are held to; no package and no state is left out."""
    picture = re.findall(r"```text\n(.*?)```", PAGES["architecture"], flags=re.DOTALL)[0]
    rows = (re.split(r" {4,}", line)[0].split() for line in picture.splitlines())
    assert tuple(map(tuple, rows)) == LAYERS
    inner = {path.parent.relative_to(ROOT).as_posix() for path in ROOT.rglob("__init__.py")} - {".", *HEIGHT}
    assert {f"{package}/" for package in inner} <= set(spans_of("architecture"))
    assert set(State) <= set(spans_of("architecture"))


QUESTIONS = {"What", "Whether", "Where", "How", "Which", "Who", "Why", "When"}


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring: of modules, classes, functions and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[:1] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else node.body
            for statement in body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    yield statement.lineno, str(statement.value.value)


def test_a_docstring_says_what_something_is_and_asks_no_question() -> None:
    """It begins with a noun phrase or a verb: "Return the fingerprint of …", not "What identifies …"."""
    begins = [
        f"{name}:{line}: {text[:60]}"
        for name, tree in trees().items()
        for line, text in docstrings(tree)
        if text.split()[0] in QUESTIONS
    ]
    assert begins == []


def test_a_docstring_names_files_and_functions_that_exist() -> None:
    """``core/copies.py: CopyFile`` leads somewhere."""
    names = {
        (name, span)
        for name, tree in trees().items()
        for _, text in docstrings(tree)
        for span in re.findall(r"``([\w/]+\.py(?:: [\w.]+)?)``", text)
    }
    assert len(names) > 3
    assert [f"{name}: {span}" for name, span in sorted(names) if not is_there(span)] == []
