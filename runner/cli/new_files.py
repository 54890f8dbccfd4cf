"""List of the files that a run delivers, for the command of ``--on-finish``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from runner.core.clock import SystemClock, timestamp
from runner.core.models import Record, State


class NewFiles:
    """Text file with the path of each delivered file, relative to the output folder, one per line.

    The file is written during the run, so that a million names need no memory.
    """

    def __init__(self) -> None:
        """Create the file in the system's folder for temporary files. Raises ``OSError``."""
        self._since = timestamp(SystemClock().now())
        self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed by ``finish``
            "w", encoding="utf-8", errors="surrogateescape", prefix="runner-new-files-", suffix=".txt", delete=False
        )
        self.path = Path(self._file.name)
        self.trouble = ""
        """Reason why the list is incomplete; empty: it is complete."""

    def __call__(self, record: Record) -> None:
        """Add the files of a purchase that was delivered now."""
        if record.state is not State.DONE or record.error is not None or record.at < self._since:
            return  # an older time means a copy of an earlier line, as a redo or another id makes
        try:
            self._file.writelines(f"{output.path}\n" for output in record.outputs if output.path is not None)
        except OSError as error:
            self.trouble = f"the list of new files is incomplete: {error.strerror}"

    def finish(self) -> None:
        """Write out the list."""
        try:
            self._file.close()
        except OSError as error:
            self.trouble = f"the list of new files is incomplete: {error.strerror}"

    def remove(self) -> None:
        """Delete the list."""
        self.path.unlink(missing_ok=True)
