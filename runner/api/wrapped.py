"""Answers inside other answers: what a gateway put around the API's own, as in ``{"data": {"request_id": …}}``.

They are looked for where an answer would else count as unreadable. What they say is used where it is unambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from runner.api.fields import mend, parse_json, read_request_id
from runner.core.models import Json

MAX_VALUES = 10_000
"""Of one answer that are looked at."""

_LINKS = ("status_url", "result_url", "cancel_url")
_LINK = re.compile(r"/requests/([^/?#]+)/(?:status|result|cancel)(?:[?#].*)?", re.DOTALL)
_ERRORS = frozenset({"error", "errors", "detail", "details"})
"""What stands under these names often has an id of its own, of the failed call."""


def find_wrapped_id(body: bytes) -> str | None:
    """The only request that an answer names, in ``request_id`` or in a link, at any depth; None for none or several."""
    found = {text for value in _objects(body) for text in _named(value)}
    return found.pop() if len(found) == 1 else None


def find_wrapped_answer(body: bytes, request_id: str) -> dict[str, Json] | None:
    """The only object inside an answer that has the status of the request ``request_id``; None for none or several."""
    found = [
        value
        for value in _objects(body)
        if isinstance(value.get("status"), str) and read_request_id(value.get("request_id")) == request_id
    ]
    return found[0] if len(found) == 1 else None


def _named(value: dict[str, Json]) -> Iterator[str]:
    request_id = read_request_id(value.get("request_id"))
    if request_id is not None:
        yield request_id
    for key in _LINKS:
        link = value.get(key)
        named = _LINK.search(link) if isinstance(link, str) else None
        if named is not None and (request_id := read_request_id(named[1])) is not None:
            yield request_id


def _objects(body: bytes) -> Iterator[dict[str, Json]]:
    """All objects in the JSON of ``body``, also in its texts that are JSON themselves, but in those of errors."""
    rest = [parse_json(body) or parse_json(mend(body))]
    for _ in range(MAX_VALUES):
        if not rest:
            return
        value = rest.pop()
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            value = parse_json(value.encode("utf-8", "replace"))
        if isinstance(value, dict):
            yield value
            rest += [part for key, part in value.items() if key.lower() not in _ERRORS]
        elif isinstance(value, list):
            rest += value
