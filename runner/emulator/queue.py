"""Queue of requests: first come, first served, moved on only when somebody asks."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .catalogue import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """How a request ends that does not end well."""

    state: str
    """``failed`` or ``cancelled``."""
    word: str
    """What the service calls that state, say ``canceled``."""
    code: str = ""
    message: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """One accepted submission. Times are seconds since the epoch."""

    request_id: str
    model: Model
    input: dict[str, Any]
    fingerprint: str
    """The same for the same model and input."""
    key: str
    """Names the request whatever its id is: the how-manieth of its fingerprint. Faults are drawn by it."""
    submitted: float
    seconds: float
    """How long serving it takes."""
    fate: Fate | None = None
    state: str = "in_queue"
    started: float | None = None
    finished: float | None = None
    forgotten: bool = False
    """Answered as unknown from now on."""
    place: int = 0

    @property
    def over(self) -> bool:
        return self.finished is not None

    def end(self, at: float) -> None:
        """Come to the end that was decided at the start."""
        self.state = "completed" if self.fate is None else self.fate.state
        self.finished = at


class Queue:
    """So many requests at once, the others waiting in order. Exact at whatever moment it is moved on to."""

    def __init__(self, workers: int) -> None:
        self._workers = self._free = workers
        self._waiting: deque[Request] = deque()
        self._running: list[tuple[float, int, Request]] = []
        self._started = 0

    def __len__(self) -> int:
        """How many are not over."""
        return len(self._waiting) + len(self._running)

    def add(self, request: Request) -> None:
        """Let it in at the time of its submission."""
        self.advance(request.submitted)
        request.place = self._started + len(self._waiting)
        self._waiting.append(request)
        self._start(request.submitted)

    def advance(self, now: float) -> None:
        """Do what was due until ``now``: end what is served, start what waited for its place."""
        while self._running and self._running[0][0] <= now:
            end, _, request = heapq.heappop(self._running)
            request.end(end)
            self._free += 1
            self._start(end)

    def position(self, request: Request) -> int:
        """How many are ahead of a waiting request."""
        return request.place - self._started

    def cancel(self, request: Request, now: float) -> bool:
        """Take it out if it still waits; tell whether it did."""
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
        """Serve so many at once from ``now`` on; what is being served is not interrupted."""
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
