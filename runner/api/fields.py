"""Fields of the API's answers: untrusted bytes and JSON in, checked values out.

``responses`` decides the meaning of an answer as a whole.
"""

from __future__ import annotations

import json
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite

import msgspec

from runner.core.models import MOST_USD, OUR_CODES, REQUEST_ID, UNEXPLAINED, Fault, Json
from runner.core.nesting import TooDeep, check_nesting

LONGEST_WORD = 100
"""Characters of a state, code or id in an answer; the rest is cut off before it is logged or recorded."""

MOST_DIGITS = 128
"""Digits of a whole number; a longer one is read as null."""

_MOMENT = re.compile(r"[0-9]{4}-[0-9T:.,Z+ -]{1,40}")
_ERROR_KEYS = ("error_message", "message", "error", "detail")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP answer. ``date`` and ``retry_after`` are the headers as received."""

    status: int
    body: bytes
    """Decompressed body."""
    whole: bool = True
    """True if the body was received completely and undamaged. Otherwise it may be read, but proves nothing."""
    retry_after: str | None = None
    date: str | None = None


def parse_object(body: bytes) -> dict[str, Json]:
    """Return the JSON object in ``body``; empty if there is none (NaN, half an answer, a page, 1,000 levels)."""
    document = parse_json(body)
    return document if isinstance(document, dict) else {}


def parse_json(body: bytes) -> Json:
    """Return the JSON value in ``body``; None: there is none."""
    try:
        check_nesting(body)
        document: Json = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, TooDeep):
        return None
    return document


def read_object(body: bytes) -> dict[str, Json]:
    """Return the JSON object in ``body``, read as tolerantly as possible; empty if there is none.

    A BOM, another encoding of Unicode, bytes and lone surrogates that are not text, control characters in texts,
    ``NaN`` and numbers out of range (both become null) are accepted. An answer that is not JSON still proves nothing.
    """
    return parse_object(body) or parse_object(mend(body))


def mend(body: bytes) -> bytes:
    """Return the JSON that ``body`` probably meant; empty if it meant none."""
    try:
        text = body.decode(json.detect_encoding(body), "replace")
        check_nesting(text.encode())
        document = json.loads(
            text, strict=False, parse_constant=lambda _: None, parse_float=_read_float, parse_int=_read_int
        )
    except (ValueError, TooDeep):
        return b""
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")  # lone surrogates become ``?``


def _read_float(text: str) -> float | None:
    number = float(text)
    return number if isfinite(number) else None


def _read_int(text: str) -> int | None:
    return int(text) if len(text) <= MOST_DIGITS else None


def read_request_id(value: Json) -> str | None:
    """Return the id of a request, also from a whole number; None: the value cannot be an id."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int and 0 <= value < 10**MOST_DIGITS:
        value = str(value)
    return value if isinstance(value, str) and REQUEST_ID.fullmatch(value) else None


def error_code(document: dict[str, Json]) -> str:
    """Return ``error_code`` as text; empty if there is none."""
    return read_code(document.get("error_code"))


def read_code(value: Json) -> str:
    """Return a code as text, 400001.0 like 400001. A code of zeros only is none: many services report success that way.

    A word that is one of our own codes is marked as the API's.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    code = str(whole).strip()[:LONGEST_WORD]
    return "" if not code.strip("0") else f"api_{code}" if code in OUR_CODES else code


def read_fault(status: int, document: dict[str, Json]) -> Fault:
    """Return the API's own error message, or the HTTP status if there is none."""
    message = read_explanation(document) or f"HTTP {status} without a readable explanation"
    return Fault(code=error_code(document) or f"http_{status}", message=message, http_status=status)


def read_explanation(document: dict[str, Json]) -> str:
    """Return the error message of an answer, from the first key that has one; empty if none has."""
    return next(filter(None, (_message(document.get(key)) for key in _ERROR_KEYS)), "")


def _message(value: Json, depth: int = 3) -> str:
    """Return one line from a string, an ``{"message": …}`` or a list of ``{"loc": […], "msg": …}``, ``depth`` deep."""
    if isinstance(value, str):
        return " ".join(value.split())[:500]
    if isinstance(value, dict) and depth:
        return _message(value.get("message") or value.get("msg"), depth - 1)
    if isinstance(value, list) and depth:
        return "; ".join(filter(None, (_detail(entry, depth - 1) for entry in value[:10])))[:500]
    return ""


def _detail(entry: Json, depth: int) -> str:
    """Return ``width: must be …`` from one entry of a validation error."""
    where = entry.get("loc") if isinstance(entry, dict) else None
    parts = where[:10] if isinstance(where, list) else []
    names = [str(part) for part in parts if isinstance(part, str | int) and part != "body"]
    return ": ".join(filter(None, [".".join(names), _message(entry, depth)]))


def read_generation_fault(document: dict[str, Json]) -> Fault:
    """Return the reason why a generation failed; retryable unless the API denies that or blames the input."""
    error = document.get("error")
    details = error if isinstance(error, dict) else document
    code = error_code(document) or read_code(details.get("code")) or UNEXPLAINED
    message = read_explanation(document) or "the API gives no reason"
    retryable = details.get("retryable")
    if not isinstance(retryable, bool):
        blame = _BLAME_IN_MESSAGE if code == UNEXPLAINED else _BLAME_IN_CODE
        retryable = blame.search(message if code == UNEXPLAINED else code) is None
    return Fault(code=code, message=message, retryable=retryable)


_BLAME_IN_CODE = re.compile(r"^4|invalid|policy|nsfw|moderat|safety", re.IGNORECASE)
"""Parts of a code that blame the input: the same input would fail again."""
_BLAME_IN_MESSAGE = re.compile(
    r"nsfw|moderat|polic(y|ies)|safety|sensitive|prohibited|inappropriate|explicit content|not allowed|violat|copyright"
    r"|unsupported|invalid (input|prompt|image|video|audio|url|parameter|value|size)",
    re.IGNORECASE,
)
"""Parts of a message without a code that blame the input."""


def read_usd(value: Json) -> float | None:
    """Return an amount of money; None: ``value`` is not a number, negative, or out of range."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        amount = float(value)
    except OverflowError:
        return None
    return amount if 0 <= amount <= MOST_USD else None


def read_text(value: Json) -> str | None:
    return value if isinstance(value, str) and value else None


def read_moment(value: Json) -> str | None:
    """Return a time as received; None: the value cannot be a time."""
    return value if isinstance(value, str) and _MOMENT.fullmatch(value) else None


def read_retry_after(answer: Answer) -> float | None:
    """Return ``Retry-After`` in seconds from now; a date is compared with the API's own clock (its ``Date`` header)."""
    text = (answer.retry_after or "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        return float(text)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(answer.date or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, wait.total_seconds())


def read_day(date: str | None) -> str | None:
    """Return the day of a ``Date`` header in UTC, ``2026-11-22``; None: it cannot be read."""
    try:
        return f"{parsedate_to_datetime(date or '').astimezone(UTC):%Y-%m-%d}"
    except (ValueError, TypeError, OverflowError):
        return None
