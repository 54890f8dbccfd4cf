"""Application of faults to responses."""

from __future__ import annotations

import gzip
import json
import math
import uuid
import zlib
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING

from .responses import PAGE, Answer, links, refusal, said

if TYPE_CHECKING:
    from collections.abc import Callable

    from .faults import InjectedFault
    from .responses import Manner

_CODES = {401: 400004, 402: 400002, 403: 403001, 404: 404001}
_PAUSES = {"hang": 3600.0, "slow": 1.0, "trickle": 3.0, "twice": 0.01}


def pause(fault: InjectedFault) -> float:
    """Return the seconds for which nothing, or only part of the response, is sent."""
    return _PAUSES.get(fault.kind, 0.0) if fault.seconds is None else fault.seconds


def spoil(answer: Answer, fault: InjectedFault, now: float) -> Answer:
    """Return ``answer`` with the fault applied; unchanged for kinds that act before there is a response."""
    if fault.kind in _MANNERS:
        padding = fault.bytes if fault.kind == "padded" else 0
        return replace(answer, manner=_MANNERS[fault.kind], seconds=pause(fault), padding=padding)
    if fault.kind in _BODIES:
        return replace(answer, body=_BODIES[fault.kind](answer.body))
    if fault.kind in ("encoded", "form"):
        return _encoded(answer, fault) if fault.kind == "encoded" else _FORMS[fault.text](answer)
    if fault.kind in _EDITED:
        return _edited(answer, fault)
    if fault.kind == "status":
        return _status(fault, now)
    return _INSTEAD[fault.kind](fault) if fault.kind in _INSTEAD else answer


def _status(fault: InjectedFault, now: float) -> Answer:
    plain = _error(fault, 503)
    media_type, body = _body(fault.body, plain.body)
    return replace(plain, body=body, media_type=media_type, headers=_retry_after(fault, now))


def _error(fault: InjectedFault, usual: int) -> Answer:
    status = fault.status or usual
    code = fault.code or _CODES.get(status, status * 1000 + 1)
    return refusal(status, code, fault.message or f"injected fault: {fault.kind}")


def _body(form: str, api: bytes) -> tuple[str, bytes]:
    if form == "html":
        return "text/html", PAGE
    if form == "empty":
        return "text/plain", b""
    if form == "detail":
        return "application/json", json.dumps({"detail": [{"loc": ["body", "prompt"], "msg": "refused"}]}).encode()
    return "application/json", _first_half(api) if form == "half" else api


def _retry_after(fault: InjectedFault, now: float) -> dict[str, str]:
    if fault.retry_after is None:
        return {}
    if fault.date:
        # Dates have whole seconds: rounded up, so that no client retries too early.
        return {"Retry-After": formatdate(math.ceil(now + fault.retry_after), usegmt=True)}
    return {"Retry-After": f"{fault.retry_after:g}"}


def _redirect(fault: InjectedFault) -> Answer:
    location = fault.location or "https://elsewhere.example/"
    return Answer(status=fault.status or 302, media_type="text/plain", headers={"Location": location})


def _edited(answer: Answer, fault: InjectedFault) -> Answer:
    status, body = answer.status, json.loads(answer.body)
    match fault.kind:
        case "no_id":
            body.pop("request_id", None)
        case "bad_id":
            body["request_id"] = fault.text or "../../etc"
        case "evil_urls":
            location = fault.location or "https://elsewhere.example"
            body |= links(location.rstrip("/"), body.get("request_id", ""))
        case "id_with_error":
            error = _error(fault, 500)
            status, body = error.status, body | json.loads(error.body)
        case "state":
            ending = {"output", "finished_at", "cost"}
            body = {name: value for name, value in body.items() if name not in ending}
            body["status"] = fault.text or "warming_up"
        case "other":
            body["request_id"] = str(uuid.uuid4())
    return said(body, status)


def _packed(answer: Answer, name: str, form: int) -> Answer:
    """Compress a response, as some gateways do whatever the client accepts."""
    packer = zlib.compressobj(wbits=form)
    body = packer.compress(answer.body) + packer.flush()
    return replace(answer, body=body, headers={**answer.headers, "Content-Encoding": name})


def _with(answer: Answer, more: bytes) -> Answer:
    """Insert the member ``more`` at the beginning of a JSON object."""
    return replace(answer, body=answer.body.replace(b"{", b"{" + more + b", ", 1))


def _with_header(answer: Answer) -> Answer:
    policy = "default-src https://cdn.example.com; " * 1500
    return replace(answer, headers={**answer.headers, "Content-Security-Policy": policy.strip()})


def _encoded(answer: Answer, fault: InjectedFault) -> Answer:
    """Add a ``Content-Encoding`` to a file: compressed for ``gzip``, unchanged bytes for any other value."""
    encoding = fault.text or "gzip"
    body = gzip.compress(answer.body) if encoding == "gzip" else answer.body
    return replace(answer, body=body, headers={**answer.headers, "Content-Encoding": encoding})


def _first_half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _two_thirds(body: bytes) -> bytes:
    return body[: len(body) * 2 // 3]


def _flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0x10]) + body[middle + 1 :]


# After a hang the connection is reset without a response.
_MANNERS: dict[str, Manner] = {
    "reset": "reset",
    "hang": "reset",
    "truncate": "cut",
    "huge": "endless",
    "padded": "padded",
    "trickle": "trickle",
    "twice": "twice",
}
_BODIES: dict[str, Callable[[bytes], bytes]] = {
    "half": _first_half,
    "short": _two_thirds,
    "flip": _flipped,
    "html": lambda _: PAGE,
}
_FORMS: dict[str, Callable[[Answer], Answer]] = {
    "gzip": lambda answer: _packed(answer, "gzip", 31),
    "deflate": lambda answer: _packed(answer, "deflate", 15),
    "raw_deflate": lambda answer: _packed(answer, "deflate", -15),
    "bom": lambda answer: replace(answer, body=b"\xef\xbb\xbf" + answer.body),
    "utf16": lambda answer: replace(answer, body=answer.body.decode().encode("utf-16")),
    "nan": lambda answer: _with(answer, b'"eta": NaN'),
    "surrogate": lambda answer: _with(answer, b'"prompt": "cut \\ud83d"'),
    "long_header": _with_header,
    "long_length": lambda answer: replace(answer, manner="long"),
}
_EDITED = {"no_id", "bad_id", "evil_urls", "id_with_error", "state", "other"}
_INSTEAD: dict[str, Callable[[InjectedFault], Answer]] = {
    "error200": lambda fault: replace(_error(fault, 500), status=200),
    "garbage": lambda _: Answer(body=PAGE, media_type="text/html"),
    "redirect": _redirect,
}
