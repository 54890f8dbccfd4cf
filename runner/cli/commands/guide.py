"""``runner guide``: pages of the manual, offline."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from pathlib import Path

import click

import runner
from runner.cli.console import echo
from runner.core.errors import UsageError

PAGES = Path(runner.__file__).parent / "guide"


@click.command("guide")
@click.argument("topic", metavar="[TOPIC]", required=False)
def command(topic: str | None) -> int:
    """Print a page of the manual, or list its topics.

    \b
    Examples:
      runner guide
      runner guide concurrency
    """
    pages = {path.stem: path for path in sorted(PAGES.glob("*.md"))}
    if topic is None:
        _list(pages)
        return 0
    if topic not in pages:
        near = get_close_matches(topic, pages, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"topics: {', '.join(pages)}"
        raise UsageError(f"the guide has no page `{topic}`; {hint}")
    _show(pages[topic].read_text(encoding="utf-8"))
    return 0


def _list(pages: dict[str, Path]) -> None:
    """Print each topic with the title of its page."""
    echo("runner guide TOPIC prints a page:")
    width = max(map(len, pages))
    for topic, path in pages.items():
        with path.open(encoding="utf-8") as lines:
            title = lines.readline().lstrip("# ").rstrip()
        echo(f"  {topic:<{width}}  {title}")


def _show(text: str) -> None:
    """Print a page: rendered at a terminal, as Markdown elsewhere."""
    if not sys.stdout.isatty():
        echo(text, nl=False)
        return
    from rich.console import Console  # noqa: PLC0415 - importing rich takes 0.1 s
    from rich.markdown import Markdown  # noqa: PLC0415 - a part of rich

    console = Console()
    console.print(Markdown(text), width=min(console.width, 100))
