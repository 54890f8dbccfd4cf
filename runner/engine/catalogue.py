"""Catalogue of models that are not bundled: input schemas and prices, cached, live, or the emulator's.

A copy serves for a day without asking. An older one serves where the catalogue cannot be asked, and that is said. What
cannot be used, or is not there, leaves the inputs unchecked: never is it read as "anything goes".
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import msgspec

from runner.api.config import ApiBase, Token, find_api, find_token
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

CatalogueEntries = dict[str, dict[str, Json] | None]

MAX_BYTES = 1 << 20

LATEST = 1e11
"""In seconds since the epoch; a later time is damage."""


async def offers(
    models: Iterable[str], options: RunOptions, environ: Mapping[str, str], *, clock: Clock | None = None
) -> dict[str, Offer]:
    """What is known of ``models``; ``load`` asks for it."""
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
    """The models that the catalogue lists; none where it does not answer."""
    async with open_catalogue(options, environ) as api:
        found = await api.catalogue()
    return tuple(model for entry in found or () if isinstance(model := entry.get("model_id"), str))


async def _ask(
    models: Iterable[str], options: RunOptions, environ: Mapping[str, str]
) -> tuple[dict[str, dict[str, Json] | None], str]:
    """What the catalogue says, and why it does not say more."""
    if options.offline:
        return {}, "--offline: the catalogue is not asked"
    try:
        return await fetch_entries(models, options, environ), "the catalogue cannot be asked"
    except AccountError:
        return {}, "there is no token to ask the catalogue with"


def _is_fresh(kept: CachedSchema, now: float) -> bool:
    return 0 <= now - kept.at < FRESH_SECONDS and _judge({"input_schema": kept.input_schema}, "")[0] is not None


def _judge(entry: dict[str, Json] | None, why: str) -> tuple[dict[str, Json] | None, str]:
    """The schema in a catalogue's entry, or None and the reason; ``why`` is that of no answer at all."""
    if entry is None:
        return None, why
    if not entry:
        return None, "the catalogue knows no such model; `runner models --search WORD` finds the right id"
    if "input_schema" not in entry:
        return None, "the catalogue does not tell what it takes"
    try:
        return usable(entry["input_schema"]), ""
    except Invalid as wrong:
        return None, f"the schema in the catalogue {wrong.what}"


def _fall_back(kept: CachedSchema | None, reason: str) -> Offer:
    """An older copy, if there is one that can be used."""
    if kept is None or _judge({"input_schema": kept.input_schema}, "")[0] is None:
        return Offer(note=reason)
    return Offer(schema=kept.input_schema, note=f"checked by a copy of {timestamp(kept.at)[:10]}, as {reason}")


def _emulated(model: str) -> Offer:
    schema = emulated_schema(model)
    return Offer(schema=schema, note="" if schema is not None else "the emulator knows no such model")


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalogue says; ``prices`` has the models that it answered for, with None where it names no price."""

    prices: Prices = msgspec.field(default_factory=dict)
    entries: Mapping[str, Mapping[str, Json]] = msgspec.field(default_factory=dict)
    """The entries of these models, as they came."""
    today: str | None = None
    """The API's day."""
    asked: bool = False


@asynccontextmanager
async def open_catalogue(options: RunOptions, environ: Mapping[str, str]) -> AsyncIterator[Api]:
    """The API for one who only asks: no folder, no lock; with ``options.emulator`` one inside this process.

    Raises ``AccountError`` without a token.
    """
    from runner.api.client import connect  # noqa: PLC0415 - HTTP takes a while to load, and most manifests need none

    with one_error():
        async with AsyncExitStack() as stack:
            if options.emulator:
                from runner.emulator import Options, serve  # noqa: PLC0415 - it draws; nobody else should wait for that

                emulator = await stack.enter_async_context(serve(Options()))
                base, token = ApiBase(url=emulator.base, name=EMULATOR), Token(EMULATOR)
            else:
                base, token = find_api(options.api, environ), find_token(environ)
            yield await stack.enter_async_context(connect(base, token))


async def fetch_entries(models: Iterable[str], options: RunOptions, environ: Mapping[str, str]) -> CatalogueEntries:
    """What the live catalogue says of models; see ``Api.catalogue_entry``. Raises ``AccountError`` without a token."""
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
    """What ``models`` cost by the live catalogue, as far as it answers; nothing without a token."""
    try:
        async with open_catalogue(options, environ) as api:
            found = await _entries(models, api)
            entries = {model: entry for model, entry in found.items() if entry is not None}
            prices = {model: price_of(entry) for model, entry in entries.items()}
            return Quote(prices=prices, entries=entries, today=api.today, asked=True)
    except AccountError:
        return Quote()


def emulated_schema(model: str) -> object:
    """The input schema of a model of the emulator; None where it has none of that name."""
    from runner.emulator import MODELS  # noqa: PLC0415 - it draws; nobody else should wait for that

    return MODELS[model].schema if model in MODELS else None


def emulated_entries(models: Iterable[str]) -> dict[str, dict[str, Json]]:
    """What the emulator's catalogue says of ``models``, as far as it has them."""
    from runner.emulator import MODELS  # noqa: PLC0415 - it draws; nobody else should wait for that

    return {model: MODELS[model].entry(with_schema=True) for model in models if model in MODELS}


class CachedSchema(msgspec.Struct, frozen=True, kw_only=True):
    """The input schema of a model, as the catalogue of one API told it."""

    api: str
    model: str
    at: float
    """When, in seconds since the epoch."""
    input_schema: dict[str, Json]


class SchemaCache:
    """A folder of such files. Where it cannot be read or written, nothing was kept, and that is no error."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, api: str, model: str) -> CachedSchema | None:
        """What was kept of ``model`` at ``api``; None for nothing, or nothing that can be read."""
        if self._folder is None:
            return None
        try:
            with self._path(self._folder, api, model).open("rb") as file:
                text = file.read(MAX_BYTES)
            check_nesting(text)
            kept = msgspec.json.decode(text, type=CachedSchema)
        except (OSError, ValueError):  # TooDeep is one
            return None
        genuine = (kept.api, kept.model) == (api, model) and 0 <= kept.at < LATEST
        return kept if genuine else None

    def put(self, kept: CachedSchema) -> None:
        """Keep it, whole or not at all."""
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
    """``$XDG_CACHE_HOME/runcomfy-runner``, else ``~/.cache/runcomfy-runner``; none for a process without a home."""
    home = environ.get("HOME") or environ.get("USERPROFILE")
    root = Path(environ.get("XDG_CACHE_HOME") or "")
    if not root.is_absolute():  # the specification has such a value ignored
        root = Path(home or "") / ".cache"
    return SchemaCache(root / "runcomfy-runner" / "schemas" if root.is_absolute() else None)
