"""Error classes with their exit codes, divided by what the user must do next.

::

    RunnerError                 base class, for callers to catch
    ├── UsageError              64  invalid command line, or invalid call of the library
    ├── ManifestError           65  the manifest has problems; all of them are in ``problems``
    ├── ConflictError           65  the output folder belongs to something else
    ├── LedgerError             73  the results log cannot be written; nothing more may be bought
    │   └── LedgerCorrupt       65  the results log cannot be read
    ├── OutputError             73  the output folder cannot be written
    ├── Locked                  75  another run holds the output folder
    ├── AccountError            77  no token, or the API rejects the token
    └── Unavailable             69  the API cannot be reached; safe to try again

A problem with one job raises no exception: the problem is in the job's record and in the report.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.core.models import Problem


class RunnerError(Exception):
    """Base class of all errors that ``runner`` raises on purpose; ``str()`` gives a message for users."""

    exit_code: ClassVar[int] = 70
    did: dict[str, Any] | None = None
    """Work that was done before the error, in the form of the ``--json`` object; None: nothing."""


class UsageError(RunnerError):
    exit_code = 64


class ManifestError(RunnerError):
    """Invalid manifest; nothing was bought.

    ``problems`` holds the problems in order of position, ten thousand at most; ``count`` is their full number.
    """

    exit_code = 65

    def __init__(self, problems: Sequence[Problem], *, count: int = 0) -> None:
        self.problems = tuple(problems)
        self.count = max(count, len(self.problems))
        super().__init__("\n".join(map(str, self.problems)))


class ConflictError(RunnerError):
    exit_code = 65


class LedgerError(RunnerError):
    exit_code = 73


class LedgerCorrupt(LedgerError):
    exit_code = 65


class OutputError(RunnerError):
    exit_code = 73


class Locked(RunnerError):
    exit_code = 75


class AccountError(RunnerError):
    exit_code = 77


class Unavailable(RunnerError):
    exit_code = 69


@contextmanager
def one_error() -> Iterator[None]:
    """Raise, in place of an exception group of tasks, the one error for the user; the group itself if it is a bug."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first ``RunnerError`` of ``group``; the group itself if it has none, which is a bug in the runner."""
    ours, _ = group.split(RunnerError)
    leaf: BaseException | None = ours
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf or group
