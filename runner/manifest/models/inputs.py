"""Inputs of one model: the type of each, defaults and ranges.

Schemas of some models are bundled. Other models have an ``Offer`` from a caller that can ask the catalogue.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from runner.manifest import nodes
from runner.manifest.models.file_inputs import addresses, check_address, choices, is_hosted, is_local, wanted_kind
from runner.manifest.models.schema import compiled
from runner.manifest.problems import Invalid, listing, nearest, shown
from runner.manifest.yaml.scalars import boolean, filled_text, integer, json_value, number, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import jsonschema_rs

    from runner.core.models import Json
    from runner.manifest.nodes import Node

MODEL: Final = re.compile(r"(?!.*(?:^|/)\.)[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")

_SCHEMAS: Final = Path(__file__).parent / "schemas"  # importing importlib.resources would add 2 % to every start

_CONVERTERS: Final[dict[str, Callable[[Node], Json]]] = {
    "string": text,
    "integer": integer,
    "number": number,
    "boolean": boolean,
}


def is_model_id(model: str) -> bool:
    """Tell whether ``model`` is a valid id of a model. The id becomes a part of the API's URLs."""
    return MODEL.fullmatch(model) is not None


def bundled_schema(model: str) -> dict[str, Any] | None:
    """Return the bundled input schema of ``model``; None: there is none."""
    file = _SCHEMAS / f"{model.replace('/', '--')}.json"
    if not is_model_id(model) or not file.is_file():
        return None
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


@cache
def bundled_models() -> tuple[str, ...]:
    """Return the models with a bundled input schema."""
    return tuple(sorted(file.stem.replace("--", "/") for file in _SCHEMAS.glob("*.json")))


class ModelInputs:
    """Inputs of one model according to its schema.

    Without a schema, the type of a value follows from its notation, as in JSON.
    """

    def __init__(self, model: str, schema: dict[str, Any] | None, *, fills: bool = True) -> None:
        """Compile ``schema``. Raises ``Invalid`` if it is no valid schema.

        ``fills``: missing inputs get the schema's defaults. The defaults of a live schema are not sent, because they
        may change overnight without a change here.
        """
        self.model = model
        self.known: dict[str, Any] | None = None if schema is None else schema.get("properties", {})
        self.required: tuple[str, ...] = () if schema is None else tuple(schema.get("required", ()))
        self.live = schema is not None and not fills
        known = self.known or {}
        self.defaults: dict[str, Json] = {n: p["default"] for n, p in known.items() if fills and "default" in p}
        self._open = schema is None or _takes_others(schema)
        self._validator = None if schema is None else compiled(schema)
        self.file_kinds = {name: wanted_kind(name, rule) for name, rule in known.items() if is_hosted(name, rule)}
        """Inputs that are files: the kind of file that each takes; None: any."""
        self._converters = {name: _converter(name, known.get(name, {})) for name in {"prompt", *known}}

    def merged(self, own: dict[str, Json], defaults: dict[str, Json]) -> dict[str, Json]:
        """Return ``own``, completed by ``defaults`` and the schema's own defaults; in the schema's order, if any."""
        values = {**self.defaults, **defaults, **own}
        merged = {name: values[name] for name in self.known or () if name in values}
        return merged if len(merged) == len(values) else {**merged, **own, **values}

    def converter(self, name: str) -> Callable[[Node], Json]:
        """Return the function that converts a node to the value of the input ``name``, or raises ``Invalid``."""
        return self._converters.get(name, json_value)

    def knows(self, name: str) -> bool:
        """Tell whether the model may take an input with this name."""
        return self._open or self.names(name)

    def names(self, name: str) -> bool:
        """Tell whether the schema itself has an input with this name."""
        return self.known is not None and name in self.known

    @property
    def takes_size(self) -> bool:
        return self.known is None or (self.names("width") and self.names("height"))

    def text_names(self, inputs: dict[str, Json]) -> Iterator[str]:
        """Yield the names of the inputs that are texts: ``prompt`` first, the others sorted.

        The order does not depend on the manifest.
        """
        for name in sorted(inputs, key=lambda name: (name != "prompt", name)):
            if isinstance(inputs[name], str):
                yield name

    def faults(self, inputs: dict[str, Json], *, paths: bool = False) -> list[tuple[str, str, str]]:
        """Return the values that the schema rejects: name of the input, problem, advice.

        ``paths``: inputs that are files may be paths, which the caller checks.
        """
        found: list[tuple[str, str, str]] = []
        if self._validator is not None and not self._validator.is_valid(inputs):
            found = [self._fault(error) for error in self._validator.iter_errors(inputs)]
        return found + list(self._misplaced(inputs, paths=paths)) if self.file_kinds else found

    def _misplaced(self, inputs: dict[str, Json], *, paths: bool) -> Iterator[tuple[str, str, str]]:
        """Yield the addresses that the service cannot download from."""
        for name in self.file_kinds:
            for address in addresses(inputs.get(name)):
                if paths and is_local(address):
                    continue
                try:
                    check_address(address)
                except Invalid as wrong:
                    yield name, f"`{name}` {wrong.what}", wrong.advice

    def _fault(self, error: jsonschema_rs.ValidationError) -> tuple[str, str, str]:
        kind: Any = error.kind
        if kind.name == "required" and not error.instance_path:
            return kind.property, f"`{kind.property}` is missing", f"the model {self.model} needs it"
        if kind.name == "additionalProperties" and not error.instance_path:
            name = kind.unexpected[0]
            return name, f"{shown(name)} is not an input of {self.model}", nearest(name, self.known or ())
        name = str(error.instance_path[0]) if error.instance_path else ""
        bounds = self._range(name)
        if len(error.instance_path) == 1 and kind.name in ("minimum", "maximum") and bounds:
            return name, f"`{name}` is {error.instance}; the model takes {bounds}", ""
        if kind.name == "enum":
            options = [shown(str(option), 200)[1:-1] for option in kind.options]
            what = f"`{name}` is {shown(str(error.instance))}; the model takes {listing(options)}"
            return name, what, nearest(str(error.instance), options)
        return name, f"{f'`{name}`' if name else 'the inputs'}: {shown(error.message, 200)[1:-1]}", ""

    def _range(self, name: str) -> str:
        """Return the range of an input as text. The text is empty if the schema itself gives no bounds."""
        schema = (self.known or {}).get(name, {})
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is None and high is None:
            return ""
        if low is None or high is None:
            return f"at least {low}" if high is None else f"at most {high}"
        return f"{low} to {high}"


def _takes_others(schema: dict[str, Any]) -> bool:
    """Tell whether a schema explicitly allows inputs that it does not name."""
    return schema.get("additionalProperties", False) is not False or "patternProperties" in schema


def _converter(name: str, rule: dict[str, Any]) -> Callable[[Node], Json]:
    kinds = {kind for choice in choices(rule) for kind in _kinds(choice)} - {"null"}
    if name == "prompt" and kinds <= {"string"}:
        return filled_text
    return _CONVERTERS.get(kinds.pop(), json_value) if len(kinds) == 1 else json_value


def _kinds(rule: dict[str, Any]) -> list[str]:
    wanted = rule.get("type", [])
    return wanted if isinstance(wanted, list) else [wanted]


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """Knowledge of one model's inputs."""

    schema: object = None
    """JSON Schema, unchecked; None: no schema is known."""
    note: str = ""
    """Note for the user: the reason that there is no schema, or its age."""
    missing: bool = False
    """True if the catalogue answered that the model does not exist."""
    ids: tuple[str, ...] = ()
    """Ids of existing models, as far as the catalogue lists them."""


Offers = Callable[[Sequence[str]], Mapping[str, Offer]]
"""Function that returns an offer for each of the given models. Models that it leaves out are unknown."""


def ask(root: nodes.Mapping, offers: Offers | None) -> dict[str, Offer]:
    """Return the offers for the models that ``root`` names and that have no bundled schema."""
    named = sorted(set(_named(root)) - set(bundled_models()))
    return dict(offers(named)) if offers is not None and named else {}


def _named(root: nodes.Mapping) -> Iterator[str]:
    jobs = root.items["jobs"][1] if "jobs" in root.items else None
    for entry in [root, *(jobs.items if isinstance(jobs, nodes.Sequence) else ())]:
        if isinstance(entry, nodes.Mapping) and "model" in entry.items:
            node = entry.items["model"][1]
            if isinstance(node, nodes.Scalar) and is_model_id(node.text):
                yield node.text
