"""A manifest as an editor sees it: YAML 1.2's core schema decides types, and no place does."""

from __future__ import annotations

import re
from typing import Any

import yaml


class Core(yaml.SafeLoader):
    """The core schema of YAML 1.2, whose keys are texts."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as the base class has it

    def mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        return {str(key.value): self.construct_object(value, deep=True) for key, value in node.value}

    def whole(self, node: yaml.ScalarNode) -> int:
        text = str(node.value)
        base = {"0x": 16, "0o": 8}.get(text[:2], 10)
        return int(text[2:] if base != 10 else text, base)

    def fraction(self, node: yaml.ScalarNode) -> float:
        return float(str(node.value))


RESOLVED = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?",
}
for kind, pattern in RESOLVED.items():
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(rf"(?:{pattern})\Z"), None)
Core.add_constructor("tag:yaml.org,2002:map", Core.mapping)
Core.add_constructor("tag:yaml.org,2002:int", Core.whole)
Core.add_constructor("tag:yaml.org,2002:float", Core.fraction)


def as_an_editor_reads(text: str) -> Any:
    """Raises ``yaml.YAMLError``."""
    return yaml.load(text, Core)
