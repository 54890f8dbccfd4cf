"""Addresses of one API: groups of addresses that the user has declared to be one service (``--same-api-as``).

The declaration is in ``same_apis`` of one record, so it moves with the results. Readers passed to ``recognize`` show
purchases made at any of these addresses as made at the address that this run uses.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from runner.core.models import EMULATOR, State
from runner.ledger.readers import LedgerReader, LedgerWriter


def recognize(api: str, *readers: LedgerReader, same_as: str | None = None) -> None:
    """Make ``readers`` show purchases at other addresses of the API ``api`` as made at ``api``.

    ``same_as`` is an address that the user declares to be the same, without recording it.
    """
    said = {frozenset(addresses) for reader in readers for addresses in reader.same_apis()}
    if same_as is not None:
        said.add(frozenset((api, same_as)))
    found = {api}
    while more := {address for addresses in said if addresses & found for address in addresses} - found:
        found |= more
    for reader in readers:
        reader.treat_as(api, frozenset(found - {api, EMULATOR}))


async def say_same(ledger: LedgerWriter, api: str, same_as: str) -> None:
    """Record that ``api`` and ``same_as`` are one service, unless that is recorded or nothing was bought there."""
    if api == same_as or any({api, same_as} <= set(addresses) for addresses in ledger.same_apis()):
        return
    record = next((record for record in ledger.latest() if record.api == same_as), None)
    if record is not None:
        both = tuple(sorted({*record.same_apis, api, same_as}))
        await ledger.append(msgspec.structs.replace(record, same_apis=both))


def bought_elsewhere(api: str, *readers: LedgerReader) -> Counter[str]:
    """Count the purchases made at another API than ``api``, by address. Purchases of an emulator are left out."""
    if api == EMULATOR or not any(reader.apis() - {api, EMULATOR} for reader in readers):
        return Counter()
    records = (record for reader in readers for record in reader.latest() if record.state is not State.RELEASED)
    return Counter(record.api for record in records if record.api not in (api, EMULATOR))
