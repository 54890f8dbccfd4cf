"""Options of an emulator: its speed, and variants of behaviour that a real service may have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .faults import InjectedFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of an emulator. The defaults emulate a small service without problems."""

    workers: int = 4
    """Requests served at once; at least 1."""
    seconds: float = 0.5
    """Mean service time of a request, without waiting."""
    spread: float = 0.0
    """Sigma of the lognormal distribution of the service time; 0: constant."""
    seed: int = 1
    """Seed of all draws: service times and faults."""
    max_in_flight: int | None = None
    """Maximum requests at a time, including waiting ones; further submissions get 429. ``None``: no limit."""
    token: str | None = None
    """Only valid bearer token; ``None``: any token that is not empty."""
    faults: tuple[InjectedFault, ...] = ()
    """Fault rules; the first rule that applies to a call is used."""
    sizes: Literal["exact", "round16", "clamp1024"] = "exact"
    """Size of pictures: the requested size, the nearest multiple of 16, or at most 1024 pixels a side."""
    picture: Literal["png", "jpeg", "webp"] = "png"
    octet_stream: bool = False
    """True if files are served as ``application/octet-stream``."""
    no_length: bool = False
    """True if files are served without ``Content-Length``, in chunks."""
    unfinished_status: int = 200
    """Status of ``/result`` before the end of a request; a 4xx has an error body instead of the state."""
    queue_position: bool = True
    """True if ``/result`` includes the queue position; ``/status`` always does."""
    cost: Literal["base", "missing", "megapixels"] = "base"
    """Billing: the base price, the base price without a ``cost`` in the result, or the base price for every megapixel
    begun."""
    charge_failed: bool = False
    """True if failed requests are billed too."""
    not_found_seconds: float = 0
    """Seconds after submission in which calls for a request get 404 and ``404001``."""
    schemas: Mapping[str, Any] = field(default_factory=dict)
    """Input schemas by model that the catalogue shows instead of the models' own, to emulate any catalogue."""
    done_word: str = "completed"
    """State of a successful request in ``/status``."""
    result_word: str = "succeeded"
    """State of a successful request in ``/result``; the documentation uses both words."""
    balance: float | None = None
    """Initial balance in USD; a submission that costs more than the rest is rejected. ``None``: unlimited."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")
        if self.seconds < 0 or self.spread < 0 or self.not_found_seconds < 0:
            raise ValueError("seconds, spread and not_found_seconds cannot be negative")
        if self.balance is not None and self.balance < 0:
            raise ValueError("balance cannot be negative")
