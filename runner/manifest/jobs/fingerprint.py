"""Fingerprint of a purchase: equal for equal models and inputs, in any notation."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from runner.core.local_inputs import is_reference, parse_reference
from runner.manifest.nodes import Scalar, Style
from runner.manifest.problems import Invalid
from runner.manifest.yaml.scalars import json_value

if TYPE_CHECKING:
    from collections.abc import Collection

    from runner.core.models import Json

_canonical: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_EXACT: Final = 2**53

_canonical_of_plain: Final = msgspec.json.Encoder(order="sorted").encode
_PLAIN: Final = frozenset((str, int, bool, type(None)))
"""Types that both encoders write alike; floats are not among them."""


def fingerprint(model: str, inputs: dict[str, Json], local: Collection[str] = ()) -> str:
    """Return ``sha256:`` and the hex digest of ``{"inputs":…,"model":…}`` as canonical JSON.

    Keys are sorted, there are no blanks, the text is UTF-8, and a number without a fraction is an integer. ``local``
    are the names of inputs with references to files: ``{"sha256":…}`` stands for each, without its path.
    """
    if local:
        inputs = {**inputs, **{name: _without_path(inputs[name]) for name in local}}
    if _PLAIN.issuperset(map(type, inputs.values())):
        data = _canonical_of_plain({"inputs": inputs, "model": model})
    else:
        data = _canonical({"inputs": _normal(inputs), "model": model}).encode()
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _without_path(value: Json) -> Json:
    if isinstance(value, list):
        return [_without_path(item) for item in value]
    return {"sha256": parse_reference(value)[1]} if is_reference(value) else value


def spelling(model: str, inputs: dict[str, Json]) -> str:
    """Return a fingerprint that is equal for inputs written alike, whether or not a schema makes ``12`` a text."""
    return fingerprint(model, _reread(inputs))


def _reread(value: Any) -> Any:
    """Return ``value`` with every text read as if no schema said its type."""
    if isinstance(value, dict):
        return {name: _reread(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_reread(item) for item in value]
    if not isinstance(value, str):
        return value
    try:
        read = json_value(Scalar(0, 0, value.strip(), Style.PLAIN))
    except Invalid:
        return value
    return value if isinstance(read, str) else read


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _normal(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value
