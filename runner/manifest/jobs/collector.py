"""Collector of expanded jobs, one row at a time. A bad row is skipped, or is a problem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.manifest.jobs.expansion import NO_CELLS
from runner.manifest.models.advice import Hints

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runner.core.models import Json
    from runner.manifest.jobs.entry import JobEntry
    from runner.manifest.jobs.expansion import Cells, ExpandedJob, JobExpansion, JobProblem
    from runner.manifest.jobs.uniqueness import UniqueNames
    from runner.manifest.nodes import Mark, RowMark
    from runner.manifest.problems import Invalid, Problems

_EXAMPLES: Final = 3


class JobCollector:
    """Collector of the jobs of a whole manifest. It counts the jobs and the skipped rows."""

    def __init__(
        self, register: UniqueNames, problems: Problems, *, skip: bool, most: int, keep_rows: bool = False
    ) -> None:
        """Prepare to collect at most ``most`` jobs.

        ``skip``: a bad row is left out and counted instead of being an error. ``keep_rows``: the columns of each row
        are stored with its jobs.
        """
        self._keep_rows = keep_rows
        self.jobs = 0
        self.skipped = 0
        self.left_out = 0
        """Rows that ``where`` left out."""
        self._register = register
        self._problems = problems
        self.skips = skip
        self._most = most
        self._examples: list[str] = []
        self._hints = Hints()

    def take(self, job_entry: JobEntry, series: JobExpansion, row: RowMark | None = None,
             columns: dict[str, Json] | None = None, cells: Cells = NO_CELLS) -> None:  # fmt: skip
        """Collect the jobs of one row, or of an entry without rows."""
        self.jobs += series.count
        if self.jobs > self._most:
            return  # too many jobs: from here on they are only counted
        kept = columns if self._keep_rows else None
        made: Iterable[ExpandedJob] = series.jobs(columns or {}, cells, row)
        if row is not None and self.skips:
            made = list(made)
        if not isinstance(made, list):
            self._register_all(job_entry, made, row, kept)
        faults, series.faults = series.faults, []
        if self._note(job_entry, faults, row) and isinstance(made, list):
            self._register_all(job_entry, made, row, kept)

    def _register_all(self, job_entry: JobEntry, made: Iterable[ExpandedJob], row: RowMark | None,
                      cells: dict[str, Json] | None) -> None:  # fmt: skip
        id_mark: Mark = row or job_entry.mark("id")
        file_mark: Mark = row or job_entry.mark("file")
        copy_marks = [copy.mark if row is None else row for copy in job_entry.copies]
        for job, generated, keys in made:
            self._register.add(
                job, generated=generated, id_mark=id_mark, file_mark=file_mark, copy_marks=copy_marks,
                row=row, keys=keys, cells=cells,
            )  # fmt: skip
            self._hints.see(job, row or job_entry.entry)

    def _note(self, job_entry: JobEntry, faults: list[JobProblem], row: RowMark | None) -> bool:
        """Note ``faults``. Return whether the jobs may be stored: False if the row itself has a problem."""
        bad = False
        for mark, what, advice, of_row in faults:
            if row is None or not of_row:
                self._problems.error(mark, what, advice)
            else:
                bad = True
                source = (
                    "" if mark == job_entry.mark("from") else f", from the template at {self._problems.place(mark)}"
                )
                if self.skips:
                    return self._skip_row(row, f"{what}{source}")
                self._problems.error(row, f"{what}{source}", advice)
        return not bad

    def leave_out(self) -> None:
        """Count a row that ``where`` left out."""
        self.left_out += 1

    def refuse(self, row: RowMark, wrongs: list[Invalid]) -> None:
        """Note the problems of a row that no job can be made of, or skip the row."""
        if self.skips:
            self._skip_row(row, wrongs[0].what)
            return
        for wrong in wrongs:
            self._problems.error(row, wrong.what, wrong.advice)

    def _skip_row(self, row: RowMark, what: str) -> bool:
        self.skipped += 1
        if len(self._examples) < _EXAMPLES:
            self._examples.append(f"{self._problems.place(row)}: {what}")
        return False

    def finish(self, jobs_mark: Mark, policy_mark: Mark) -> None:
        """Report the problems and warnings that concern the manifest as a whole."""
        if self.jobs > self._most:
            what = f"{self.jobs:,} jobs are more than the {self._most:,} that one manifest may have"
            self._problems.error(jobs_mark, what, "split it")
        if self.skipped:
            rows = "1 row of a feed is" if self.skipped == 1 else f"{self.skipped:,} rows of feeds are"
            more = "; …" if self.skipped > len(self._examples) else ""
            what = f"{rows} skipped: {'; '.join(self._examples)}{more}"
            self._problems.warn(policy_mark, what, "once they are right, run again for their jobs")
        self._hints.tell(self._problems)
