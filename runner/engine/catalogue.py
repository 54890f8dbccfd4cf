"""Catalogue of models that are not bundled: input schemas and prices from a cache, the live catalogue or the emulator.

A cached copy is used for a day without a request. An older copy is used if the catalogue cannot be reached, with a note
to the user. A schema that is missing or unusable leaves the inputs unchecked. It is never read as a schema that accepts
anything.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import msgspec

from runner.api.config import ApiBase, Token, find_account, find_token
from runner.core.clock import Clock, SystemClock, timestamp
from runner.core.errors import AccountError, one_error
from runner.core.models import EMULATOR, Json
from runner.core.nesting import check_nesting
from runner.engine.billing.costs import Prices
from runner.engine.billing.prices import price_of
from runner.engine.options import RunOptions
from runner.manifest import Offer, usable
from runner.manifest.problems import Invalid

if TYPE_CHECKING:
    from runner.api.client import Api

FRESH_SECONDS = 24 * 3600.0
BALANCE_SECONDS = 10.0
"""Longest time to wait for the balance: a forecast is useful without it."""

CatalogueEntries = dict[str, dict[str, Json] | None]

MAX_BYTES = 1 << 20

LATEST = 1e11
"""Latest valid time of a copy, in seconds since the epoch. A later time means a damaged file."""


async def offers(
    models: Iterable[str], options: RunOptions, environ: Mapping[str, str], *, clock: Clock | None = None
) -> dict[str, Offer]:
    """Return what is known of ``models``, for ``load``."""
    if options.emulator:
        return {model: _emulated(model) for model in models}
    now = (clock or SystemClock()).now()
    cache, api = find_cache(environ), options.api_base(environ).name
    kept = {model: cache.get(api, model) for model in models}
    known = {model: Offer(schema=copy.input_schema) for model, copy in kept.items() if copy and _is_fresh(copy, now)}
    stale = [model for model in kept if model not in known]
    answers, why = await _ask(stale, options, environ) if stale else ({}, "")
    for model in stale:
        schema, reason = _judge(answers.get(model), why)
        if schema is not None:
            cache.put(CachedSchema(api=api, model=model, at=now, input_schema=schema))
        known[model] = Offer(schema=schema) if schema is not None else _fall_back(kept[model], reason)
    missing = [model for model in stale if answers.get(model) == {} and known[model].schema is None]
    ids = await _ids(options, environ) if missing else ()
    return known | {model: Offer(missing=True, ids=ids, note=known[model].note) for model in missing}


async def _ids(options: RunOptions, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the models that the catalogue lists; empty if it does not answer."""
    async with open_catalogue(options, environ) as api:
        found = await api.catalogue()
    return tuple(model for entry in found or () if isinstance(model := entry.get("model_id"), str))


async def _ask(
    models: Iterable[str], options: RunOptions, environ: Mapping[str, str]
) -> tuple[dict[str, dict[str, Json] | None], str]:
    """Return the entries of the catalogue, and the reason for entries that are missing."""
    if options.offline:
        return {}, "--offline: the catalogue is not contacted"
    try:
        return await fetch_entries(models, options, environ), "the catalogue cannot be reached"
    except AccountError:
        return {}, "the catalogue needs an API token"


def _is_fresh(kept: CachedSchema, now: float) -> bool:
    return 0 <= now - kept.at < FRESH_SECONDS and _judge({"input_schema": kept.input_schema}, "")[0] is not None


def _judge(entry: dict[str, Json] | None, why: str) -> tuple[dict[str, Json] | None, str]:
    """Return the schema in an entry, or None and the reason. ``why``: the reason for a missing entry."""
    if entry is None:
        return None, why
    if not entry:
        return None, "the catalogue has no such model; `runner models --search WORD` finds the right id"
    if "input_schema" not in entry:
        return None, "the catalogue has no input schema for it"
    try:
        return usable(entry["input_schema"]), ""
    except Invalid as wrong:
        return None, f"the schema in the catalogue {wrong.what}"


def _fall_back(kept: CachedSchema | None, reason: str) -> Offer:
    """Return an older copy with a note, if it can be used, else only the reason."""
    if kept is None or _judge({"input_schema": kept.input_schema}, "")[0] is None:
        return Offer(note=reason)
    note = f"checked with the cached schema of {timestamp(kept.at)[:10]}, because {reason}"
    return Offer(schema=kept.input_schema, note=note)


def _emulated(model: str) -> Offer:
    schema = emulated_schema(model)
    return Offer(schema=schema, note="" if schema is not None else "the emulator has no such model")


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of the catalogue. ``prices`` has the models with an answer; None as price: the answer has no price."""

    prices: Prices = msgspec.field(default_factory=dict)
    entries: Mapping[str, Mapping[str, Json]] = msgspec.field(default_factory=dict)
    """Entries of these models, as received."""
    today: str | None = None
    """Current day of the API; None: not known."""
    asked: bool = False
    balance_usd: float | None = None
    """Balance of the account; None: not known."""
    why: str = ""
    """Reason why prices are missing, in words; empty: there is none, or the catalogue has no price."""


@asynccontextmanager
async def open_catalogue(options: RunOptions, environ: Mapping[str, str]) -> AsyncIterator[Api]:
    """Connect to the API without a folder or a lock, to query the catalogue.

    With ``options.emulator``, the API is an emulator inside this process. Raises ``AccountError`` without a token.
    """
    from runner.engine.connection import reach  # noqa: PLC0415 - slow to load, and most manifests need no HTTP

    base = options.api_base(environ)
    token = Token(EMULATOR) if options.emulator else find_token(environ)
    with one_error():
        async with reach(base, token) as api:
            yield api


async def fetch_entries(models: Iterable[str], options: RunOptions, environ: Mapping[str, str]) -> CatalogueEntries:
    """Return live entries of ``models``; see ``Api.catalogue_entry``. Raises ``AccountError`` without a token."""
    async with open_catalogue(options, environ) as api:
        return await _entries(models, api)


async def _entries(models: Iterable[str], api: Api) -> CatalogueEntries:
    found: CatalogueEntries = {}

    async def ask(model: str) -> None:
        found[model] = await api.catalogue_entry(model)

    async with anyio.create_task_group() as group:
        for model in models:
            group.start_soon(ask, model)
    return found


async def quote(models: Iterable[str], options: RunOptions, environ: Mapping[str, str]) -> Quote:
    """Return the prices of ``models`` in the live catalogue, as far as it answers; an empty quote without a token."""
    try:
        async with open_catalogue(options, environ) as api:
            found = await _entries(models, api)
            entries = {model: entry for model, entry in found.items() if entry is not None}
            prices = {model: price_of(entry) for model, entry in entries.items()}
            why = await why_unreachable(api) if len(entries) < len(found) else ""
            balance = await _balance(api.base, environ) if not why else None
            return Quote(prices=prices, entries=entries, today=api.today, asked=True, why=why, balance_usd=balance)
    except AccountError as error:
        return Quote(why=str(error))


async def _balance(base: ApiBase, environ: Mapping[str, str]) -> float | None:
    """Return the balance of the account at ``base`` in USD; None: not known, or not within ``BALANCE_SECONDS``."""
    from runner.api.client import connect  # noqa: PLC0415 - slow to load, and most manifests need no HTTP

    account = find_account(base, environ)
    found: float | None = None
    if account is not None:
        with anyio.move_on_after(BALANCE_SECONDS):
            async with connect(account, find_token(environ)) as api:
                found = await api.balance_usd()
    return found


async def why_unreachable(api: Api) -> str:
    """Return why the catalogue gives no answer, in words; empty: the API answers other questions."""
    from runner.api.responses import Again, Denied  # noqa: PLC0415 - slow to load, and most manifests need no HTTP

    answer = await api.status("none")  # no catalogue call tells its error; no request has this id
    if isinstance(answer, Denied):
        return f"the API at {api.base.name} refuses the token: {answer.fault.message}"
    if isinstance(answer, Again):
        return f"the API at {api.base.name} cannot be reached: {answer.fault.message}"
    return ""


def emulated_schema(model: str) -> object:
    """Return the input schema of a model of the emulator; None: it has no such model."""
    from runner.emulator import MODELS  # noqa: PLC0415 - slow to load, and used by few

    return MODELS[model].schema if model in MODELS else None


def emulated_entries(models: Iterable[str]) -> dict[str, dict[str, Json]]:
    """Return the entries of ``models`` in the catalogue of the emulator, as far as it has them."""
    from runner.emulator import MODELS  # noqa: PLC0415 - slow to load, and used by few

    return {model: MODELS[model].entry(with_schema=True) for model in models if model in MODELS}


class CachedSchema(msgspec.Struct, frozen=True, kw_only=True):
    """Input schema of a model from the catalogue of one API."""

    api: str
    model: str
    at: float
    """Time of the answer, in seconds since the epoch."""
    input_schema: dict[str, Json]


class SchemaCache:
    """Folder of cached schemas. If it cannot be read or written, it acts as empty; this is not an error."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, api: str, model: str) -> CachedSchema | None:
        """Return the cached schema of ``model`` at ``api``; None: there is none that can be read."""
        if self._folder is None:
            return None
        try:
            with self._path(self._folder, api, model).open("rb") as file:
                text = file.read(MAX_BYTES)
            check_nesting(text)
            kept = msgspec.json.decode(text, type=CachedSchema)
        except (OSError, ValueError):  # TooDeep is a ValueError
            return None
        genuine = (kept.api, kept.model) == (api, model) and 0 <= kept.at < LATEST
        return kept if genuine else None

    def put(self, kept: CachedSchema) -> None:
        """Write ``kept`` to the cache, atomically."""
        if self._folder is None:
            return
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(msgspec.json.encode(kept))
                Path(temporary).replace(self._path(self._folder, kept.api, kept.model))
            except OSError:
                Path(temporary).unlink(missing_ok=True)

    @staticmethod
    def _path(folder: Path, api: str, model: str) -> Path:
        digest = hashlib.sha256(f"{api}\n{model}".encode()).hexdigest()
        return folder / f"{digest[:32]}.json"


def find_cache(environ: Mapping[str, str]) -> SchemaCache:
    """Return the cache in ``$XDG_CACHE_HOME/runcomfy-runner``, else in ``~/.cache/runcomfy-runner``.

    A process without a home directory gets a cache that is always empty.
    """
    home = environ.get("HOME") or environ.get("USERPROFILE")
    root = Path(environ.get("XDG_CACHE_HOME") or "")
    if not root.is_absolute():  # the XDG specification says to ignore a relative path
        root = Path(home or "") / ".cache"
    return SchemaCache(root / "runcomfy-runner" / "schemas" if root.is_absolute() else None)
