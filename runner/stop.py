"""The one place that says whether buying may go on, and why not."""

from __future__ import annotations

from anyio import Event, move_on_after

from runner.summary import Stopped


class Stop:
    """Set once, by whoever finds the first reason; a more serious one may still replace it."""

    def __init__(self) -> None:
        self.why: Stopped | None = None
        self.interrupted = Event()
        """Set when a person or the system asks the run to end; what is in flight then has a grace period."""
        self._event = Event()

    @property
    def stopped(self) -> bool:
        """Whether nothing more may be bought."""
        return self.why is not None

    def buying(self, reason: str, exit_code: int = 75) -> None:
        """Buy nothing more. An account or service that refuses outweighs an interruption."""
        if self.why is None or (self.why.exit_code == 75 and exit_code != 75):
            self.why = Stopped(reason=reason, exit_code=exit_code)
        self._event.set()

    def interrupt(self, reason: str) -> None:
        """End the run soon: buy nothing more, bring home what is in flight."""
        self.buying(reason)
        self.interrupted.set()

    async def wait(self, seconds: float | None = None) -> bool:
        """Sleep for ``seconds`` or until buying stops; whether it has."""
        with move_on_after(seconds):
            await self._event.wait()
        return self.stopped
