"""Options of an emulator: its speed, and the habits that a real service may have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .faults import InjectedFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that can be chosen about an emulator. The defaults are a small, well-behaved service."""

    workers: int = 4
    """Requests served at once; at least 1."""
    seconds: float = 0.5
    """Mean time that serving one request takes, waiting not counted."""
    spread: float = 0.0
    """Sigma of the lognormal distribution of that time; 0 makes it constant."""
    seed: int = 1
    """Decides every draw: service times and faults."""
    max_in_flight: int | None = None
    """Requests taken in at once, waiting ones included; a submission beyond is refused with 429. ``None``: any."""
    token: str | None = None
    """The one bearer token that is let in; ``None`` lets any in that is not empty."""
    faults: tuple[InjectedFault, ...] = ()
    """Looked through in order; the first that strikes is the one that happens."""
    sizes: Literal["exact", "round16", "clamp1024"] = "exact"
    """Whether pictures have the size asked for, the nearest multiple of 16, or at most 1024 a side."""
    picture: Literal["png", "jpeg", "webp"] = "png"
    octet_stream: bool = False
    """Serve files as ``application/octet-stream``."""
    no_length: bool = False
    """Serve files without ``Content-Length``, in chunks."""
    unfinished_status: int = 200
    """What ``/result`` answers before the end; with a 4xx an error body instead of the state."""
    queue_position: bool = True
    """Whether ``/result`` tells it too; ``/status`` always does."""
    cost: Literal["base", "missing", "megapixels"] = "base"
    """Bill the base price, bill it without saying so, or bill it for every megapixel begun."""
    charge_failed: bool = False
    """Bill failed requests too."""
    not_found_seconds: float = 0
    """For so long after its submission a request is answered with 404 and ``404001``."""
    schemas: Mapping[str, Any] = field(default_factory=dict)
    """Input schemas that the catalogue tells instead of the models' own, by model: whatever a catalogue may say."""
    done_word: str = "completed"
    """What ``/status`` calls the end of a good request."""
    result_word: str = "succeeded"
    """What ``/result`` calls that end; the documentation prints two words for it."""
    balance: float | None = None
    """USD in the wallet at first: a submission that costs more than is left is refused. ``None``: it never runs out."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")
        if self.seconds < 0 or self.spread < 0 or self.not_found_seconds < 0:
            raise ValueError("seconds, spread and not_found_seconds cannot be negative")
        if self.balance is not None and self.balance < 0:
            raise ValueError("balance cannot be negative")
