"""Answers inside other answers: what a gateway put around the API's own, as in ``{"data": {"request_id": …}}``.

They are looked for where an answer would else count as unreadable. What they say is used where it is unambiguous.
"""

from __future__ import annotations

from runner.api.fields import mend, parse_json, read_request_id
from runner.core.models import Json

MAX_VALUES = 10_000
"""Of one answer that are looked at."""
MAX_BYTES = 1 << 20
"""Of an answer that is looked through; a hostile one of many megabytes becomes hundreds of them as objects."""

_ERRORS = frozenset({"error", "errors", "detail", "details"})
"""What stands under these names often has an id of its own, of the failed call."""


def find_wrapped_id(body: bytes) -> str | None:
    """The only usable ``request_id`` in an answer, at any depth; None for none or several."""
    found = {read_request_id(value.get("request_id")) for value in _objects(body)} - {None}
    return found.pop() if len(found) == 1 else None


def find_wrapped_answer(body: bytes, request_id: str) -> dict[str, Json] | None:
    """The only object inside an answer that has the status of the request ``request_id``; None for none or several."""
    found = [
        value
        for value in _objects(body)
        if isinstance(value.get("status"), str) and read_request_id(value.get("request_id")) == request_id
    ]
    return found[0] if len(found) == 1 else None


def _objects(body: bytes) -> list[dict[str, Json]]:
    """All objects in the JSON of ``body``, also in its texts that are JSON themselves, but in those of errors.

    None where there is more than can be looked through: what is the only one there cannot be told.
    """
    found: list[dict[str, Json]] = []
    if len(body) > MAX_BYTES:
        return found
    rest = [parse_json(body) or parse_json(mend(body))]
    for _ in range(MAX_VALUES):
        if not rest:
            return found
        value = rest.pop()
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            value = parse_json(value.encode("utf-8", "replace"))
        if isinstance(value, dict):
            found.append(value)
            rest += [part for key, part in value.items() if key.lower() not in _ERRORS]
        elif isinstance(value, list):
            rest += value
    return []
