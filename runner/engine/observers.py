"""Observers of a run: functions that are called with every record."""

from __future__ import annotations

from collections.abc import Callable

from runner.core.models import Record
from runner.engine.stop import Stop

Observer = Callable[[Record], None]
"""Function called with every record once the record is durable: the events of a run.

After an exception the run ends gently, and the exception is raised then. For a ``StatusObserver``, ``watch`` is called
before the first record.
"""


class GuardedObserver:
    """Observer of a run whose exceptions end the run gently: a purchase under way is still recorded and downloaded."""

    def __init__(self, observer: Observer | None, stop: Stop) -> None:
        self._observer = observer
        self._stop = stop
        self._error: Exception | None = None

    def __call__(self, record: Record) -> None:
        """Pass ``record`` on. After an exception the observer is not called again."""
        if self._observer is None or self._error is not None:
            return
        try:
            self._observer(record)
        except Exception as error:  # noqa: BLE001 - raised again when the run has ended
            self._error = error
            self._stop.interrupt(f"the observer raised {type(error).__name__}: {error}", 70)

    def raise_error(self) -> None:
        """Raise the exception of the observer, if there was one."""
        if self._error is not None:
            raise self._error
