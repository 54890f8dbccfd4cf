"""Values in templates: what is missing or null, how a value prints, and how long it may be.

This module imports jinja2 and is imported with the first template only.
"""

from __future__ import annotations

from typing import Any, Final

from jinja2 import StrictUndefined, Undefined

from runner.manifest.problems import Invalid, listing, nearest, shown

MAX_CHARACTERS: Final = 100_000
"""Longest text or list that a template, or one step in it, may produce."""


class Missing(StrictUndefined):
    """A missing value. Any use except ``default`` and ``is defined`` raises an error that names it."""

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return str(self._undefined_hint)
        if isinstance(self._undefined_obj, dict):
            known = [str(name) for name in self._undefined_obj]
            hint = nearest(str(self._undefined_name), known) or (
                f"known: {listing(known)}" if known else "the mapping is empty"
            )
            return f"there is no {shown(str(self._undefined_name))}; {hint}"
        return f"{shown(str(self._undefined_name))} has no value here"


class Null(Missing):
    """A ``null`` in a feed."""

    @property
    def _undefined_message(self) -> str:
        return f"{shown(str(self._undefined_name))} is null"


def text_of(value: Any) -> str:
    """Return ``value`` as templates print it. Raises ``Invalid`` for a value that has no text."""
    if isinstance(value, str):
        return value
    if value is None:
        raise Invalid("prints null", "use `|default(…)` to print something else")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Undefined)):
        return str(value)
    what = "a mapping" if isinstance(value, dict) else "a list"
    raise Invalid(f"prints {what}", 'use `|join(", ")` or `|tojson` to print it')


def bounded(value: Any) -> Any:
    """Return ``value``. Raises ``Invalid`` if it is longer than a template may produce."""
    if isinstance(value, (str, list, tuple)):
        check_length(len(value))
    return value


def check_length(length: int) -> None:
    """Raise ``Invalid`` if ``length`` is more than a template may produce."""
    if length > MAX_CHARACTERS:
        raise Invalid(f"produces more than {MAX_CHARACTERS:,} characters", "shorten it")
