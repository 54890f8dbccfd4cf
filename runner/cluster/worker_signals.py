"""Signal handling of the workers of ``local``: Ctrl-C, which reaches every process of a terminal, is ignored."""

from __future__ import annotations

import signal


def dask_setup(worker: object) -> None:  # noqa: ARG001 - Dask calls the function with this argument
    """Ignore the signals that a terminal sends to all processes; the coordinator passes their meaning on to shards."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
