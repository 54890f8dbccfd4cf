"""Results log, the only persistent state: ``<output>/results.jsonl``.

``Log`` is the file. ``Index`` maps each purchase to its last line. ``Ledger`` is the log of a running program: one
writer that commits in groups. A record is on the disk when ``append`` returns.

A folder may be split into shards with a results log each. ``layout`` lists the shards, ``sharding`` splits and merges
them, ``locking`` and ``lockfile`` keep a second writer out. The classes in ``readers`` answer queries about one log, or
about the logs of all shards.
"""

from __future__ import annotations

from runner.ledger.addresses import bought_elsewhere, recognize, say_same
from runner.ledger.last_line import older_words
from runner.ledger.layout import Layout, look, path_of
from runner.ledger.ledger import Ledger, open_ledger, open_others, open_reader
from runner.ledger.lockfile import HeldLock, private, read_holder, run_lock
from runner.ledger.locking import HeldParts, LayoutBusy, acquire, acquire_all, holders, layout_conflict, merge_shards
from runner.ledger.log import Log
from runner.ledger.readers import EMPTY, LedgerReader, LedgerWriter, ShardedReader, divided

__all__ = [
    "EMPTY",
    "HeldLock",
    "HeldParts",
    "Layout",
    "LayoutBusy",
    "Ledger",
    "LedgerReader",
    "LedgerWriter",
    "Log",
    "ShardedReader",
    "acquire",
    "acquire_all",
    "bought_elsewhere",
    "divided",
    "holders",
    "layout_conflict",
    "look",
    "merge_shards",
    "older_words",
    "open_ledger",
    "open_others",
    "open_reader",
    "path_of",
    "private",
    "read_holder",
    "recognize",
    "run_lock",
    "say_same",
]
