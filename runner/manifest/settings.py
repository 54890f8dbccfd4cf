"""Settings at the top of a manifest, and a reader for each key."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from runner.core.media_formats import MAX_PIXELS, MOST_PIXELS
from runner.core.text import UTF8_LOCALE, unwritable_name
from runner.manifest import units
from runner.manifest.models.local_files import MAX_INLINE
from runner.manifest.names import check_id, has_control, normal
from runner.manifest.nodes import Mapping, Node, Scalar, Sequence
from runner.manifest.problems import FAILED, Invalid, Problems, nearest, shown
from runner.manifest.yaml.scalars import boolean, filled_text, integer, kind, text, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.core.models import Budget, Halt

GIB: Final = 1 << 30
MAX_TIMEOUT_SECONDS: Final = 24 * 3600
MAX_CONCURRENCY: Final = 1000
MAX_RETRIES: Final = 100

T = TypeVar("T")


class OnBadRow(StrEnum):
    """Policy for a row of a feed that no job can be made from."""

    STOP = "stop"
    SKIP = "skip"


class OnUnknown(StrEnum):
    """Policy for a job that may have been bought already."""

    HOLD = "hold"
    RESUBMIT = "resubmit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a manifest for its runs."""

    name: str
    """Name of the batch, and of the default output folder."""
    concurrency: int | None = None
    """Requests in flight at the API; None: ``auto``, as many as keep the API busy."""
    rate_per_second: float | None = None
    """Submissions per second; None: no limit of our own."""
    timeout_seconds: float = 600
    """Timeout of one request in seconds, from acceptance to a final state."""
    retries: int = 4
    """Retries of one delivery within a run."""
    on_unknown: OnUnknown = OnUnknown.HOLD
    on_bad_row: OnBadRow = OnBadRow.STOP
    budget: Budget | None = None
    """Most that this folder may cost; None: not set."""
    halt: Halt | None = None
    """Failures after which a run stops buying; None: not set."""
    strict_size: bool = False
    """True if a picture is refused because it has another size than requested."""
    max_file_bytes: int = 2 * GIB
    """Largest file that is downloaded, in bytes."""
    max_pixels: int = MAX_PIXELS
    """Largest picture that is accepted, in pixels."""
    max_inline: int | None = None
    """Largest file of this machine that is sent, in bytes; None: the limit of each kind of file."""
    trusted_hosts: tuple[str, ...] = ()
    """Further storage hosts to download from: ``cdn.example.com``, ``*.example.com``; lower case, ASCII."""
    named: bool = False
    """True if the manifest has a ``name``. If not, the name changes with the name of the file."""
    output: Path | None = None
    """Output folder of the manifest, an absolute path; None: not set."""


def read_settings(root: Mapping, *, stem: str, folder: Path, problems: Problems) -> Settings:
    """Return the settings in ``root``, with defaults for missing and invalid keys. Invalid ones are noted as errors.

    ``stem`` is the name of a manifest without ``name``; relative paths start at ``folder``.
    """
    found: dict[str, Any] = {}
    for key, (field, convert) in _READERS.items():
        if key in root.items:
            value = problems.read(key, root.items[key][1], convert)
            if value is not FAILED:
                found[field] = value
    if "name" not in root.items and (reason := check_id(stem)):
        problems.error(root, f"the file's name cannot name the batch: it {reason}", "add `name: …`")
    found.setdefault("name", normal(stem))
    if "trusted_hosts" in root.items:
        found["trusted_hosts"] = _trusted_hosts(root.items["trusted_hosts"][1], problems)
    if "output" in found:
        found["output"] = _resolve(folder, found["output"])
    return Settings(**found, named="name" in root.items)


def parse_budget(text: str) -> Budget:
    """Return the budget in ``text``, which is written as in a manifest: ``25.00``, ``25.00/day``.

    Raises ``ValueError`` with the accepted notation.
    """
    try:
        return units.budget(text.strip())
    except Invalid as wrong:
        raise ValueError(f"it {wrong.what} ({wrong.advice})") from None


def _name(node: Node) -> str:
    value = normal(filled_text(node))
    if reason := check_id(value):
        raise Invalid(reason, "the name of the batch is also the name of a folder")
    if reason := unwritable_name(value):
        raise Invalid(reason, UTF8_LOCALE)
    return value


def _within(low: int, high: int) -> Callable[[Node], int]:
    def convert(node: Node) -> int:
        value = integer(node)
        if not low <= value <= high:
            raise Invalid(f"is {value}; the range is {low} to {high}")
        return value

    return convert


def _concurrency(node: Node) -> int | None:
    if isinstance(node, Scalar) and node.text.isalpha():
        if node.text != "auto":
            what = f"takes a number from 1 to {MAX_CONCURRENCY} or `auto`, not {shown(node.text)}"
            raise Invalid(what, nearest(node.text, ["auto"]))
        return None
    return _within(1, MAX_CONCURRENCY)(node)


def _written(read: Callable[[str], T]) -> Callable[[Node], T]:
    """Return a reader for a value with its own notation, quoted or not."""
    return lambda node: read(written(node))


def _rate(node: Node) -> float:
    value = _written(units.rate)(node)
    if value <= 0:
        raise Invalid("is 0, which would never submit anything", "leave the key out for no limit")
    return value


def _timeout(node: Node) -> float:
    value = _written(units.duration)(node)
    if not 0 < value <= MAX_TIMEOUT_SECONDS:
        raise Invalid(f"is {shown(written(node))}; the range is above 0 to 24h")
    return value


def _max_file(node: Node) -> int:
    value = _written(units.byte_count)(node)
    if value < 1:
        raise Invalid("is 0, which would refuse every file", "write 200MB, or leave the key out for 2GiB")
    return value


def _max_inline(node: Node) -> int:
    value = _written(units.byte_count)(node)
    if value < 1:
        raise Invalid("is 0, which would refuse every file", "write 2MB, or leave the key out")
    if value > MAX_INLINE:
        advice = "it only lowers the limits; put larger files at a public https address, and write the address"
        raise Invalid(f"is {shown(written(node))}; at most 6MiB", advice)
    return value


def _word(words: type[StrEnum]) -> Callable[[Node], StrEnum]:
    """Return a reader for one of ``words``."""

    def convert(node: Node) -> StrEnum:
        value = node.text if isinstance(node, Scalar) and node.text else text(node)  # `true` is no word of these
        if value not in list(words):
            known = " or ".join(f"`{word}`" for word in words)
            raise Invalid(f"takes {known}, not {shown(value)}", nearest(value, list(words)))
        return words(value)

    return convert


def _trusted_hosts(node: Node, problems: Problems) -> tuple[str, ...]:
    if not isinstance(node, Sequence):
        what = f"`trusted_hosts` takes a list of host names, not {kind(node)}"
        problems.error(node, what, "write [cdn.example.com]")
        return ()
    hosts = [problems.read("trusted_hosts", item, _host) for item in node.items]
    return tuple(host for host in hosts if host is not FAILED)


def _host(node: Node) -> str:
    host = units.host(written(node))
    text(node)  # refuse `null`, `true` and `false`, which match the pattern of a host
    return host


def _output(node: Node) -> str:
    value = filled_text(node)
    if has_control(value):
        raise Invalid("has a control character", "write the path of a folder")
    if reason := unwritable_name(value):
        raise Invalid(reason, UTF8_LOCALE)
    if "://" in value:
        raise Invalid(f"takes a folder, not {shown(value)}", "results go to a disk of this machine")
    try:
        return str(Path(value).expanduser())
    except RuntimeError:
        raise Invalid(f"names a home folder that does not exist: {shown(value)}", "write the path out") from None


def _resolve(folder: Path, output: str) -> Path:
    try:
        return (folder / output).resolve()
    except (OSError, RuntimeError):  # a loop of symbolic links: opening the folder reports the error
        return (folder / output).absolute()


_READERS: Final[dict[str, tuple[str, Callable[[Node], Any]]]] = {
    "name": ("name", _name),
    "concurrency": ("concurrency", _concurrency),
    "rate": ("rate_per_second", _rate),
    "timeout": ("timeout_seconds", _timeout),
    "retries": ("retries", _within(0, MAX_RETRIES)),
    "on_unknown": ("on_unknown", _word(OnUnknown)),
    "on_bad_row": ("on_bad_row", _word(OnBadRow)),
    "budget": ("budget", _written(units.budget)),
    "halt": ("halt", _written(units.halt)),
    "strict_size": ("strict_size", boolean),
    "max_file": ("max_file_bytes", _max_file),
    "max_inline": ("max_inline", _max_inline),
    "max_pixels": ("max_pixels", _within(1, MOST_PIXELS)),
    "output": ("output", _output),
}

KEYS: Final = (*_READERS, "trusted_hosts", "copies", "sidecar", "model", "defaults", "jobs")
_OF_A_JOB: Final = (
    "id",
    "prompt",
    "width",
    "height",
    "size",
    "sizes",
    "inputs",
    "file",
    "from",
    "where",
    "delimiter",
    "encoding",
    "at",
    "sheet",
    "matrix",
    "repeat",
)


def check_keys(root: Mapping, problems: Problems) -> None:
    """Note an error for every unknown top-level key, except ``x-…``, which is reserved for the author."""
    for name, (key, _) in root.items.items():
        if name not in KEYS and not name.startswith("x-"):
            problems.error(key, f"{shown(name)} is not a key of a manifest", _advice(name))


def _advice(name: str) -> str:
    if name in _OF_A_JOB:
        return "it belongs to a job; inputs of every job go under `defaults:`"
    return nearest(name, KEYS) or f"the keys are {', '.join(KEYS)}; a key of your own begins with x-"
