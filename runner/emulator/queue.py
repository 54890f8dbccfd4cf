"""Queue of requests, served in order of arrival and advanced only by calls."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .catalogue import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """End of a request that does not succeed."""

    state: str
    """``failed`` or ``cancelled``."""
    word: str
    """Word of the service for the state, for example ``canceled``."""
    code: str = ""
    message: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """Accepted submission. Times are in seconds since the epoch."""

    request_id: str
    model: Model
    input: dict[str, Any]
    fingerprint: str
    """Digest of model and input."""
    key: str
    """Fingerprint and index of the request among those with the same fingerprint. Faults are drawn by the key, since
    ids are random."""
    submitted: float
    seconds: float
    """Service time."""
    fate: Fate | None = None
    insets: tuple[bytes, ...] = ()
    """Small copies of the pictures in the input, as JPEGs, which the result shows."""
    state: str = "in_queue"
    started: float | None = None
    finished: float | None = None
    forgotten: bool = False
    """True if calls for the request get the response for an unknown request."""
    place: int = 0

    @property
    def over(self) -> bool:
        return self.finished is not None

    def end(self, at: float) -> None:
        """End the request as decided at its submission."""
        self.state = "completed" if self.fate is None else self.fate.state
        self.finished = at


class Queue:
    """Queue that serves ``workers`` requests at a time, in order. Exact times, whenever the queue is advanced."""

    def __init__(self, workers: int) -> None:
        self._workers = self._free = workers
        self._waiting: deque[Request] = deque()
        self._running: list[tuple[float, int, Request]] = []
        self._started = 0

    def __len__(self) -> int:
        """Count the requests that have not ended."""
        return len(self._waiting) + len(self._running)

    def add(self, request: Request) -> None:
        """Add a request at the time of its submission."""
        self.advance(request.submitted)
        request.place = self._started + len(self._waiting)
        self._waiting.append(request)
        self._start(request.submitted)

    def advance(self, now: float) -> None:
        """Process all ends and starts of requests that are due until ``now``."""
        while self._running and self._running[0][0] <= now:
            end, _, request = heapq.heappop(self._running)
            request.end(end)
            self._free += 1
            self._start(end)

    def position(self, request: Request) -> int:
        """Count the requests ahead of a waiting request."""
        return request.place - self._started

    def cancel(self, request: Request, now: float) -> bool:
        """Cancel a request if it still waits, and tell whether it did."""
        self.advance(now)
        if request.state != "in_queue":
            return False
        for other in self._waiting:
            other.place -= other.place > request.place
        self._waiting.remove(request)
        request.fate = Fate(state="cancelled", word="cancelled")
        request.end(now)
        return True

    def resize(self, workers: int, now: float) -> None:
        """Serve ``workers`` requests at a time from ``now`` on; running requests are not interrupted."""
        self.advance(now)
        self._free += workers - self._workers
        self._workers = workers
        self._start(now)

    def _start(self, at: float) -> None:
        while self._waiting and self._free > 0:
            request = self._waiting.popleft()
            request.state, request.started = "in_progress", at
            heapq.heappush(self._running, (at + request.seconds, self._started, request))
            self._started += 1
            self._free -= 1
