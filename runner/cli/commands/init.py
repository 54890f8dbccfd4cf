"""``runner init``: a manifest to start from."""

from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path

import click

from runner.core.errors import OutputError, UsageError

DEFAULT = "batch.yaml"


@click.command("init")
@click.argument("name", default=DEFAULT)
def command(name: str) -> int:
    """Write a commented manifest to start from: NAME, `.yaml` added where it has no ending, else batch.yaml.

    It runs as it is. A file that is there already is left alone.

    \b
    Examples:
      runner init
      runner init jobs/spring
    """
    path = Path(name if Path(name).suffix in (".yaml", ".yml") else f"{name}.yaml")
    _write(path, files("runner.cli.commands").joinpath("starter.yaml").read_bytes())
    typed = shlex.quote(str(path))
    click.echo(f"{path} is written: three pictures. Next:")
    click.echo(f"  runner run {typed} --emulator   # try it, nothing is paid")
    click.echo(f"  runner plan {typed}             # what it would buy, and for how much")
    return 0


def _write(path: Path, text: bytes) -> None:
    """Create ``path``. Raises ``UsageError`` if something is there, ``OutputError`` if it cannot be."""
    if path.exists():
        raise UsageError(f"{path} is there already, and was left as it is; give another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
