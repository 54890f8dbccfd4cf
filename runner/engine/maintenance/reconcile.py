"""Reconciliation: the open purchases of a folder, and how the user resolves them.

This needs only the folder. Listing takes no lock; recording does. All requests of one command are checked before any of
them is recorded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import StrEnum

import msgspec

from runner.core.clock import Clock, SystemClock, timestamp
from runner.core.errors import UsageError
from runner.core.models import ACCEPTED, LOST, REQUEST_ID, Fault, Output, Record, State
from runner.core.shards import Shard
from runner.files.output_folder import Folder
from runner.ledger import LedgerReader, acquire_all, open_ledger, recognize, say_same
from runner.ledger.records import follow, in_doubt
from runner.manifest.problems import nearest
from runner.planning.rules import made

ALL = "all"

SHOWN = 3
"""Highest number of ids or purchases that an error names."""


def find_open_purchases(ledger: LedgerReader) -> OpenPurchases:
    """Return the purchases of any API that are unknown or stuck, and other owed ones with an error."""
    records: list[Record] = []
    late: list[Record] = []
    for record in ledger.latest():
        if record.open or record.stuck:
            records.append(record)
        elif record.owed and record.error is not None:
            late.append(record)
    return group_open_purchases(records, [_bought_since(ledger, record) for record in records], late)


def _bought_since(ledger: LedgerReader, record: Record) -> bool:
    history = made(ledger.purchases(record.id, record.api))
    return bool(history) and history[-1].purchase > record.purchase


async def reconcile(
    folder: Folder,
    requests: Sequence[ResolutionRequest],
    *,
    observer: Callable[[Record], None] = lambda _: None,
    clock: Clock | None = None,
    check: Callable[[list[PlannedResolution]], Awaitable[None]] | None = None,
    api: str | None = None,
    same_as: str | None = None,
) -> OpenPurchases:
    """Record all ``requests`` durably, and return the purchases that are still open.

    ``api`` is the address of the API. ``same_as`` is another address of the same service, as given by the user.
    ``check`` is awaited before anything is recorded, and may raise; ``operations.reconcile`` uses it to ask the API.

    Raises one ``UsageError`` for all invalid requests, and then records nothing. Raises ``Locked`` while a run holds
    the folder.
    """
    clock = clock or SystemClock()
    with acquire_all(folder.root, timestamp(clock.now()), lambda shard: _concerns(requests, shard)) as held:
        ledger = open_ledger(folder.root, held, observer)
        try:
            if api is not None and same_as is not None:
                await say_same(ledger, api, same_as)
            if api is not None:
                recognize(api, ledger)
            planned = _plan(ledger, requests)
            if check is not None:
                await check(planned)
            for record, request in planned:
                await ledger.append(resolved(record, request, timestamp(clock.now())))
            return find_open_purchases(ledger)
        finally:
            ledger.close()


def _concerns(requests: Sequence[ResolutionRequest], shard: Shard) -> bool:
    """Tell whether a request is about a job of ``shard``. Only such shards must not be in use."""
    return any(_means_all(request) or shard.owns(request.id) for request in requests)


def _plan(ledger: LedgerReader, requests: Sequence[ResolutionRequest]) -> list[PlannedResolution]:
    """Return each request with the purchase it is about. Raises ``UsageError``."""
    questions = find_open_purchases(ledger)
    owners = _owners(ledger, {request.request_id for request in requests if request.request_id is not None})
    told: dict[tuple[str, int], ResolutionRequest] = {}
    planned, faults = [], []
    for request in _each(requests, questions):
        found = questions.about(request)
        fault = why_not(request, found, owners) if found else _unfound(ledger, questions, request)
        before = told.get((found[0].id, found[0].purchase)) if found else None
        if not fault and before is not None:
            fault = f"{request}: {before} names the same purchase"
        if fault:
            faults.append(fault)
            continue
        told[found[0].id, found[0].purchase] = request
        owners |= {request.request_id: found[0]} if request.request_id is not None else {}
        planned.append((found[0], request))
    if faults:
        raise UsageError("\n".join([*faults, "Nothing was recorded."]))
    return planned


def _each(requests: Sequence[ResolutionRequest], questions: OpenPurchases) -> list[ResolutionRequest]:
    """Return ``requests`` with ``--rebuy all`` expanded. Purchases of the other requests are excluded from ``all``."""
    single = [request for request in requests if not _means_all(request)]
    if len(single) == len(requests):
        return single
    named = {(record.id, record.purchase) for request in single for record in questions.about(request)}
    rest = [record for record in questions.open if (record.id, record.purchase) not in named]
    return [
        *single,
        *(ResolutionRequest(resolution=Resolution.REBUY, id=record.id, purchase=record.purchase) for record in rest),
    ]


def _means_all(request: ResolutionRequest) -> bool:
    return request.resolution is Resolution.REBUY and request.id == ALL and request.purchase is None


def _owners(ledger: LedgerReader, request_ids: set[str]) -> dict[str, Record]:
    """Return the purchases that the request ids are recorded for."""
    found = {request_id: ledger.with_request(request_id) for request_id in request_ids}
    return {request_id: record for request_id, record in found.items() if record is not None}


def _unfound(ledger: LedgerReader, questions: OpenPurchases, request: ResolutionRequest) -> str:
    """Return why ``request`` matches no open purchase: the state of its purchase, or the nearest id."""
    history = ledger.history(request.id)
    meant = [record for record in history if request.purchase in (None, record.purchase)]
    if meant:
        return f"{request}: purchase {meant[-1].purchase} is {meant[-1].state}; there is nothing to resolve"
    if history:
        return f"{request}: {request.id} has no purchase {request.purchase}"
    advice = nearest(request.id, [record.id for record in questions.open])
    advice = advice or nearest(request.id, {record.id for record in ledger.latest()})
    return f"{request}: no job with this id was bought in this folder" + (f"; {advice}" if advice else "")


class Resolution(StrEnum):
    """Resolution of a purchase by the user."""

    ADOPT = "adopt"
    LOST = "lost"
    REBUY = "rebuy"
    ACCEPT = "accept"


class ResolutionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Resolution of one purchase of a job: the open purchase, or the one with the number ``purchase``."""

    resolution: Resolution
    id: str
    purchase: int | None = None
    request_id: str | None = None

    def __str__(self) -> str:
        number = f"/{self.purchase}" if self.purchase is not None else ""
        request = f"={self.request_id}" if self.request_id is not None else ""
        return f"--{self.resolution} {self.id}{number}{request}"


PlannedResolution = tuple[Record, ResolutionRequest]
"""A purchase and its resolution."""


class OpenPurchases(msgspec.Struct, frozen=True, kw_only=True):
    """Open purchases of a folder, in order of first appearance."""

    unknown: tuple[Record, ...] = ()
    stuck: tuple[Record, ...] = ()
    passed: tuple[Record, ...] = ()
    """Never resolved, but no longer open: the job was or will be bought again. They count as spent."""
    late: tuple[Record, ...] = ()
    """Owed, after at least one failed poll or download. Not open, but the user may give up on one by its name."""

    @property
    def open(self) -> tuple[Record, ...]:
        return self.unknown + self.stuck

    @property
    def exit_code(self) -> int:
        return 2 if self.open else 0

    def about(self, request: ResolutionRequest) -> list[Record]:
        """Return the purchases that ``request`` may mean.

        Open purchases come first, then those in ``passed``, which cannot be bought again, then those in ``late``.
        """
        for group in (self.open, self.passed if request.resolution is not Resolution.REBUY else (), self.late):
            found = [r for r in group if r.id == request.id and request.purchase in (None, r.purchase)]
            if found:
                return found
        return []


def group_open_purchases(
    records: Iterable[Record], newer: Iterable[bool], late: Iterable[Record] = ()
) -> OpenPurchases:
    """Group ``records``, which are unknown or stuck. ``newer``: for each, True if its job was bought again since."""
    unknown: list[Record] = []
    stuck: list[Record] = []
    passed: list[Record] = []
    for record, later in zip(records, newer, strict=True):
        target = passed if record.rebuy or (later and record.open) else unknown if record.open else stuck
        target.append(record)
    return OpenPurchases(unknown=tuple(unknown), stuck=tuple(stuck), passed=tuple(passed), late=tuple(late))


def parse_adopt(text: str) -> ResolutionRequest:
    """Parse ``ID=REQUEST_ID`` or ``ID/PURCHASE=REQUEST_ID``. Raises ``ValueError``."""
    name, equals, request_id = text.rpartition("=")
    if not equals or not name:
        raise ValueError(f"--adopt {text}: write ID=REQUEST_ID, with the id that RunComfy's Generations page shows")
    if not REQUEST_ID.fullmatch(request_id):
        raise ValueError(f"--adopt {text}: {request_id!r} is not a request id, which has letters, digits, - and _ only")
    return msgspec.structs.replace(parse_name(Resolution.ADOPT, name), request_id=request_id)


def parse_name(resolution: Resolution, text: str) -> ResolutionRequest:
    """Parse ``ID``, or ``ID/PURCHASE`` for a job with several open purchases. No id contains a slash."""
    name, slash, number = text.rpartition("/")
    if slash and number.isascii() and number.isdigit():
        return ResolutionRequest(resolution=resolution, id=name, purchase=int(number))
    return ResolutionRequest(resolution=resolution, id=text)


def resolved(record: Record, request: ResolutionRequest, at: str) -> Record:
    """Return the record that follows from the resolution of an open purchase."""
    match request.resolution:
        case Resolution.ADOPT:
            adopted = {"request_id": request.request_id, "submitted_at": at, "rebuy": False}
            return follow(in_doubt(record, record.at), State.SUBMITTED, at, **adopted)
        case Resolution.LOST if record.open:
            fault = Fault(code=LOST, message="resolved with `reconcile --lost`: not bought", retryable=True)
            return follow(in_doubt(record, record.at), State.RELEASED, at, error=fault, rebuy=False)
        case Resolution.LOST:
            why = record.error.message if record.error else "stuck"
            fault = Fault(code=LOST, message=f"given up with `reconcile --lost` ({why})", retryable=True)
            return follow(record, State.FAILED, at, error=fault, rebuy=False)
        case Resolution.ACCEPT:
            return follow(record, State.DONE, at, outputs=_without_missing(record), warning=ACCEPTED, rebuy=False)
    return msgspec.structs.replace(in_doubt(record, record.at), at=at, rebuy=True)


def _without_missing(record: Record) -> tuple[Output, ...]:
    """Return the outputs of an owed purchase, with the reason as the error of each output without a file."""
    why = record.error or Fault(code="undelivered", message="accepted before it was downloaded")
    return tuple(
        output if output.path is not None or output.error is not None else msgspec.structs.replace(output, error=why)
        for output in record.outputs
    )


def why_not(request: ResolutionRequest, found: Sequence[Record], owners: dict[str, Record]) -> str:
    """Return why ``request`` cannot be applied to the purchases ``found``; empty: it can.

    ``owners`` has the purchases that request ids already belong to.
    """
    if len(found) > 1:
        names = ", ".join(f"{record.id}/{record.purchase}" for record in found[:SHOWN])
        return f"{request}: the job has several purchases to resolve; name one: {names}"
    record = found[0]
    if request.resolution is Resolution.ACCEPT and not record.owed:
        return f"{request}: purchase {record.purchase} is {record.state}, and may not be bought; use --lost or --rebuy"
    if request.resolution is not Resolution.ADOPT:
        return ""
    if record.request_id is not None:
        known = f"already has a request ({record.request_id}); use --accept, --lost or --rebuy"
        return f"{request}: purchase {record.purchase} {known}"
    owner = owners.get(request.request_id or "")
    if owner is not None:
        return f"{request}: this request already belongs to purchase {owner.purchase} of {owner.id}"
    return ""
