"""Faults in the outputs of a finished request: odd addresses, echoed inputs, missing files."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from .faults import InjectedFault
    from .queue import Request
    from .responses import Answer

    Read = Callable[[str], tuple[str, bytes]]
    """Function that returns the media type and the bytes of the file at an address of the emulator."""

OUTPUT_FAULTS = frozenset({"no_output", "echo", "relative", "address", "thumbnail", "ending"})
"""Kinds that apply only to results with outputs."""


def change_outputs(answer: Answer, fault: InjectedFault, request: Request, read: Read) -> Answer:
    """Return a ``/result`` response with the fault applied; unchanged without outputs."""
    body = json.loads(answer.body)
    if "output" not in body:
        return answer
    output = body.pop("output")
    if fault.kind != "no_output":
        body["output"] = _changed(output, fault, request, read)
    return replace(answer, body=json.dumps(body).encode())


def _changed(output: Any, fault: InjectedFault, request: Request, read: Read) -> Any:
    match fault.kind:
        case "echo":
            return {"echo": fault.text or request.input, **output}
        case "thumbnail":
            return {**output, "thumbnail": _thumbnail(output)}
        case "relative":
            return _each_address(output, lambda url: f"{fault.text}{url}" if fault.text else urlsplit(url).path)
        case "ending":
            return _each_address(output, lambda url: f"{url.rpartition('.')[0]}.{fault.text}")
        case _:
            return _each_address(output, lambda url: _odd_address(url, fault.text, read))


def _each_address(value: Any, change: Callable[[str], str]) -> Any:
    """Return ``value`` with each address replaced by ``change``."""
    if isinstance(value, dict):
        return {name: _each_address(part, change) for name, part in value.items()}
    if isinstance(value, list):
        return [_each_address(part, change) for part in value]
    return change(value) if isinstance(value, str) and value.startswith("http") else value


def _odd_address(url: str, form: str, read: Read) -> str:
    if form == "no_scheme":
        return url.partition(":")[2]
    if form == "space":
        return f"{url}?name=a red mug"
    media_type, body = read(url)
    text = b64encode(body).decode()
    return f"data:{media_type};base64,{text}" if form == "data" else text


def _thumbnail(output: Any) -> str:
    """Return an address at the storage without a file."""
    found: list[str] = []

    def note(url: str) -> str:
        found.append(url)
        return url

    _each_address(output, note)
    return f"{found[0].rpartition('/')[0]}/thumbnail.png" if found else ""
