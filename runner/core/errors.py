"""Error tree, divided by what the user must do next.

::

    RunnerError                 what every caller may catch
    ├── UsageError              64  the command line, or a call of the library, makes no sense
    ├── ManifestError           65  the manifest has faults; all of them are in ``problems``
    ├── ConflictError           65  the output folder belongs to something else
    ├── LedgerError             73  the results manifest cannot be written; nothing more may be bought
    │   └── LedgerCorrupt       65  the results manifest cannot be read
    ├── OutputError             73  the output folder cannot be written
    ├── Locked                  75  another run holds the output folder
    ├── AccountError            77  no token, or the API refuses it
    └── Unavailable             69  the API cannot be reached; safe to ask again

Trouble with one job is no exception: it ends in the job's record and in the report.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.core.models import Problem


class RunnerError(Exception):
    """Root of everything that ``runner`` raises on purpose; ``str()`` is fit for a person to read."""

    exit_code: ClassVar[int] = 70
    did: dict[str, Any] | None = None
    """What was done all the same, as the object of ``--json`` says it."""


class UsageError(RunnerError):
    exit_code = 64


class ManifestError(RunnerError):
    """The manifest has faults; nothing was bought.

    ``problems`` holds them in order of place, ten thousand at most; ``count`` is how many there are.
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
    """Tasks fail in groups; raise the one error that the user should read, or the group where it is a bug of ours."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error of a group that the user should read; the group itself where it is a bug of ours."""
    ours, _ = group.split(RunnerError)
    leaf: BaseException | None = ours
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf or group
