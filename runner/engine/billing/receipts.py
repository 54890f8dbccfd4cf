"""Receipts: files and costs of every purchase, one row per file.

Only the first row of a purchase has its amounts, so that the rows of a folder sum to the total spent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import msgspec

from runner.core.models import Json, Output, Record, State
from runner.engine.billing.costs import Basis, basis_of, exact, spent

LARGEST = 2**31
"""Limit of the sides of a picture. A number in a record at or above it is ignored."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One row. The names and order of the columns are stable; new columns are appended at the end."""

    id: str
    purchase: int
    state: State
    in_force: bool
    """True if these are the current files of the job."""
    output: int | None = None
    """Number of the file in its purchase, from 1; None: the purchase has no file."""
    path: str | None = None
    """Path relative to the output folder, with ``/``."""
    sha256: str | None = None
    bytes: int | None = None
    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    pixels: int | None = None
    model: str
    prompt: str | None = None
    asked_width: int | None = None
    asked_height: int | None = None
    request_id: str | None = None
    intended_at: str | None = None
    """Time just before the request was sent, if it is not known whether the request arrived."""
    submitted_at: str | None = None
    completed_at: str | None = None
    recorded_at: str
    billed_usd: float | None = None
    reserved_usd: float | None = None
    spent_usd: float | None = None
    """Amount that the purchase counts at; None: not the first row of the purchase."""
    basis: Basis | None = None
    error: str | None = None
    warning: str | None = None
    renamed_from: str | None = None
    restored_from: int | None = None
    """Number of the purchase that paid for these files."""
    api: str
    manifest: str
    copies: tuple[str, ...] = ()
    """Paths of the copies and the sidecar that were made of the file."""


def receipts(record: Record, *, in_force: bool, path_of: Callable[[Output], str | None]) -> Iterator[Receipt]:
    """Yield the rows of one purchase: one per file, or a single row if it has no files.

    ``path_of`` returns the current path of a file. For an older purchase, this differs from the original path.
    """
    row = _of_purchase(record, in_force=in_force)
    paid = msgspec.structs.replace(row, **_money(record))
    files = [(number, output) for number, output in enumerate(record.outputs, 1) if output.path is not None]
    if not files:
        yield paid
    for place, (number, output) in enumerate(files):
        copies = tuple(copy.path for copy in record.copies if in_force and copy.of == output.sha256)
        yield msgspec.structs.replace(row if place else paid, **_file(number, output, path_of), copies=copies)


def _of_purchase(record: Record, *, in_force: bool) -> Receipt:
    """Return a row with the values that all rows of a purchase share."""
    return Receipt(
        id=record.id,
        purchase=record.purchase,
        state=record.state,
        in_force=in_force,
        model=record.model,
        prompt=_text(record.inputs.get("prompt")),
        asked_width=_side(record.inputs.get("width")),
        asked_height=_side(record.inputs.get("height")),
        request_id=record.request_id,
        intended_at=record.at if record.state is State.SUBMITTING else record.intended_at,
        submitted_at=record.submitted_at,
        completed_at=record.completed_at,
        recorded_at=record.at,
        error=f"{record.error.code}: {record.error.message}" if record.error else None,
        warning=record.warning,
        renamed_from=record.renamed_from,
        restored_from=record.restored_from,
        api=record.api,
        manifest=record.manifest,
    )


def _file(number: int, output: Output, path_of: Callable[[Output], str | None]) -> dict[str, object]:
    width, height = _side(output.width), _side(output.height)
    return {
        "output": number,
        "path": path_of(output),
        "sha256": output.sha256,
        "bytes": output.bytes if 0 <= (output.bytes or 0) < 2**63 else None,
        "media_type": output.media_type,
        "width": width,
        "height": height,
        "pixels": width * height if width is not None and height is not None else None,
    }


def _money(record: Record) -> dict[str, object]:
    return {
        "billed_usd": _usd(record.cost_usd),
        "reserved_usd": _usd(record.reserved_usd),
        "spent_usd": _usd(spent(record)),
        "basis": basis_of(record),
    }


def _usd(usd: float | None) -> float | None:
    return None if usd is None else float(exact(usd))


def _text(value: Json) -> str | None:
    """Return a prompt as text. Some models accept an object as prompt; it is returned as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _side(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST else None
