"""Notations of durations, rates, sizes, byte counts, budgets and host names, and their values.

Every function raises ``Invalid`` with a predicate, and with the accepted notation as advice.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from runner.core.models import Budget, Halt
from runner.manifest.problems import Invalid, shown

_WHOLE: Final = r"(?:0|[1-9]\d{0,14})"
DECIMAL: Final = rf"{_WHOLE}(?:\.\d{{1,6}})?"
_DURATION: Final = re.compile(rf"(?:({_WHOLE})h)?(?:({_WHOLE})m)?(?:({DECIMAL})s)?", re.ASCII)
_BARE_SECONDS: Final = re.compile(DECIMAL, re.ASCII)
RATE: Final = re.compile(rf"({DECIMAL}) ?/ ?(s|sec|second|m|min|minute|h|hour)", re.ASCII)
_SIZE: Final = re.compile(r"([1-9]\d{0,8}) ?[x×X] ?([1-9]\d{0,8})", re.ASCII)
_BYTES: Final = re.compile(rf"({DECIMAL}) ?([kKMGT]i?B|B)?", re.ASCII)
BUDGET: Final = re.compile(rf"\$? ?({DECIMAL}) ?(/ ?day)?", re.ASCII)
_SHARE: Final = re.compile(rf"({DECIMAL}) ?%", re.ASCII)
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = re.compile(rf"(?:\*\.{_LABEL}\.)?{_LABEL}(?:\.{_LABEL})*")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
LEAST_BARE_BYTES: Final = 1_000_000
LOCAL: Final = ("localhost", "local", "internal", "lan", "home.arpa")


def duration(text: str) -> float:
    """Return a duration in seconds: ``90``, ``90s``, ``10m``, ``1h30m``."""
    if _BARE_SECONDS.fullmatch(text):
        return float(text)
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise Invalid(f"takes a duration, not {shown(text)}", "write 90s, 10m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def rate(text: str) -> float:
    """Return a rate as submissions per second: ``5/s``, ``120/min``, ``500/h``."""
    found = RATE.fullmatch(text)
    if found is None:
        raise Invalid(f"takes a rate, not {shown(text)}", "write 5/s, 120/min or 500/h")
    return float(found[1]) / _SECONDS[found[2][0]]


def size(text: str) -> tuple[int, int]:
    """Return width and height in pixels: ``1024x768``, ``1024 x 768``, ``1024×768``."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise Invalid(f"takes a size, not {shown(text)}", "write width x height in pixels: 1024x768")
    return int(found[1]), int(found[2])


def byte_count(text: str) -> int:
    """Return a number of bytes: ``200MB`` (10⁶), ``2GiB`` (2³⁰). A number without a unit must be at least a million."""
    found = _BYTES.fullmatch(text)
    if found is None:
        raise Invalid(f"takes a number of bytes, not {shown(text)}", "write 200MB or 2GiB")
    value = float(found[1]) if "." in found[1] else int(found[1])
    if found[2] is None and value < LEAST_BARE_BYTES:
        raise Invalid(f"is {shown(text)} without a unit", f"write {text}MB, or {text}B for bytes")
    return int(value * _factor(found[2] or "B"))


def _factor(unit: str) -> int:
    base = 1024 if "i" in unit else 1000
    return int(base ** " KMGT".index(unit[0].upper() if unit != "B" else " "))


def budget(text: str) -> Budget:
    """Return a budget in USD for a folder, in total or per day: ``25``, ``25.00``, ``25.00/day``."""
    found = BUDGET.fullmatch(text)
    if found is None:
        raise Invalid(f"takes an amount in USD, not {shown(text)}", "write 25.00 or 25.00/day")
    return Budget(usd=float(found[1]), per_day=found[2] is not None)


def halt(text: str) -> Halt:
    """Return the failures that stop buying: a count, ``10``, or a share of the finished jobs, ``20%``."""
    share = _SHARE.fullmatch(text)
    if share is not None and 0 < float(share[1]) <= 100:
        return Halt(share=float(share[1]) / 100)
    if share is None and re.fullmatch(_WHOLE, text) and int(text) >= 1:
        return Halt(count=int(text))
    advice = "write a number from 1 on, or a share above 0% and up to 100%: 10, 20%"
    raise Invalid(f"takes a number of failures or a percentage, not {shown(text)}", advice)


def host(text: str) -> str:
    """Return a host that may be trusted, in lower case and ASCII: ``cdn.example.com``, ``*.example.com``."""
    name = _ascii(text)
    _refuse_address(name)
    if not _HOST.fullmatch(name) or len(name) > 253:
        advice = "write the name alone, without scheme, port or path: cdn.example.com or *.example.com"
        raise Invalid(f"takes host names, not {shown(text)}", advice)
    if any(name == local or name.endswith(f".{local}") for local in LOCAL):
        raise Invalid(f"names {shown(text)}, a host of this machine or network", "only public hosts can be trusted")
    return name


def _ascii(text: str) -> str:
    if text.isascii():
        return text.lower()
    try:
        return text.lower().encode("idna").decode()
    except UnicodeError:
        return ""


def _refuse_address(name: str) -> None:
    try:
        public = ip_address(name.strip("[]")).is_global
    except ValueError:
        # 127.1 and 0x7f000001 are other notations of 127.0.0.1.
        public = not re.fullmatch(r"(?:.*\.)?(?:0x[0-9a-f]*|\d+)", name)
    if not public:
        raise Invalid(f"names {shown(name)}, which is not a public address", "only public hosts can be trusted")
