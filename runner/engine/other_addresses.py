"""Purchases made at another address of the API than the one of this run. They are reported, but not polled."""

from __future__ import annotations

from collections.abc import Iterator

from runner.core.models import EMULATOR
from runner.engine.billing.costs import is_paid
from runner.ledger import LedgerReader


def owed_elsewhere(api: str, ledger: LedgerReader) -> Iterator[str]:
    """Yield a message for each address other than ``api`` that owes results: how many, and what to do."""
    for other in sorted(ledger.apis() - {api, EMULATOR} if is_paid(api) else ()):
        if owed := len(ledger.owed(other)):
            results = "1 paid result is" if owed == 1 else f"{owed:,} paid results are"
            yield f"{results} at {other}, not downloaded yet, and this command used {api}; {advice(other)}"


def advice(other: str) -> str:
    """Return the advice for the case that ``other`` is an address of the same API."""
    return f"if both are addresses of one service, add --same-api-as {other} once"
