"""Signals at workers of ``local``: they ignore Ctrl-C, which reaches every process of a terminal."""

from __future__ import annotations

import signal


def dask_setup(worker: object) -> None:  # noqa: ARG001 - the engine calls it by this signature
    """Hear no signal that a terminal sends to all; the program that started this worker passes on what it means."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
