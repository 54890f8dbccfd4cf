"""Client of the API: one method per call, one HTTP attempt each. Callers decide about retries.

The token is sent in a header of one session that only contacts the API's own address and follows no redirect. Links in
answers are never requested. Submissions have connections of their own, which are reused at once or not at all: a
submission on a connection that the server is just closing is a purchase with an unknown outcome.
"""

from __future__ import annotations

from asyncio import Semaphore
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from mmap import mmap
from urllib.parse import urlencode

import aiohttp
import msgspec
from aiohttp import hdrs

from runner.api.config import ApiBase, Token
from runner.api.fields import Answer, parse_object, read_day, read_object, read_usd
from runner.api.responses import (
    Accepted,
    Again,
    Cancelling,
    Progress,
    RefusalCause,
    Refused,
    Submission,
    Unreadable,
    read_cancel,
    read_entry,
    read_progress,
    read_submission,
)
from runner.core.connections import Exchange
from runner.core.http import (
    AnswerTimeout,
    ConnectFailed,
    ConnectionBroken,
    TooLarge,
    decompress,
    read_bounded,
    response_of,
    send,
    session,
)
from runner.core.models import Fault, Json
from runner.core.proxies import require_usable_proxy
from runner.core.running_time import Countdown
from runner.core.uploads import Upload

SUBMIT_TIMEOUT = AnswerTimeout(120.0, whole=True)
"""Time limit of a submission: abandoning its answer costs money, waiting does not. While a long body is being sent,
each piece starts the time anew."""
LONG_BODY = 1 << 18
"""Bytes from which a body is sent in pieces."""
UPLOAD_BYTES_PER_SECOND = 1 << 15
"""Slowest line that is waited for. What the system has taken of a body may not be on its way yet."""
MAX_BUFFERED = 16 << 20
"""Most bytes of a body that the system may have taken and not sent."""
ASK_TIMEOUT = AnswerTimeout(30.0, whole=True)
MAX_IDLE = 0.5
"""Longest idle time in seconds of a connection that a submission uses. Some servers close theirs after one second. A
submission on a connection that is just being closed is a purchase with an unknown outcome."""
MAX_ANSWER = 4 * 2**20
MAX_RESULT = 32 * 2**20
"""Bytes of a /result, which may contain whole files; beyond ``MAX_ANSWER`` it must be little else."""
MOST_PARTS = 100_000
"""Values in an answer longer than ``MAX_ANSWER``: each becomes many times its length in memory."""
PAGE = 100
MAX_PAGES = 100
MAX_SUBMITTING = 50
"""Submissions in flight at once; a worker waits for a free place before its intent is written."""
MAX_ASKING = 50
"""Other calls in flight at once; beyond that they queue, which lengthens the gaps between polls."""


class CutShort(ConnectionBroken):
    """The answer broke off. The part that was received may contain all that is needed."""

    def __init__(self, text: str, answer: Answer) -> None:
        super().__init__(text)
        self.answer = answer


class Api:
    """Model API at one address. Created by ``connect``."""

    def __init__(
        self, base: ApiBase, token: Token, buying: aiohttp.ClientSession, asking: aiohttp.ClientSession
    ) -> None:
        self.base = base
        self._token = token
        self._buying = buying
        self._asking = asking
        self.submitting = Semaphore(MAX_SUBMITTING)
        """Semaphore for submissions; hold it around ``submit`` and the steps that belong to it."""
        self._asking_room = Semaphore(MAX_ASKING)
        self.today: str | None = None
        """Day at the API, ``2026-11-22``, from the last answer with a date; None: no answer had one."""

    async def submit(self, model: str, inputs: dict[str, Json] | mmap, exchange: Exchange | None = None) -> Submission:
        """Submit once and return what is certain about the outcome. The caller must hold ``submitting``.

        ``inputs`` may be encoded already.
        ``exchange`` tells a caller that cancels this whether anything was sent.
        """
        url = f"{self.base.url}/models/{model}"
        body = msgspec.json.encode(inputs) if isinstance(inputs, dict) else inputs
        time_limit = SUBMIT_TIMEOUT
        if len(body) > LONG_BODY:
            time_limit = SUBMIT_TIMEOUT.extended(min(len(body), MAX_BUFFERED) / UPLOAD_BYTES_PER_SECOND)
        try:
            return read_submission(await self._call(self._buying, "POST", url, time_limit, body, exchange))
        except ConnectFailed as error:
            return Refused(cause=RefusalCause.BUSY, fault=Fault(code="no_connection", message=str(error)))
        except (ConnectionBroken, TooLarge) as error:
            found = read_submission(error.answer) if isinstance(error, CutShort) else None
            if isinstance(found, Accepted):
                return found
            return Unreadable(fault=Fault(code="no_answer", message=str(error)))

    async def result(self, request_id: str) -> Progress:
        """Poll a request by /result; while the request is unfinished, the answer contains its state."""
        return await self._ask(request_id, "result?include_cost=true")

    async def status(self, request_id: str) -> Progress:
        """Poll a request by /status, for services whose /result has no state while it is unfinished."""
        return await self._ask(request_id, "status", from_status=True)

    async def _ask(self, request_id: str, what: str, *, from_status: bool = False) -> Progress:
        url = f"{self.base.url}/requests/{request_id}/{what}"
        try:
            answer = await self._question("GET", url, MAX_ANSWER if from_status else MAX_RESULT)
        except (ConnectFailed, ConnectionBroken, TooLarge) as error:
            if not isinstance(error, CutShort) or not read_object(error.answer.body):
                return Again(fault=Fault(code="no_answer", message=str(error)))
            answer = error.answer
        return read_progress(answer, request_id, from_status=from_status)

    async def cancel(self, request_id: str) -> Cancelling | Again:
        """Ask once to cancel a request. Only a later poll tells whether it was cancelled."""
        url = f"{self.base.url}/requests/{request_id}/cancel"
        try:
            answer = await self._question("POST", url)
        except (ConnectFailed, ConnectionBroken, TooLarge) as error:
            return Again(fault=Fault(code="no_answer", message=str(error)))
        return read_cancel(answer, request_id)

    async def catalogue_entry(self, model: str) -> dict[str, Json] | None:
        """Return the catalogue's entry of a model; empty: there is none; None: the catalogue cannot be reached."""
        try:
            answer = await self._question("GET", f"{self.base.url}/models/{model}")
        except (ConnectFailed, ConnectionBroken, TooLarge):
            return None
        return read_entry(answer, model)

    async def catalogue(self, parameters: Mapping[str, str] | None = None) -> list[dict[str, Json]] | None:
        """Return every model of the catalogue that fits ``parameters``, once; None: the catalogue cannot be reached."""
        found: dict[str, dict[str, Json]] = {}
        offset = 0
        for _ in range(MAX_PAGES):
            query = urlencode({**(parameters or {}), "limit": PAGE, "offset": offset})
            document = await self._catalogue_page(f"models?{query}")
            page = document.get("models")
            if not isinstance(page, list):
                return None
            entries = {str(entry.get("model_id") or entry): entry for entry in page if isinstance(entry, dict)}
            new = {name: entry for name, entry in entries.items() if name not in found}
            found |= new
            offset += len(page)
            if not new or not _has_more(document, len(page), offset):  # no new model: the offset is ignored
                break
        return list(found.values())

    async def categories(self) -> list[str]:
        """Return the categories of the catalogue; empty if there are none, or the catalogue cannot be reached."""
        found = (await self._catalogue_page("models/categories")).get("categories")
        return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []

    async def balance_usd(self) -> float | None:
        """Return the account's balance; None: not known. For a client of the account service: ``find_account``."""
        return read_usd((await self._catalogue_page("balance")).get("balance_usd"))

    async def _catalogue_page(self, path: str) -> dict[str, Json]:
        """Return an answer of the catalogue; empty if none can be read."""
        try:
            answer = await self._question("GET", f"{self.base.url}/{path}")
        except (ConnectFailed, ConnectionBroken, TooLarge):
            return {}
        return parse_object(answer.body) if answer.status == 200 else {}

    async def _question(self, method: str, url: str, limit: int = MAX_ANSWER) -> Answer:
        """Return the answer to a call that may be repeated."""
        async with self._asking_room:
            return await self._call(self._asking, method, url, ASK_TIMEOUT, limit=limit)

    async def _call(
        self,
        client: aiohttp.ClientSession,
        method: str,
        url: str,
        answer_timeout: AnswerTimeout,
        sent: bytes | mmap | None = None,
        exchange: Exchange | None = None,
        limit: int = MAX_ANSWER,
    ) -> Answer:
        """Return one answer, without the token, which would be recorded, shown, or sent on as part of a link."""
        response, body = None, bytearray()
        try:
            with answer_timeout.map_errors(exchange):
                async with answer_timeout.bound() as countdown, _content(sent, countdown) as content:
                    with response_of(await send(client, method, url, answer_timeout, body=content)) as response:
                        await read_bounded(response, limit, body)
                        if isinstance(content, Upload) and not content.finished:
                            response.close()  # answered before the body was sent: the rest must not follow
            return self._answer(response, bytes(body), whole=True, limit=limit)
        except ConnectionBroken as error:
            text = self._token.redacted(str(error))
            if response is None:
                raise ConnectionBroken(text) from None
            raise CutShort(text, self._answer(response, bytes(body), whole=False, limit=limit)) from None
        except (ConnectFailed, TooLarge) as error:  # the text may be the server's
            raise type(error)(self._token.redacted(str(error))) from None

    def _answer(self, response: aiohttp.ClientResponse, body: bytes, *, whole: bool, limit: int) -> Answer:
        headers = response.headers
        retry_after, date = headers.get(hdrs.RETRY_AFTER), headers.get(hdrs.DATE)
        self.today = read_day(date) or self.today
        plain, ended = decompress(body, headers.get(hdrs.CONTENT_ENCODING, ""), limit)
        return Answer(
            status=response.status,
            body=self._token.redacted_from(_sparse(plain)),
            whole=whole and ended,
            retry_after=retry_after,
            date=date,
        )


@asynccontextmanager
async def _content(body: bytes | mmap | None, countdown: Countdown | None) -> AsyncIterator[bytes | Upload | None]:
    """Yield ``body`` as it is sent: a long one in pieces, each of which starts the ``countdown`` anew."""
    if body is None or len(body) <= LONG_BODY:
        yield None if body is None else bytes(body)
        return
    upload = Upload(body, countdown.restart if countdown is not None else lambda: None)
    try:
        yield upload
    finally:
        upload.close()


def _has_more(document: dict[str, Json], length: int, offset: int) -> bool:
    """Tell whether models follow a page of ``length``: by the catalogue's ``total``, or else if the page is full."""
    total = document.get("total")
    return offset < total if isinstance(total, int) else length >= PAGE


def _sparse(body: bytes) -> bytes:
    """Return ``body`` if it is short or has few values. Raises ``TooLarge``."""
    if len(body) > MAX_ANSWER and sum(map(body.count, (b"[", b"{", b","))) > MOST_PARTS:
        raise TooLarge(f"the answer is longer than {MAX_ANSWER:,} bytes, and not because of files in it")
    return body


@asynccontextmanager
async def connect(base: ApiBase, token: Token) -> AsyncIterator[Api]:
    """Open the two sessions of an ``Api`` and close them at the end. Raises ``UsageError`` for an unusable proxy."""
    require_usable_proxy(base.url)
    headers = {"Authorization": f"Bearer {token.value}"}
    async with (
        session(keepalive_seconds=4.0, idle_seconds=MAX_IDLE, headers=headers) as buying,
        session(keepalive_seconds=75.0, headers=headers) as asking,
    ):
        yield Api(base, token, buying, asking)
