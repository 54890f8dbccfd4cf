"""Reference tables of the guide, made from the code."""

from __future__ import annotations

from typing import Any


def key_table(properties: dict[str, Any]) -> str:
    """A Markdown table of the keys of a manifest, with the descriptions that editors show."""
    rows = [f"| `{name}` | {_escaped(rule['description'])} |" for name, rule in properties.items()]
    return "\n".join(["| key | meaning |", "| --- | --- |", *rows])


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
