"""One delivery under way: which outputs of a purchase have arrived, which have failed and why."""

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
    """The pictures are whole, but not accepted under ``strict_size``; ``outputs`` says where they are kept."""

    def __init__(self, message: str, outputs: tuple[Output, ...]) -> None:
        self.outputs = outputs
        super().__init__(message)


class InternalError(RunnerError):
    """A bug of the runner's own, or of a decoder."""


class OutputReplaced(RunnerError):
    """The API's answer names other outputs by now than those that were recorded."""


class Expired(RunnerError):
    """Neither the storage nor the API has the files any more."""


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
"""Trying again within the run cannot help; the next run may find it changed."""


_LASTING = (BadMedia, OutputReplaced, TooLarge, TooManyPixels)
"""Wrong in two runs alike, these will not come right by asking again."""


def fault_of(failure: RunnerError) -> Fault:
    """What is recorded of a failure."""
    return Fault(
        code=CODES[type(failure)],
        message=str(failure),
        retryable=not isinstance(failure, Expired),
        http_status=getattr(failure, "status", None),
    )


class Shipment(msgspec.Struct):
    """The outputs of one purchase on their way, counted from 1."""

    record: Record
    arrivals: dict[int, IncomingFile] = msgspec.field(default_factory=dict)
    failures: dict[int, RunnerError] = msgspec.field(default_factory=dict)
    settled: set[int] = msgspec.field(default_factory=set)
    """Those that have failed and are not tried again in this run."""
    renewed: bool = False
    """Whether the API has named the outputs anew."""
    answer: tuple[str, ...] | None = None
    """What the API says that the outputs are, where some of them are inside its answer."""

    @property
    def waiting(self) -> list[int]:
        """The outputs that are to be tried."""
        numbers = range(1, len(self.record.outputs) + 1)
        return [number for number in numbers if number not in self.arrivals and number not in self.settled]

    @property
    def failure(self) -> RunnerError:
        """Why it cannot be delivered, by the first output that failed."""
        return self.failures[min(self.failures)]

    @property
    def wants_fresh_links(self) -> bool:
        """True if the API should be asked for the outputs anew: links expire, and addresses change, before requests."""
        return any(
            isinstance(failure, RefusedUrl | ConnectFailed | OutputReplaced)
            or (isinstance(failure, StorageAnswer) and failure.expired)
            for number, failure in self.failures.items()
            if number not in self.settled
        )

    @property
    def brings_news(self) -> bool:
        """Tell whether anything arrived that the record does not say already."""
        return any(arrival.output != self.record.outputs[number - 1] for number, arrival in self.arrivals.items())

    @property
    def loses_a_file(self) -> bool:
        """Tell whether an output failed whose file was here before."""
        outputs = self.record.outputs
        return self.record.state is State.DONE and any(outputs[n - 1].path is not None for n in self.failures)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The outputs as they are to be recorded; of a done purchase what is missing stays as it was."""
        return tuple(self._recorded(number, output) for number, output in enumerate(self.record.outputs, 1))

    def _recorded(self, number: int, output: Output) -> Output:
        if number in self.arrivals:
            return self.arrivals[number].output
        if number not in self.failures or (self.record.state is State.DONE and output.path is not None):
            return output
        return Output(url=output.url, error=fault_of(self.failures[number]))

    def fail(self, number: int, failure: RunnerError, *, final: bool) -> None:
        """Note why an output did not arrive. ``final``: it is not tried again in this run."""
        failure.with_traceback(None)  # else frames with blocks of the file live on in a cycle
        failure.__context__ = None
        self.failures[number] = failure
        if final:
            self.settled.add(number)

    def arrive(self, number: int, arrival: IncomingFile) -> None:
        self.arrivals[number] = arrival
        self.failures.pop(number, None)

    def renew(self, outputs: tuple[Output, ...]) -> list[IncomingFile]:
        """Go on with the outputs that the API names now; returns arrivals that belong to none of them any more."""
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
        """Tell whether what is missing will not come by trying again, so that the purchase is done without it.

        Bytes that are wrong, or gone, must have been so in an earlier run as well: storages have bad days.
        """
        return all(self._is_lasting(number, failure) for number, failure in self.failures.items())

    def repeats(self, failure: RunnerError) -> bool:
        """Tell whether an earlier run met the same failure, of a kind that will not come right by asking again."""
        before = self.record.error
        gone = isinstance(failure, StorageAnswer) and failure.expired and self.renewed
        lasting = gone or isinstance(failure, _LASTING)
        return lasting and before is not None and before.code in (CODES[type(failure)], UNDELIVERABLE)

    def _is_lasting(self, number: int, failure: RunnerError) -> bool:
        if isinstance(failure, RefusedUrl | TooLarge | TooManyPixels):
            return True
        if isinstance(failure, StorageAnswer):
            return failure.expired and self.renewed
        before = self.record.outputs[number - 1].error
        return isinstance(failure, BadMedia | Expired) and before is not None and before.code == CODES[type(failure)]


def partial_warning(outputs: tuple[Output, ...]) -> str | None:
    """``partial`` where an output could not be had."""
    return PARTIAL if any(output.error is not None for output in outputs) else None
