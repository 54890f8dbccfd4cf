"""Which call a method and a path are."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple
from urllib.parse import unquote

from .answers import Answer, refusal


class Call(NamedTuple):
    """An operation and what it is about."""

    operation: str
    subject: str = ""
    """The id of a model or a request."""
    name: str = ""
    """Of a file."""


def route(method: str, path: str) -> Call | Answer:
    """The call, or the answer to what is none."""
    parts = unquote(path).split("/")[1:]
    for operations in (_models(parts), _requests(parts), _files(parts), _inside(parts)):
        if operations:
            return operations.get("GET" if method == "HEAD" else method) or _wrong_method(operations)
    return refusal(404, 404000, "no such path")


def _models(parts: list[str]) -> dict[str, Call]:
    if parts[:2] != ["v1", "models"]:
        return {}
    model_id = "/".join(parts[2:])
    if not model_id:
        return {"GET": Call("models")}
    return {"GET": Call("model", model_id), "POST": Call("submit", model_id)}


def _requests(parts: list[str]) -> dict[str, Call]:
    if parts[:2] != ["v1", "requests"] or len(parts) != 4 or parts[3] not in {"status", "result", "cancel"}:
        return {}
    return {"POST" if parts[3] == "cancel" else "GET": Call(parts[3], parts[2])}


def _files(parts: list[str]) -> dict[str, Call]:
    return {"GET": Call("file", parts[1], parts[2])} if parts[0] == "files" and len(parts) == 3 else {}


def _inside(parts: list[str]) -> dict[str, Call]:
    known = parts[0] == "_emulator" and len(parts) == 2 and parts[1] in {"stats", "requests"}
    return {"GET": Call("inside", parts[1])} if known else {}


def _wrong_method(operations: dict[str, Call]) -> Answer:
    return replace(refusal(405, 405000, "method not allowed"), headers={"Allow": ", ".join(operations)})
