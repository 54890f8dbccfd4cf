"""``runner init``: a commented manifest to start from."""

from __future__ import annotations

import json
import re
import shlex
from importlib.resources import files
from pathlib import Path

import click

from runner.cli.command_help import Command
from runner.cli.console import say
from runner.core.errors import OutputError, UsageError
from runner.manifest import check_id

DEFAULT = "batch.yaml"
PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off)$)[A-Za-z][A-Za-z0-9_-]+")
"""Names that YAML reads as text without quotes."""


@click.command("init", cls=Command, page="manifest")
@click.argument("name", default=DEFAULT)
def command(name: str) -> int:
    """Write a commented manifest to start from, as NAME.yaml (default: batch.yaml).

    The manifest runs unchanged. An existing file is never overwritten.

    \b
    Examples:
      runner init
      runner init jobs/spring
    """
    path = Path(name if Path(name).suffix in (".yaml", ".yml") else f"{name}.yaml")
    _write(path, _starter(path.stem))
    typed = shlex.quote(str(path))
    say(f"{path} written: a manifest with three pictures. Next:")
    say(f"  runner run {typed} --emulator   # try it at no cost")
    say(f"  runner plan {typed}             # show what a run would buy, and the price")
    return 0


def _starter(name: str) -> bytes:
    """Return the starter manifest with a ``name``, so that renaming the file does not change the output folder.

    The line of ``name`` is left out if ``name`` is not a valid id.
    """
    text = files("runner.cli.commands").joinpath("starter.yaml").read_text(encoding="utf-8")
    written = name if PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)
    line = "" if check_id(name) else f"name: {written}  # of the output folder; keep it when you rename this file\n"
    return text.replace("name: NAME\n", line).encode()


def _write(path: Path, text: bytes) -> None:
    """Create ``path``. Raises ``UsageError`` if ``path`` exists, ``OutputError`` if it cannot be written."""
    if path.exists():
        raise UsageError(f"{path} exists already and was not changed; give another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
