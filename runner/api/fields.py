"""Fields of the API's answers: untrusted bytes and JSON in, checked values out.

What an answer means as a whole is decided by ``responses``.
"""

from __future__ import annotations

import json
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from math import isfinite

import msgspec

from runner.core.models import MOST_USD, OUR_CODES, REQUEST_ID, UNEXPLAINED, Fault, Json
from runner.core.nesting import TooDeep, check_nesting

LONGEST_WORD = 100
"""Of a state, code or id that an answer brings: more is cut before it is logged or recorded."""

MOST_DIGITS = 128
"""A whole number with more is none that anybody counts with."""

_MOMENT = re.compile(r"[0-9]{4}-[0-9T:.,Z+ -]{1,40}")
_ERROR_KEYS = ("error_message", "message", "error", "detail")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP answer. ``date`` and ``retry_after`` are the headers as they came."""

    status: int
    body: bytes
    """Decompressed."""
    whole: bool = True
    """False where the body was cut short or damaged on its way: it may be read, and proves nothing."""
    retry_after: str | None = None
    date: str | None = None


def parse_object(body: bytes) -> dict[str, Json]:
    """The JSON object in ``body``; empty where it holds none (NaN, half an answer, a page, 1,000 levels)."""
    document = parse_json(body)
    return document if isinstance(document, dict) else {}


def parse_json(body: bytes) -> Json:
    """The JSON value in ``body``; None where it holds none."""
    try:
        check_nesting(body)
        document: Json = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, TooDeep):
        return None
    return document


def read_object(body: bytes) -> dict[str, Json]:
    """The JSON object in ``body``, read as well as it can be; empty where there is none.

    A BOM, another encoding of Unicode, bytes and lone surrogates that are no text, control characters in texts, ``NaN``
    and numbers beyond all bounds (both become null) are no obstacle. What is no JSON proves nothing all the same.
    """
    return parse_object(body) or parse_object(mend(body))


def mend(body: bytes) -> bytes:
    """The JSON that was probably meant by ``body``; empty where none was."""
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
    """The id of a request, also where it comes as a whole number; None where it cannot be one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int and 0 <= value < 10**MOST_DIGITS:
        value = str(value)
    return value if isinstance(value, str) and REQUEST_ID.fullmatch(value) else None


def error_code(document: dict[str, Json]) -> str:
    """``error_code`` as text; empty where there is none."""
    return read_code(document.get("error_code"))


def read_code(value: Json) -> str:
    """A code as text, 400001.0 like 400001. Nothing but zeros is no code: many a service says so that all went well.

    A word that means something of ours is marked as the API's.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    code = str(whole).strip()[:LONGEST_WORD]
    return "" if not code.strip("0") else f"api_{code}" if code in OUR_CODES else code


def read_fault(status: int, document: dict[str, Json]) -> Fault:
    """The API's own words for what went wrong, with the HTTP status where there are none."""
    message = read_explanation(document) or f"HTTP {status} without a readable explanation"
    return Fault(code=error_code(document) or f"http_{status}", message=message, http_status=status)


def read_explanation(document: dict[str, Json]) -> str:
    """Return the error message of an answer, from the first key that has one; empty where none has."""
    return next(filter(None, (_message(document.get(key)) for key in _ERROR_KEYS)), "")


def _message(value: Json, depth: int = 3) -> str:
    """One line out of a string, an ``{"message": …}`` or a list of ``{"loc": […], "msg": …}``, ``depth`` deep."""
    if isinstance(value, str):
        return " ".join(value.split())[:500]
    if isinstance(value, dict) and depth:
        return _message(value.get("message") or value.get("msg"), depth - 1)
    if isinstance(value, list) and depth:
        return "; ".join(filter(None, (_detail(entry, depth - 1) for entry in value[:10])))[:500]
    return ""


def _detail(entry: Json, depth: int) -> str:
    """``width: must be …`` out of one entry of a validation error."""
    where = entry.get("loc") if isinstance(entry, dict) else None
    parts = where[:10] if isinstance(where, list) else []
    names = [str(part) for part in parts if isinstance(part, str | int) and part != "body"]
    return ": ".join(filter(None, [".".join(names), _message(entry, depth)]))


def read_generation_fault(document: dict[str, Json]) -> Fault:
    """Why a generation failed. Worth another purchase unless the API says no or blames the input."""
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
"""Parts of a code by which the input is to blame: it would fail again."""
_BLAME_IN_MESSAGE = re.compile(
    r"nsfw|moderat|polic(y|ies)|safety|sensitive|prohibited|inappropriate|explicit content|not allowed|violat|copyright"
    r"|unsupported|invalid (input|prompt|image|video|audio|url|parameter|value|size)",
    re.IGNORECASE,
)
"""The same for a message that comes without a code."""


def read_usd(value: Json) -> float | None:
    """An amount of money, or None where ``value`` is none: no number, negative, or beyond all reason."""
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
    """A time as it came, if it may be one."""
    return value if isinstance(value, str) and _MOMENT.fullmatch(value) else None


def read_retry_after(answer: Answer) -> float | None:
    """``Retry-After`` in seconds from now; a date is measured by the API's own clock (its ``Date`` header)."""
    text = (answer.retry_after or "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        return float(text)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(answer.date or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, wait.total_seconds())


@lru_cache(maxsize=4)
def read_day(date: str | None) -> str | None:
    """The day of a ``Date`` header in UTC, ``2026-11-22``; None where there is none that can be read."""
    try:
        return f"{parsedate_to_datetime(date or '').astimezone(UTC):%Y-%m-%d}"
    except (ValueError, TypeError, OverflowError):
        return None
