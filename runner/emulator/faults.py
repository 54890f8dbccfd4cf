"""Faults on request: each ``InjectedFault`` is one rule, checked on creation.

On the command line a rule is ``OPERATION KIND [NAME=VALUE ...]``; in a file, a mapping of the same names.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import yaml

from .other_files import OTHER_FILES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Value = str | int | float | bool

CALLS = ("submit", "status", "result", "cancel", "model", "models", "balance", "file")
OPERATIONS = (*CALLS, "job")
BODIES = ("api", "detail", "html", "empty", "half")
FORMS = ("gzip", "deflate", "raw_deflate", "bom", "utf16", "nan", "surrogate", "long_header", "long_length")
ADDRESSES = ("no_scheme", "space", "data", "base64")
COMMON = ("p", "times", "each", "match", "after", "number")


class Kind(NamedTuple):
    """Operations that a kind of fault applies to, and its parameters besides the common ones."""

    operations: tuple[str, ...]
    parameters: tuple[str, ...] = ()


_SUBMIT = ("submit",)
_LOOKS = ("status", "result")
_FILE = ("file",)
_JOB = ("job",)

KINDS: dict[str, Kind] = {
    "status": Kind(CALLS, ("status", "body", "code", "message", "retry_after", "date")),
    "error200": Kind(CALLS, ("code", "message")),
    "reset": Kind(CALLS),
    "hang": Kind(CALLS, ("seconds",)),
    "slow": Kind(CALLS, ("seconds",)),
    "garbage": Kind(CALLS),
    "half": Kind(CALLS),
    "redirect": Kind(CALLS, ("status", "location")),
    "no_id": Kind(_SUBMIT),
    "bad_id": Kind(_SUBMIT, ("text",)),
    "evil_urls": Kind(_SUBMIT, ("location",)),
    "id_with_error": Kind(_SUBMIT, ("status", "code", "message")),
    "state": Kind(_LOOKS, ("text",)),
    "other": Kind(_LOOKS),
    "no_output": Kind(("result",)),
    "echo": Kind(("result",), ("text",)),
    "relative": Kind(("result",), ("text",)),
    "address": Kind(("result",), ("text",)),
    "thumbnail": Kind(("result",)),
    "ending": Kind(("result",), ("text",)),
    "forget": Kind(_LOOKS),
    "fail": Kind(_JOB, ("message", "text")),
    "message_only": Kind(_JOB, ("message",)),
    "cancel": Kind(_JOB, ("text",)),
    "truncate": Kind(_FILE),
    "short": Kind(_FILE),
    "html": Kind(_FILE),
    "flip": Kind(_FILE),
    "wrong_size": Kind(_FILE),
    "huge": Kind(_FILE),
    "encoded": Kind(_FILE, ("text",)),
    "padded": Kind(_FILE, ("bytes",)),
    "trickle": Kind(_FILE, ("seconds",)),
    "form": Kind(CALLS, ("text",)),
    "twice": Kind(CALLS, ("seconds",)),
}

_IN_THE_ANSWER = {"no_id", "bad_id", "evil_urls", "id_with_error", "twice", "form"}
"""Kinds that happen after the effect of the call, unless ``when`` says otherwise."""

_TYPES: dict[str, type[Value]] = {
    "p": float,
    "times": int,
    "each": int,
    "match": str,
    "after": int,
    "number": int,
    "when": str,
    "status": int,
    "body": str,
    "code": int,
    "message": str,
    "retry_after": float,
    "date": bool,
    "seconds": float,
    "bytes": int,
    "location": str,
    "text": str,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedFault:
    """One rule: kind of fault, operation and frequency. Raises ``ValueError`` for invalid values.

    A parameter of ``None`` means the default of the kind; a parameter that the kind does not use is ignored.
    """

    on: str
    """Operation that the fault applies to, or ``job`` for the end of a request."""
    kind: str
    p: float = 1.0
    """Probability, from 0 to 1, drawn again for every call."""
    times: int | None = None
    """Maximum number of faults in total; ``None``: no limit."""
    each: int | None = None
    """Maximum number of faults for one request (for one model and input, with ``submit`` and ``job``)."""
    match: str = ""
    """Text that the prompt must contain."""
    after: int = 0
    """Number of matching calls before the first fault."""
    number: int | None = None
    """For files: the only output of a request that the fault applies to, counted from 0."""
    when: Literal["before", "after"] | None = None
    """For submit and cancel: fault before or after the effect of the call."""
    status: int | None = None
    body: Literal["api", "detail", "html", "empty", "half"] = "api"
    code: int | None = None
    """``error_code`` in the body."""
    message: str = ""
    retry_after: float | None = None
    """Seconds for a ``Retry-After`` header."""
    date: bool = False
    """True if ``Retry-After`` is sent as an HTTP date."""
    seconds: float | None = None
    bytes: int = 2 * 2**20
    """Zeros after the end of a padded file."""
    location: str = ""
    """Target of a redirect or of a strange link."""
    text: str = ""
    """Text of a state or a request id, code of a failure, form of a response or an address, or text of an ``echo``
    output; an ``echo`` without a text returns the inputs of the request."""

    def __post_init__(self) -> None:
        _known("kind of fault", self.kind, tuple(KINDS))
        _known("operation", self.on, OPERATIONS)
        _known(f"operation for {self.kind}", self.on, KINDS[self.kind].operations)
        _known("body", self.body, BODIES)
        if self.kind == "form":
            _known("form", self.text, FORMS)
        if self.kind == "address":
            _known("address", self.text, ADDRESSES)
        if self.kind == "ending":
            _known("ending", self.text, tuple(OTHER_FILES))
        if self.when is not None:
            _known("when", self.when, ("before", "after"))
        if not 0 <= self.p <= 1:
            raise ValueError(f"p is a probability between 0 and 1, not {self.p}")

    @property
    def early(self) -> bool:
        """Return True if the fault happens before the effect of the call.

        This is the default, except for faults in the response to a successful call.
        """
        if self.when is None:
            return self.kind not in _IN_THE_ANSWER
        return self.when == "before"


def parse_fault(text: str) -> InjectedFault:
    """Return the rule in a text like ``submit status status=503 p=0.2 retry_after=2``. Raises ``ValueError``."""
    words = shlex.split(text)
    if len(words) < 2 or "=" in words[0] or "=" in words[1]:
        raise ValueError(f"{text!r}: write a fault as OPERATION KIND [NAME=VALUE ...]")
    pairs = [word.partition("=") for word in words[2:]]
    if bare := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"{text!r}: {bare[0]!r} has no value")
    return _fault(words[0], words[1], {name: _read(name, value) for name, _, value in pairs})


def load_faults(path: Path) -> tuple[int | None, tuple[InjectedFault, ...]]:
    """Return the seed (None: not given) and the rules of a YAML or JSON file.

    Raises ``ValueError`` with the position, and ``OSError``.
    """
    text = path.read_text(encoding="utf-8")
    try:
        plan = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(plan, dict) or not isinstance(plan.get("faults"), list) or set(plan) - {"seed", "faults"}:
        raise ValueError(f"{path}: expected a mapping of seed (a whole number) and faults (a list)")
    seed = plan.get("seed")
    if seed is not None and type(seed) is not int:
        raise ValueError(f"{path}: seed is a whole number, not {seed!r}")
    return seed, tuple(_entry(f"{path}: fault {n}", entry) for n, entry in enumerate(plan["faults"], 1))


def _entry(place: str, entry: object) -> InjectedFault:
    if isinstance(entry, dict) and True in entry:  # YAML 1.1 reads the key `on` as true
        entry = {"on" if key is True else key: value for key, value in entry.items()}
    if not isinstance(entry, dict) or not {"on", "kind"} <= set(entry):
        raise ValueError(f"{place}: expected a mapping with on and kind")
    rest = {str(name): value for name, value in entry.items() if name not in {"on", "kind"}}
    try:
        return _fault(str(entry["on"]), str(entry["kind"]), rest)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _fault(on: str, kind: str, given: Mapping[str, object]) -> InjectedFault:
    _known("kind of fault", kind, tuple(KINDS))
    parameters = (*COMMON, *KINDS[kind].parameters, *(("when",) if on in {"submit", "cancel"} else ()))
    for name, value in given.items():
        _known(f"parameter of {kind}", name, parameters)
        _typed(name, value)
    return InjectedFault(on=on, kind=kind, **given)  # type: ignore[arg-type]  # names and types are checked above


def _typed(name: str, value: object) -> None:
    wanted = _TYPES[name]
    fits = type(value) is wanted or (wanted is float and type(value) is int)
    if not fits:
        raise ValueError(f"{name} takes a {wanted.__name__}, not {value!r}")


def _read(name: str, text: str) -> Value:
    wanted = _TYPES.get(name, str)
    try:
        return {"true": True, "false": False}[text.lower()] if wanted is bool else wanted(text)
    except (ValueError, KeyError):
        raise ValueError(f"{name} takes a {wanted.__name__}, not {text!r}") from None


def _known(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ValueError(f"unknown {what} {name!r}; known: {', '.join(known)}")
