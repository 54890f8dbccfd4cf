"""The bytes that a fingerprint is a hash of: they stand in users' records, and never change."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.core.models import Json
from runner.manifest import fingerprint

TEXTS = st.text(
    st.characters(exclude_categories=("Cs",))
    | st.sampled_from("\x00\b\t\n\f\r\x1f\"\\/\x7f\x80\u2028\u2029\ud7ff\ufeff\uffff\U00010000\U0010ffff<&'")
)
PLAIN = TEXTS | st.integers() | st.integers(-(2**63), 2**64 - 1) | st.booleans() | st.none()
VALUES = st.recursive(
    PLAIN | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


def whole(value: Any) -> Any:
    """``value`` with its whole numbers as integers, as far as a float is exact."""
    if isinstance(value, dict):
        return {name: whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def expected(model: str, inputs: dict[str, Json]) -> str:
    text = json.dumps(
        {"inputs": whole(inputs), "model": model}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@given(TEXTS, st.dictionaries(TEXTS, PLAIN))
@example("a/b", {"": 0, "b": 1, "a": "\x7f\u2028\x1f", "aa": True, "\uffff": -(2**63), "\U00010000": 2**64 - 1})
def test_plain_inputs_are_hashed_as_canonical_json(model: str, inputs: dict[str, Json]) -> None:
    """Text, whole numbers and words: what is written in a quicker way has the same bytes, any character, any key."""
    assert fingerprint(model, inputs) == expected(model, inputs)


@given(TEXTS, st.dictionaries(TEXTS, VALUES))
def test_any_inputs_are_hashed_as_canonical_json(model: str, inputs: dict[str, Json]) -> None:
    """Fractions, lists and mappings among them make no other JSON of the rest."""
    assert fingerprint(model, inputs) == expected(model, inputs)


@pytest.mark.parametrize("inputs", [{"prompt": "\ud800"}, {"\udfff": 1}, {"prompt": "\ud800", "strength": 0.5}])
def test_a_lone_surrogate_has_no_bytes(inputs: dict[str, Json]) -> None:
    """Whichever way the inputs are written, it fails alike."""
    with pytest.raises(UnicodeEncodeError):
        fingerprint("a/b", inputs)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_json_cannot_say_has_no_fingerprint(value: float) -> None:
    """No bytes are better than bytes that nobody else would hash."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        fingerprint("a/b", {"strength": value})
