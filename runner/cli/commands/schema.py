"""``runner schema``: the JSON Schema of the manifest, for editors."""

from __future__ import annotations

import click

from runner.cli.command_help import Command
from runner.cli.console import echo
from runner.manifest.editor_schema.schema import schema_text


@click.command("schema", cls=Command, page="manifest")
def command() -> int:
    """Print the JSON Schema of the manifest, for completion, help and checks in editors.

    Save the schema beside the manifest, and begin the manifest with this line:

    \b
      # yaml-language-server: $schema=manifest.schema.json

    VS Code with the YAML extension, and any editor with the YAML language server, then checks the manifest while you
    type. `runner plan` finds some problems that a schema cannot express.

    \b
    Example:
      runner schema > manifest.schema.json
    """
    echo(schema_text(), nl=False)
    return 0
