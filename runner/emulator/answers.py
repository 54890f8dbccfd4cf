"""What is said back: answers as values, before anything about them goes wrong or goes out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = b"<!doctype html><html><head><title>Oops</title></head><body><h1>Something went wrong</h1></body></html>"

Manner = Literal["whole", "chunked", "cut", "reset", "trickle", "endless"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status, a body, and the manner in which it travels."""

    status: int = 200
    body: bytes = b""
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: Manner = "whole"
    seconds: float = 0
    """How long a trickling body takes."""


def said(body: object, status: int = 200) -> Answer:
    """``body`` as JSON."""
    return Answer(status=status, body=json.dumps(body).encode())


def refusal(status: int, code: int, message: str) -> Answer:
    """An error in the API's own form."""
    return said({"error_code": code, "error_message": message}, status)


def invalid(detail: object) -> Answer:
    """Inputs against the schema; ``detail`` names the fields."""
    return said({"detail": detail}, 422)


def no_such_request() -> Answer:
    return refusal(404, 404001, "no such request, or it has expired")
