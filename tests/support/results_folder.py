"""A folder of results, made by hand: records, pictures and what went wrong."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from runner.cli.commands.report import command
from runner.core.models import Fault, Output, Record, State
from runner.ledger.records import encode

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
PAYLOADS = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "--><svg onload=alert(1)>",
    "<!--<script>",
    "]]>&lt;b&gt;{{ 7*7 }}{% x %}",
    "\u2028\u2029</title></style>",
    "javascript:alert(1)",
)
"""Texts that would do something on a page that took them for a part of itself."""


def picture(width: int = 64, height: int = 48, shade: int = 90, kind: str = "PNG") -> bytes:
    body = io.BytesIO()
    Image.new("RGB", (width, height), (shade, 40, 160)).save(body, kind)
    return body.getvalue()


def record(job_id: str, state: State = State.DONE, **more: Any) -> Record:
    """A record with all that is required."""
    given = {
        "purchase": 1,
        "at": "2026-11-22T10:00:09.000Z",
        "api": "https://model-api.runcomfy.net/v1",
        "manifest": "../batch.yaml",
        "model": KLEIN,
        "inputs": {"prompt": f"a picture of {job_id}", "width": 64, "height": 48},
        "fingerprint": f"sha256:{job_id}",
        "file": job_id,
        "reserved_usd": 0.009,
        **more,
    }
    return Record(id=job_id, state=state, **given)


@dataclass
class Shelf:
    """An output folder ``out`` in a folder of its own."""

    folder: Path
    records: list[Record] = field(default_factory=list)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def add(self, job_id: str, state: State = State.DONE, **more: Any) -> Record:
        made = record(job_id, state, **more)
        self.records.append(made)
        return made

    def done(self, job_id: str, *, file: str = "", body: bytes | None = None, seconds: int = 3, **more: Any) -> Record:
        """A delivered job and its picture."""
        body = body if body is not None else picture(shade=len(self.records) % 250)
        path = f"{file or job_id}.png"
        (self.out / path).parent.mkdir(parents=True, exist_ok=True)
        (self.out / path).write_bytes(body)
        output = Output(
            url="https://x.runcomfy.com/1.png",
            path=path,
            bytes=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            media_type="image/png",
            width=64,
            height=48,
        )
        start = len(self.records) % 3600
        times = {
            "submitted_at": f"2026-11-22T10:{start // 60:02d}:{start % 60:02d}.000Z",
            "completed_at": f"2026-11-22T11:{start // 60:02d}:{start % 60:02d}.{seconds:03d}Z",
        }
        ids = {"request_id": f"req-{len(self.records)}", "cost_usd": 0.0045}
        return self.add(job_id, outputs=(output,), file=file or job_id, **{**times, **ids, **more})

    def file(self, job_id: str, ending: str, media_type: str, body: bytes, **more: Any) -> Record:
        """A delivered job whose file is no picture."""
        made = self.done(job_id, **more)
        path = f"{made.file}.{ending}"
        (self.out / f"{made.file}.png").unlink()
        (self.out / path).write_bytes(body)
        told = {"path": path, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest(), "media_type": media_type}
        output = msgspec.structs.replace(made.outputs[0], width=None, height=None, **told)
        self.records[-1] = changed(made, outputs=(output,))
        return made

    def failed(self, job_id: str, message: str = "no such thing", **more: Any) -> Record:
        fault = Fault(code="422001", message=message, http_status=422)
        return self.add(job_id, State.FAILED, error=fault, **more)

    def unknown(self, job_id: str, message: str = "Connection reset", **more: Any) -> Record:
        return self.add(job_id, State.UNKNOWN, error=Fault(code="no_answer", message=message), **more)

    def save(self) -> None:
        self.out.mkdir(exist_ok=True)
        (self.out / "results.jsonl").write_bytes(b"".join(map(encode, self.records)))

    def report(self, *arguments: str) -> Path:
        """Write the report as the command line does, and say where it is."""
        self.save()
        command.main([str(self.out), *arguments], standalone_mode=False)
        return self.out / "report.html"


def data_of(page: str) -> dict[str, Any]:
    """What the script of a page reads, with the values that a page leaves out."""
    block = page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    found = json.loads(block)
    assert isinstance(found, dict)
    for card in found["cards"]:
        for name in ("prompt", "link", "thumb", "kind", "text", "other", "why", "sha256", "path"):
            card.setdefault(name, "")
        card.setdefault("state", "done")
        card.setdefault("cut", False)
        card["pictured"] = card["kind"] != ""
    return found


def changed(made: Any, **changes: Any) -> Any:
    """A record or an output with other values."""
    return msgspec.structs.replace(made, **changes)
