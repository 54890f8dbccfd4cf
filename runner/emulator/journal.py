"""Journal that outlives the process: a line for every request accepted, cancelled or forgotten."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO

from .catalogue import MODELS
from .queue import Fate, Request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "requests.jsonl"


class Journal:
    """An append-only file. What ``write`` took is with the operating system: killing us cannot lose it."""

    def __init__(self, file: BinaryIO | None = None) -> None:
        self._file = file

    def write(self, event: Mapping[str, Any]) -> None:
        """Append one event; nothing happens if there is no file. Raises ``OSError``."""
        if self._file is not None:
            self._file.write(json.dumps(event, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def open_journal(folder: Path | None) -> tuple[Journal, list[dict[str, Any]]]:
    """The journal in ``folder``, made if need be, and what it holds so far; no folder, nothing is kept.

    A torn last line was never answered for and is cut. Raises ``OSError``, and ``ValueError`` for damage
    before it.
    """
    if folder is None:
        return Journal(), []
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    path.touch()
    held = path.read_bytes()
    whole = held[: held.rfind(b"\n") + 1]
    events = [_event(path, number, line) for number, line in enumerate(whole.splitlines(), 1)]
    # Unbuffered: one write, one line.
    file = path.open("ab", buffering=0)
    if len(whole) < len(held):  # else another emulator, of another shard, may have added a line meanwhile
        file.truncate(len(whole))
    return Journal(file), events


def accepted_event(request: Request) -> dict[str, Any]:
    """All that is needed to go on with it later."""
    fate = request.fate
    return {
        "event": "accepted",
        "at": request.submitted,
        "request_id": request.request_id,
        "model_id": request.model.model_id,
        "input": request.input,
        "key": request.key,
        "seconds": request.seconds,
        "fate": fate and {"state": fate.state, "word": fate.word, "code": fate.code, "message": fate.message},
    }


def accepted_request(event: dict[str, Any]) -> Request:
    """The reverse of ``accepted_event``; a model that is gone raises ``KeyError``."""
    return Request(
        request_id=event["request_id"],
        model=MODELS[event["model_id"]],
        input=event["input"],
        fingerprint=event["key"].partition("/")[0],
        key=event["key"],
        submitted=event["at"],
        seconds=event["seconds"],
        fate=event["fate"] and Fate(**event["fate"]),
    )


def _event(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}:{number}: not a line of this journal") from error
    return event
