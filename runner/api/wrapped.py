"""Answers inside other answers: a gateway may wrap the API's own answer, as in ``{"data": {"request_id": …}}``.

They are searched only if an answer would otherwise be unreadable, and used only if the result is unambiguous.
"""

from __future__ import annotations

from runner.api.fields import mend, parse_json, read_request_id
from runner.core.models import Json

MAX_VALUES = 10_000
"""Values of one answer that are searched."""
MAX_BYTES = 1 << 20
"""Bytes of an answer that is searched. Many megabytes of a hostile one become hundreds of megabytes of objects."""

_ERRORS = frozenset({"error", "errors", "detail", "details"})
"""Keys whose values often have an id of their own, that of the failed call."""


def find_wrapped_id(body: bytes) -> str | None:
    """Return the only usable ``request_id`` in an answer, at any depth; None: there is none, or several."""
    found = {read_request_id(value.get("request_id")) for value in _objects(body)} - {None}
    return found.pop() if len(found) == 1 else None


def find_wrapped_answer(body: bytes, request_id: str) -> dict[str, Json] | None:
    """Return the only object in an answer that has the status of ``request_id``; None: there is none, or several."""
    found = [
        value
        for value in _objects(body)
        if isinstance(value.get("status"), str) and read_request_id(value.get("request_id")) == request_id
    ]
    return found[0] if len(found) == 1 else None


def _objects(body: bytes) -> list[dict[str, Json]]:
    """Return all objects in the JSON of ``body``, also in texts that are JSON themselves, except below error keys.

    The result is empty if there are too many values to search: whether a match is the only one is then unknown.
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
