"""Responses of the emulator about a request, with the variants of the options."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from .catalogue import KINDS_OF_FILES
from .pictures import Drawing, picture

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .catalogue import Model
    from .options import Options
    from .queue import Fate, Request

_SUFFIXES = {"png": "png", "jpeg": "jpg", "webp": "webp"}

PAGE = b"<!doctype html><html><head><title>Oops</title></head><body><h1>Something went wrong</h1></body></html>"

Manner = Literal["whole", "chunked", "cut", "reset", "trickle", "endless", "padded", "twice", "long"]


class ResponseBuilder:
    """Builder of response bodies with links to the emulator."""

    def __init__(self, options: Options) -> None:
        self.origin = ""
        """Origin of the server, set once the server listens; different after each start."""
        self._options = options

    def accepted(self, request_id: str) -> dict[str, Any]:
        """Return the body of an accepted submission."""
        return {"request_id": request_id, **links(self.origin, request_id)}

    def state(self, request: Request, position: int | None) -> dict[str, Any]:
        """Return the state of a request; ``position`` is the number of requests ahead; ``None``: not waiting."""
        about: dict[str, Any] = {"request_id": request.request_id, "status": self.word(request)}
        if position is not None:
            about["queue_position"] = position
        urls = links(self.origin, request.request_id)
        return {**about, "status_url": urls["status_url"], "result_url": urls["result_url"]}

    def progress(self, request: Request, position: int | None) -> dict[str, Any]:
        """Return the body of ``/result`` before the end of the request."""
        shown = position if self._options.queue_position else None
        about = {"created_at": timestamp(request.submitted), "model_id": request.model.model_id}
        return {**self.state(request, shown), **about}

    def outcome(self, request: Request, *, with_cost: bool) -> dict[str, Any]:
        """Return the body of ``/result`` after the end of the request."""
        word = self._options.result_word if request.state == "completed" else self.word(request)
        about: dict[str, Any] = {"request_id": request.request_id, "status": word}
        if request.state == "completed":
            about["output"] = output(request.model, self._urls(request), request.input)
        if request.state == "failed" and request.fate is not None:
            about["error"] = _failure(request.fate)
        about |= {"created_at": timestamp(request.submitted), "finished_at": timestamp(request.finished or 0)}
        cost = self.charged(request)
        if with_cost and cost is not None and self._options.cost != "missing":
            about["cost"] = cost
        return {**about, "model_id": request.model.model_id}

    def word(self, request: Request) -> str:
        """Return the word for the state of a request in ``/status``."""
        if request.state == "completed":
            return self._options.done_word
        return request.fate.word if request.over and request.fate is not None else request.state

    def charged(self, request: Request) -> float | None:
        """Return the billed USD of a request; ``None``: not billed, or the model has no price."""
        billed = request.state == "completed" or (request.state == "failed" and self._options.charge_failed)
        return self.price(request.model, request.input) if billed else None

    def price(self, model: Model, given: dict[str, Any]) -> float | None:
        """Return the USD that a request with these inputs is billed if billed; ``None``: the model has no price."""
        return model.charge(given, by_megapixel=self._options.cost == "megapixels")

    def due(self, request: Request) -> float:
        """Return the USD that a request will be billed at its end, which is decided at submission."""
        fate = request.fate
        billed = fate is None or (fate.state == "failed" and self._options.charge_failed)
        return (self.price(request.model, request.input) or 0.0) if billed else 0.0

    def row(self, request: Request) -> dict[str, Any]:
        """Return all data of a request, for people and tests."""
        return {
            "request_id": request.request_id,
            "model_id": request.model.model_id,
            "input": request.input,
            "state": request.state,
            "created": request.submitted,
            "seconds": request.seconds,
            "finished": request.finished,
            "cost": self.charged(request),
        }

    def _urls(self, request: Request) -> list[str]:
        suffix = "mp4" if request.model.shape == "video" else _SUFFIXES[self._options.picture]
        base = f"{self.origin}/files/{request.request_id}"
        count = request.model.count(request.input)
        suffixes = KINDS_OF_FILES.get(request.model.shape, (suffix,) * count)
        return [f"{base}/{number}.{ending}" for number, ending in enumerate(suffixes)]


def _failure(fate: Fate) -> dict[str, str] | str:
    """Return the error of a failed request; only the message if there is no code."""
    return {"code": fate.code, "message": fate.message} if fate.code else fate.message


def links(origin: str, request_id: str) -> dict[str, str]:
    """Return the links of a request."""
    base = f"{origin}/v1/requests/{request_id}"
    return {"status_url": f"{base}/status", "result_url": f"{base}/result", "cancel_url": f"{base}/cancel"}


def output(model: Model, urls: list[str], given: dict[str, Any]) -> dict[str, Any]:
    """Return the links in the structure of this model, or its output without files."""
    if model.shape in _WITHOUT_FILES:
        return _WITHOUT_FILES[model.shape](given["prompt"])
    if model.shape == "images":
        return {"images": urls}
    if model.shape == "nested":
        return {"data": {"items": [{"url": url} for url in urls]}}
    if model.shape == "mixed":
        return dict(zip(("image", "subtitles", "scene"), urls, strict=True))
    return {model.shape: urls[0]}


def _inline(prompt: str) -> dict[str, Any]:
    body = picture(Drawing(prompt=prompt, width=64, height=64, number=0, label=""), "png")
    return {"image": f"data:image/png;base64,{b64encode(body).decode()}"}


_WITHOUT_FILES: dict[str, Callable[[str], dict[str, Any]]] = {
    "text": lambda prompt: {"text": f"A caption of {prompt}"},
    "json": lambda prompt: {"boxes": [[0, 0, 32, 32]], "label": prompt, "score": 0.5},
    "inline": _inline,
}


def timestamp(epoch_seconds: float) -> str:
    """Return a time as ``2026-11-22T01:02:03.456Z``."""
    return datetime.fromtimestamp(epoch_seconds, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Response: status, body, and manner of transmission."""

    status: int = 200
    body: bytes = b""
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: Manner = "whole"
    seconds: float = 0
    """Duration of a slow body, or delay of a repeated response."""
    padding: int = 0
    """Zeros after a padded body."""


def said(body: object, status: int = 200) -> Answer:
    """Return a response with ``body`` as JSON."""
    return Answer(status=status, body=json.dumps(body).encode())


def refusal(status: int, code: int, message: str) -> Answer:
    """Return an error in the form of the API."""
    return said({"error_code": code, "error_message": message}, status)


def invalid(detail: object) -> Answer:
    """Return the error for inputs that do not match the schema; ``detail`` names the fields."""
    return said({"detail": detail}, 422)


def no_such_request() -> Answer:
    return refusal(404, 404001, "no such request, or it has expired")
