"""``runner schema``: the JSON Schema of the manifest, for editors."""

from __future__ import annotations

import click

from runner.manifest.editor_schema.schema import schema_text


@click.command("schema")
def command() -> int:
    """Print the JSON Schema of the manifest, for editors: completion, help on hover, faults underlined as you type.

    A manifest whose first line is `# yaml-language-server: $schema=manifest.schema.json` is checked against the file of
    that name beside it, by VS Code with the YAML extension and by any editor that speaks to the YAML language server.
    Some faults no schema can tell: `runner plan` has the last word.

    \b
    Example:
      runner schema > manifest.schema.json
    """
    click.echo(schema_text(), nl=False)
    return 0
