"""Files that were replaced when a job was bought again. They lie in the archive of the output folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from runner.core.disk import is_within
from runner.core.models import Output, Record, State
from runner.files.record_paths import archive_folder
from runner.report.cards import OlderFile


def find_older(
    root: Path, chosen: Iterable[Record], histories: dict[str, list[Record]]
) -> dict[tuple[str, int], list[OlderFile]]:
    """Return the replaced files of each output of the records ``chosen``, by job id and number, the newest first."""
    found: dict[tuple[str, int], list[OlderFile]] = {}
    for record in chosen:
        for earlier in _replaced(record, histories[record.id]):
            for number, output in enumerate(earlier.outputs[: len(record.outputs)], 1):
                path = _archived(root, earlier, output)
                if path is not None:
                    older = OlderFile(purchase=earlier.purchase, path=path)
                    found.setdefault((record.id, number), []).append(older)
    return found


def _replaced(record: Record, history: Sequence[Record]) -> Iterable[Record]:
    if record.state is not State.DONE:
        return ()
    return (one for one in reversed(history) if one.state is State.DONE and one.purchase != record.purchase)


def _archived(root: Path, record: Record, output: Output) -> str | None:
    """Return the path at which an archived file lies; None if there is none, or if a link leads out of the folder."""
    for path in archive_folder(record, output):
        try:
            if (root / path).is_file() and is_within(root / path, root):
                return path
        except (OSError, ValueError):
            continue
    return None
