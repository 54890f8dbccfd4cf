"""State of one delivery: the outputs of a purchase that have arrived, and those that have failed, with the reason."""

from __future__ import annotations

import msgspec

from runner.core.errors import OutputError, RunnerError
from runner.core.http import ConnectFailed, ConnectionBroken, TooLarge
from runner.core.models import DISK, INTERNAL, PARTIAL, UNDELIVERABLE, Fault, Output, Record, State
from runner.files.containers import BadMedia, TooManyPixels
from runner.files.download import StorageAnswer
from runner.files.errors import FileMoved, PathOccupied
from runner.files.output_folder import IncomingFile
from runner.files.urls import RefusedUrl


class Rejected(RunnerError):
    """Error: the pictures are intact, but ``strict_size`` rejects them. ``outputs`` has the paths of the kept files."""

    def __init__(self, message: str, outputs: tuple[Output, ...]) -> None:
        self.outputs = outputs
        super().__init__(message)


class InternalError(RunnerError):
    """Error: a bug of the runner or of a decoder."""


class OutputReplaced(RunnerError):
    """Error: the API's answer now names other outputs than those recorded."""


class Expired(RunnerError):
    """Error: neither the storage nor the API has the files any more."""


CODES: dict[type[RunnerError], str] = {
    RefusedUrl: "untrusted_host",
    StorageAnswer: "storage",
    BadMedia: "bad_file",
    OutputReplaced: "bad_file",
    TooManyPixels: "too_large",
    TooLarge: "too_large",
    PathOccupied: "file_in_the_way",
    OutputError: DISK,
    FileMoved: "file_moved",
    ConnectFailed: "storage",
    ConnectionBroken: "storage",
    Rejected: "wrong_output",
    Expired: "expired",
    InternalError: INTERNAL,
}
FINAL = (Rejected, Expired, TooLarge, TooManyPixels, PathOccupied, OutputError, InternalError)
"""Errors for which a retry within the run cannot help. The next run may succeed."""


_LASTING = (BadMedia, OutputReplaced, TooLarge, TooManyPixels)
"""Errors that count as permanent once they occur in two runs."""


def fault_of(failure: RunnerError) -> Fault:
    """Return the fault that is recorded for ``failure``."""
    return Fault(
        code=CODES[type(failure)],
        message=str(failure),
        retryable=not isinstance(failure, Expired),
        http_status=getattr(failure, "status", None),
    )


class Shipment(msgspec.Struct):
    """Outputs of one purchase during its delivery, numbered from 1."""

    record: Record
    arrivals: dict[int, IncomingFile] = msgspec.field(default_factory=dict)
    failures: dict[int, RunnerError] = msgspec.field(default_factory=dict)
    settled: set[int] = msgspec.field(default_factory=set)
    """Numbers of failed outputs that are not retried in this run."""
    renewed: bool = False
    """True if the API has named the outputs again during this delivery."""
    answer: tuple[str, ...] | None = None
    """Outputs as the API's answer names them, for outputs that are inside the answer; None: not requested yet."""

    @property
    def waiting(self) -> list[int]:
        """Return the numbers of the outputs that are still to be fetched."""
        numbers = range(1, len(self.record.outputs) + 1)
        return [number for number in numbers if number not in self.arrivals and number not in self.settled]

    @property
    def failure(self) -> RunnerError:
        """Return the error of the first failed output."""
        return self.failures[min(self.failures)]

    @property
    def wants_fresh_links(self) -> bool:
        """Return whether to ask the API for the outputs again: links expire and addresses change before requests do."""
        return any(
            isinstance(failure, RefusedUrl | ConnectFailed | OutputReplaced)
            or (isinstance(failure, StorageAnswer) and failure.expired)
            for number, failure in self.failures.items()
            if number not in self.settled
        )

    @property
    def brings_news(self) -> bool:
        """Return whether an arrived output differs from the record."""
        return any(arrival.output != self.record.outputs[number - 1] for number, arrival in self.arrivals.items())

    @property
    def loses_a_file(self) -> bool:
        """Return whether an output failed whose file was on disk before."""
        outputs = self.record.outputs
        return self.record.state is State.DONE and any(outputs[n - 1].path is not None for n in self.failures)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Return the outputs to record. Missing outputs of a done purchase stay as recorded."""
        return tuple(self._recorded(number, output) for number, output in enumerate(self.record.outputs, 1))

    def _recorded(self, number: int, output: Output) -> Output:
        if number in self.arrivals:
            return self.arrivals[number].output
        if number not in self.failures or (self.record.state is State.DONE and output.path is not None):
            return output
        return Output(url=output.url, error=fault_of(self.failures[number]))

    def fail(self, number: int, failure: RunnerError, *, final: bool) -> None:
        """Note why an output did not arrive. ``final``: the output is not retried in this run."""
        failure.with_traceback(None)  # else a cycle keeps frames with blocks of the file alive
        failure.__context__ = None
        self.failures[number] = failure
        if final:
            self.settled.add(number)

    def arrive(self, number: int, arrival: IncomingFile) -> None:
        self.arrivals[number] = arrival
        self.failures.pop(number, None)

    def renew(self, outputs: tuple[Output, ...]) -> list[IncomingFile]:
        """Replace the outputs by those that the API names now, and return the arrivals that belong to none of them."""
        before = self.record.outputs
        self.renewed, dropped = True, []
        if len(outputs) != len(before):
            dropped = list(self.arrivals.values())
            self.arrivals, self.failures, self.settled = {}, {}, set()
        else:
            outputs = tuple(
                old if number in self.arrivals or number in self.settled else Output(url=new.url, error=old.error)
                for number, (old, new) in enumerate(zip(before, outputs, strict=True), 1)
            )
        self.record = msgspec.structs.replace(self.record, outputs=outputs)
        return dropped

    @property
    def over(self) -> bool:
        """Return whether no retry can get the missing outputs, so that the purchase is done without them.

        Wrong or deleted bytes count only if an earlier run met the same error: a storage may fail for a while.
        """
        return all(self._is_lasting(number, failure) for number, failure in self.failures.items())

    def repeats(self, failure: RunnerError) -> bool:
        """Tell whether an earlier run met the same error and a retry cannot resolve it."""
        before = self.record.error
        gone = isinstance(failure, StorageAnswer) and failure.expired and self.renewed
        lasting = gone or isinstance(failure, _LASTING)
        if not lasting or before is None:
            return False
        same = before.code == CODES[type(failure)] and before.http_status == getattr(failure, "status", None)
        return same or before.code == UNDELIVERABLE

    def _is_lasting(self, number: int, failure: RunnerError) -> bool:
        if isinstance(failure, RefusedUrl | TooLarge | TooManyPixels):
            return True
        if isinstance(failure, StorageAnswer):
            return failure.expired and self.renewed
        before = self.record.outputs[number - 1].error
        return isinstance(failure, BadMedia | Expired) and before is not None and before.code == CODES[type(failure)]


def partial_warning(outputs: tuple[Output, ...]) -> str | None:
    """Return ``partial`` if an output could not be fetched, else None."""
    return PARTIAL if any(output.error is not None for output in outputs) else None
