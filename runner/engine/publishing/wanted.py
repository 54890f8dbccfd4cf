"""Copies and sidecars that a job wants of a purchase, and whether they are made."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import msgspec

from runner.core.copies import SIDECAR, CopyFile, CopyRecipe, sidecar_path
from runner.core.media_formats import PICTURES
from runner.core.models import Job, Output, Record

_PICTURES = {kind.media_type for kind in PICTURES.values()}


class WantedCopy(msgspec.Struct, frozen=True, kw_only=True):
    """One file to make of one output."""

    path: str
    number: int
    """Number of the output, from 1."""
    output: Output
    digest: str
    """Digest of the recipe, or of the sidecar's content."""
    recipe: CopyRecipe | None = None
    content: bytes = b""
    """Content of a sidecar, which has no recipe."""


def wanted(job: Job, record: Record) -> Iterator[WantedCopy]:
    """Yield what ``job`` wants of the files of ``record``. Only pictures have copies; any file has a sidecar."""
    for number, output in enumerate(record.outputs, 1):
        if output.path is None or output.sha256 is None:
            continue
        if job.sidecar:
            content = sidecar(record, output)
            digest = f"{SIDECAR}-{blake2b(content, digest_size=8).hexdigest()}"
            path = sidecar_path(output.path)
            yield WantedCopy(path=path, number=number, output=output, digest=digest, content=content)
        if output.media_type in _PICTURES:
            for recipe in job.copies:
                path = recipe.path(number)
                yield WantedCopy(path=path, number=number, output=output, digest=recipe.digest, recipe=recipe)


def find_made(record: Record, want: WantedCopy) -> CopyFile | None:
    """Return the recorded copy, if it was made by this recipe and of these bytes."""
    for copy in record.copies:
        if copy.path == want.path and (copy.recipe, copy.of) == (want.digest, want.output.sha256):
            return copy
    return None


def sidecar(record: Record, output: Output) -> bytes:
    """Return the content of the JSON file beside a delivered file: how it was made, and what it cost."""
    fields = {
        "file": output.path,
        "sha256": output.sha256,
        "bytes": output.bytes,
        "media_type": output.media_type,
        "width": output.width,
        "height": output.height,
        "id": record.id,
        "purchase": record.purchase,
        "model": record.model,
        "prompt": record.inputs.get("prompt"),
        "inputs": record.inputs,
        "request_id": record.request_id,
        "submitted_at": record.submitted_at,
        "completed_at": record.completed_at,
        "cost_usd": record.cost_usd,
    }
    found = {name: value for name, value in fields.items() if value is not None}
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"
