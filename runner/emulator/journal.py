"""Journal that survives a restart: one line for every request accepted, cancelled or forgotten."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, BinaryIO

from .catalogue import MODELS
from .queue import Fate, Request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "requests.jsonl"


class Journal:
    """Append-only file. ``write`` hands each event to the operating system, so that killing the process loses none."""

    def __init__(self, file: BinaryIO | None = None) -> None:
        self._file = file

    def write(self, event: Mapping[str, Any]) -> None:
        """Append one event; do nothing without a file. Raises ``OSError``."""
        if self._file is not None:
            self._file.write(json.dumps(event, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def open_journal(folder: Path | None) -> tuple[Journal, list[dict[str, Any]]]:
    """Open the journal in ``folder``, created if missing, and return it with its events; ``None``: nothing is kept.

    An incomplete last line is cut off, since its call had no response yet. Raises ``OSError``, and ``ValueError`` for
    damage before the last line.
    """
    if folder is None:
        return Journal(), []
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    path.touch()
    held = path.read_bytes()
    whole = held[: held.rfind(b"\n") + 1]
    events = [_event(path, number, line) for number, line in enumerate(whole.splitlines(), 1)]
    # Unbuffered: one write for each line.
    file = path.open("ab", buffering=0)
    if len(whole) < len(held):  # only then: another shard's emulator may have appended
        file.truncate(len(whole))
    return Journal(file), events


def accepted_event(request: Request) -> dict[str, Any]:
    """Return the event with all data that is needed to restore a request."""
    fate = request.fate
    insets = {"insets": [b64encode(inset).decode() for inset in request.insets]} if request.insets else {}
    return {
        "event": "accepted",
        "at": request.submitted,
        "request_id": request.request_id,
        "model_id": request.model.model_id,
        "input": request.input,
        "key": request.key,
        "seconds": request.seconds,
        "fate": fate and {"state": fate.state, "word": fate.word, "code": fate.code, "message": fate.message},
        **insets,
    }


def accepted_request(event: dict[str, Any]) -> Request:
    """Return the request of an event, the reverse of ``accepted_event``. Raises ``KeyError`` for an unknown model."""
    return Request(
        request_id=event["request_id"],
        model=MODELS[event["model_id"]],
        input=event["input"],
        fingerprint=event["key"].partition("/")[0],
        key=event["key"],
        submitted=event["at"],
        seconds=event["seconds"],
        fate=event["fate"] and Fate(**event["fate"]),
        insets=tuple(b64decode(inset) for inset in event.get("insets", ())),
    )


def _event(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}:{number}: not a line of this journal") from error
    return event
