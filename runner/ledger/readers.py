"""Readers of purchases: one results log, the logs of all shards as one, or a part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Protocol

from runner.core.models import Record
from runner.core.shards import Shard, shard_of
from runner.ledger.index import RedoState


class LedgerReader(Protocol):
    """Read access to purchases; ``Ledger`` documents each method."""

    @property
    def older(self) -> Path | None:
        """Return the path of a log that is an older copy than the last run left; None: there is none."""

    def purchases(self, job_id: str, api: str) -> list[Record]: ...

    def history(self, job_id: str, but: int = 0) -> list[Record]: ...

    def with_request(self, request_id: str) -> Record | None: ...

    def owed(self, api: str) -> list[Record]: ...

    def interrupted(self) -> list[Record]: ...

    def redo(self, api: str) -> RedoState: ...

    def apis(self) -> set[str]: ...

    def same_apis(self) -> set[tuple[str, ...]]: ...

    def treat_as(self, api: str, aliases: frozenset[str]) -> None: ...

    def latest(self) -> Iterator[Record]: ...

    def claim(self, ids: Iterable[str]) -> None: ...

    def unclaimed(self) -> Iterator[Record]: ...


class LedgerWriter(LedgerReader, Protocol):
    """Read and write access, as a run has it."""

    path: Path
    """Path that names these results to people."""

    async def append(self, record: Record, *, quiet: bool = False) -> Record: ...

    async def owner_of(self, path: str) -> Record | None: ...

    def compact(self) -> None: ...

    def close(self) -> None: ...


class ShardedReader:
    """Ledgers of several shards read as one: each job is looked up in its own shard."""

    def __init__(self, count: int, parts: Mapping[int, LedgerReader]) -> None:
        """Combine ``parts``, the shards' ledgers by index from 1 to ``count``; shards left out count as empty."""
        self._count = count
        self._parts = parts

    @property
    def older(self) -> Path | None:
        return next((older for part in self._parts.values() if (older := part.older) is not None), None)

    def purchases(self, job_id: str, api: str) -> list[Record]:
        return [record for record in self.history(job_id) if record.api == api]

    def history(self, job_id: str, but: int = 0) -> list[Record]:
        if not self._parts:
            return []
        part = self._parts.get(shard_of(job_id, self._count))
        return part.history(job_id, but) if part is not None else []

    def with_request(self, request_id: str) -> Record | None:
        found = (part.with_request(request_id) for part in self._parts.values())
        return next(filter(None, found), None)

    def owed(self, api: str) -> list[Record]:
        found = chain.from_iterable(part.owed(api) for part in self._parts.values())
        return sorted(found, key=lambda record: record.submitted_at or record.at)

    def interrupted(self) -> list[Record]:
        return list(chain.from_iterable(part.interrupted() for part in self._parts.values()))

    def redo(self, api: str) -> RedoState:
        """Return the newest redo of any shard; an unfinished redo comes first."""
        redos = [part.redo(api) for part in self._parts.values()]
        return max(redos, key=lambda redo: (not redo.closed, redo), default=RedoState())

    def apis(self) -> set[str]:
        return set[str]().union(*(part.apis() for part in self._parts.values()))

    def same_apis(self) -> set[tuple[str, ...]]:
        return set[tuple[str, ...]]().union(*(part.same_apis() for part in self._parts.values()))

    def treat_as(self, api: str, aliases: frozenset[str]) -> None:
        for part in self._parts.values():
            part.treat_as(api, aliases)

    def latest(self) -> Iterator[Record]:
        return chain.from_iterable(part.latest() for part in self._parts.values())

    def claim(self, ids: Iterable[str]) -> None:
        for job_id in ids:
            part = self._parts.get(shard_of(job_id, self._count))
            if part is not None:
                part.claim((job_id,))

    def unclaimed(self) -> Iterator[Record]:
        return chain.from_iterable(part.unclaimed() for part in self._parts.values())


EMPTY = ShardedReader(1, {})
"""Reader without any purchase."""


class FilteredReader:
    """View of some jobs only, as if there were no others."""

    def __init__(self, reader: LedgerReader, owns: Callable[[str], bool]) -> None:
        """Restrict ``reader`` to the jobs for whose id ``owns`` returns True."""
        self._reader = reader
        self._owns = owns

    @property
    def older(self) -> Path | None:
        return self._reader.older

    def purchases(self, job_id: str, api: str) -> list[Record]:
        return self._reader.purchases(job_id, api) if self._owns(job_id) else []

    def history(self, job_id: str, but: int = 0) -> list[Record]:
        return self._reader.history(job_id, but) if self._owns(job_id) else []

    def with_request(self, request_id: str) -> Record | None:
        record = self._reader.with_request(request_id)
        return record if record is not None and self._owns(record.id) else None

    def owed(self, api: str) -> list[Record]:
        return self._of(iter(self._reader.owed(api)))

    def interrupted(self) -> list[Record]:
        return self._of(iter(self._reader.interrupted()))

    def redo(self, api: str) -> RedoState:
        return self._reader.redo(api)

    def apis(self) -> set[str]:
        return self._reader.apis()

    def same_apis(self) -> set[tuple[str, ...]]:
        return self._reader.same_apis()

    def treat_as(self, api: str, aliases: frozenset[str]) -> None:
        self._reader.treat_as(api, aliases)

    def latest(self) -> Iterator[Record]:
        return (record for record in self._reader.latest() if self._owns(record.id))

    def claim(self, ids: Iterable[str]) -> None:
        self._reader.claim(filter(self._owns, ids))

    def unclaimed(self) -> Iterator[Record]:
        return (record for record in self._reader.unclaimed() if self._owns(record.id))

    def _of(self, records: Iterator[Record]) -> list[Record]:
        return [record for record in records if self._owns(record.id)]


def only(reader: LedgerReader, owns: Callable[[str], bool] | None) -> LedgerReader:
    """Return the view of the jobs for whose id ``owns`` returns True; None: ``reader`` itself."""
    return reader if owns is None else FilteredReader(reader, owns)


def divided(reader: LedgerReader, shard: Shard) -> tuple[FilteredReader, FilteredReader]:
    """Return the views of a shard's own jobs and of all others, as if the folder were split that way."""
    return FilteredReader(reader, shard.owns), FilteredReader(reader, lambda job_id: not shard.owns(job_id))
