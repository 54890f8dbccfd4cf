"""Going on with a long download that broke off: only where the rest is surely of the same file, else from the start."""

from __future__ import annotations

import asyncio
import hashlib
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner.core.http import ConnectionBroken, TooLarge, session
from runner.files import download as fetching
from runner.files.containers import BadMedia
from runner.files.download import RESUME_BYTES, StorageAnswer, fetch
from runner.files.media import Media
from runner.files.resume import PartialFile, validator
from runner.files.urls import RefusedUrl, UrlPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from conftest import Chunk, Picture

MIB = 1 << 20
anyio = pytest.mark.anyio
LAST_MODIFIED = "Sun, 22 Nov 2026 01:02:03 GMT"


def answer_of(status: str, *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "\r\n"]).encode()


@dataclass
class Storage:
    """A server that knows ranges and breaks off: an entry of ``cuts`` is how many bytes an answer sends (None: all)."""

    body: bytes
    headers: tuple[str, ...] = ('ETag: "v1"',)
    cuts: list[int | None] = field(default_factory=list)
    ranges: bool = True
    """Whether it heeds ``Range`` at all."""
    then: Callable[[int, int], bytes] | None = None
    """What it answers to a range instead, given start and length of the whole."""
    asked: list[dict[str, str]] = field(default_factory=list)
    redirect: str | None = None
    port: int = 0

    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/clip.png"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
            self.asked.append(headers)
            writer.write(self.answer(headers))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def answer(self, headers: dict[str, str]) -> bytes:
        if self.redirect is not None and len(self.asked) > 1:
            return f"HTTP/1.1 302 There\r\nLocation: {self.redirect}\r\nContent-Length: 0\r\n\r\n".encode()
        found = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        start = int(found[1]) if found and self.ranges else 0
        if start and self.then is not None:
            return self.then(start, len(self.body))
        rest = self.body[start:]
        lines = [f"Content-Length: {len(rest)}", "Connection: close", *self.headers]
        if start:
            lines.append(f"Content-Range: bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        status = "206 Partial Content" if start else "200 OK"
        cut = self.cuts.pop(0) if self.cuts else None
        return answer_of(status, *lines) + rest[:cut]


@asynccontextmanager
async def listening(storage: Storage) -> AsyncIterator[Storage]:
    server = await asyncio.start_server(storage.handle, "127.0.0.1", 0)
    storage.port = server.sockets[0].getsockname()[1]
    try:
        yield storage
    finally:
        server.close()
        await server.wait_closed()


async def get(storage: Storage, target: Path, *, resume_bytes: int = MIB, max_bytes: int = 10**8) -> Media:
    """Fetch; whatever goes wrong must leave nothing."""
    target.parent.mkdir(exist_ok=True)
    allowed = UrlPolicy(api=("http", "127.0.0.1", storage.port))
    with ThreadPoolExecutor(2) as disk:
        async with session(keepalive_seconds=5) as client:
            try:
                return await fetch(
                    client,
                    storage.url(),
                    target,
                    allowed=allowed,
                    max_bytes=max_bytes,
                    disk=disk,
                    resume_bytes=resume_bytes,
                )
            except BaseException:
                assert list(target.parent.iterdir()) == []
                raise


@pytest.fixture(scope="module")
def body() -> bytes:
    """A picture of more than five mebibytes."""
    from io import BytesIO
    from random import Random

    from PIL import Image

    file = BytesIO()
    Image.frombytes("RGB", (1400, 1400), Random(1).randbytes(1400 * 1400 * 3)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "incoming" / "file"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@anyio
async def test_a_broken_download_is_gone_on_with(body: bytes, target: Path) -> None:
    """Only the rest is asked for, with the validator; the whole file is checked as ever."""
    async with listening(Storage(body, cuts=[3 * MIB + 17])) as storage:
        media = await get(storage, target)
    assert (media.sha256, media.bytes) == (digest(body), len(body))
    assert "range" not in storage.asked[0]
    start = int(storage.asked[1]["range"].removeprefix("bytes=").removesuffix("-"))
    assert 2 * MIB <= start <= 3 * MIB + 17
    assert storage.asked[1]["if-range"] == '"v1"'
    assert "authorization" not in storage.asked[1]


@anyio
async def test_it_may_break_more_than_once(body: bytes, target: Path) -> None:
    """As long as enough comes each time, more tries are earned than there are pauses."""
    async with listening(Storage(body, cuts=[3 * MIB, MIB + MIB // 4, MIB + MIB // 4])) as storage:
        assert (await get(storage, target)).sha256 == digest(body)
    starts = [int(asked["range"][6:-1]) for asked in storage.asked[1:]]
    assert len(starts) == 3
    assert starts == sorted(set(starts))


@anyio
async def test_a_break_before_the_bound_is_left_to_the_delivery(body: bytes, target: Path) -> None:
    """Little is lost by starting over, after the delivery's own pause."""
    async with listening(Storage(body, cuts=[3 * MIB])) as storage:
        with pytest.raises(ConnectionBroken):
            await get(storage, target, resume_bytes=4 * MIB)
        assert len(storage.asked) == 1


@anyio
async def test_a_storage_that_stays_away_ends_it(body: bytes, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries to go on are counted; nothing is left afterwards."""
    monkeypatch.setattr(fetching, "PAUSES", (0.0, 0.0))
    async with listening(Storage(body, cuts=[3 * MIB, 0, 0, 0, 0])) as storage:
        with pytest.raises(ConnectionBroken):
            await get(storage, target)
        assert len(storage.asked) == 3


@anyio
@pytest.mark.parametrize(
    "headers", [(), ('ETag: W/"v1"',), ("ETag: v1",), ('ETag: W/"a"', f"Last-Modified: {LAST_MODIFIED}")]
)
async def test_without_a_validator_it_starts_over(body: bytes, target: Path, headers: tuple[str, ...]) -> None:
    """Nothing proves that the rest is of the same file: the delivery begins anew, with a plain request."""
    async with listening(Storage(body, headers=headers, cuts=[3 * MIB])) as storage:
        with pytest.raises(ConnectionBroken):
            await get(storage, target)
        assert (await get(storage, target)).sha256 == digest(body)
        assert not any("range" in asked for asked in storage.asked)


@anyio
async def test_the_time_of_the_last_change_serves_without_an_etag(body: bytes, target: Path) -> None:
    """Word for word as the storage wrote it."""
    headers = (f"Last-Modified: {LAST_MODIFIED}", "Date: Sun, 22 Nov 2026 01:05:00 GMT")
    async with listening(Storage(body, headers=headers, cuts=[3 * MIB])) as storage:
        assert (await get(storage, target)).sha256 == digest(body)
        assert storage.asked[1]["if-range"] == LAST_MODIFIED


@anyio
async def test_a_200_starts_over(body: bytes, target: Path) -> None:
    """The file changed, or the storage knows no ranges: the new body replaces what was there."""
    async with listening(Storage(body, ranges=False, cuts=[3 * MIB])) as storage:
        media = await get(storage, target)
        assert (media.sha256, media.bytes, len(storage.asked)) == (digest(body), len(body), 2)


def plain(status: str, *lines: str) -> bytes:
    return answer_of(status, "Connection: close", *lines)


ODD: dict[str, Callable[[int, int], bytes]] = {
    "416": lambda start, whole: plain("416 No", "Content-Length: 0", f"Content-Range: bytes */{whole}"),
    "404": lambda start, whole: plain("404 No", "Content-Length: 0"),
    "another start": lambda start, whole: (
        plain("206 P", f"Content-Range: bytes {start - 1}-{whole - 1}/{whole}") + b"x"
    ),
    "another end": lambda start, whole: plain("206 P", f"Content-Range: bytes {start}-{start + 9}/{whole}") + b"x" * 10,
    "another length": lambda start, whole: plain("206 P", f"Content-Range: bytes {start}-{whole}/{whole + 1}") + b"x",
    "no Content-Range": lambda start, whole: plain("206 P") + b"x",
    "another ETag": lambda start, whole: plain(
        "206 P", f"Content-Range: bytes {start}-{whole - 1}/{whole}", 'ETag: "v2"'
    ),
}


@anyio
@pytest.mark.parametrize("then", ODD.values(), ids=ODD)
async def test_anything_else_starts_over_from_nothing(
    body: bytes, target: Path, then: Callable[[int, int], bytes]
) -> None:
    """In the same delivery, with a plain request; not a byte of the odd answer stays."""
    async with listening(Storage(body, cuts=[3 * MIB], then=then)) as storage:
        assert (await get(storage, target)).sha256 == digest(body)
        assert ["range" in asked for asked in storage.asked] == [False, True, False]


@anyio
async def test_a_storage_that_lost_the_file_meanwhile_says_so(body: bytes, target: Path) -> None:
    """What it answers to the plain request is what the delivery hears, so that fresh links are asked for."""
    gone = plain("404 No", "Content-Length: 0")

    class Lost(Storage):
        def answer(self, headers: dict[str, str]) -> bytes:
            return super().answer(headers) if len(self.asked) == 1 else gone

    async with listening(Lost(body, cuts=[3 * MIB])) as storage:
        with pytest.raises(StorageAnswer, match="404"):
            await get(storage, target)


@anyio
async def test_a_rest_of_other_bytes_is_a_bad_file(body: bytes, target: Path) -> None:
    """A storage that goes on with another file under the same validator is caught by the check of the whole."""

    def other(start: int, whole: int) -> bytes:
        rest = bytes(whole - start)
        return (
            plain("206 P", f"Content-Range: bytes {start}-{whole - 1}/{whole}", f"Content-Length: {len(rest)}") + rest
        )

    async with listening(Storage(body, cuts=[3 * MIB], then=other)) as storage:
        with pytest.raises(BadMedia):
            await get(storage, target)


@anyio
async def test_max_file_holds_over_all_parts(body: bytes, target: Path) -> None:
    """A rest that never ends costs no more than the whole may have."""

    def endless(start: int, whole: int) -> bytes:
        return plain("206 P", f"Content-Range: bytes {start}-{whole - 1}/*", 'ETag: "v1"') + bytes(whole)

    async with listening(Storage(body, cuts=[3 * MIB], then=endless)) as storage:
        with pytest.raises(TooLarge, match=f"{len(body):,}"):
            await get(storage, target, max_bytes=len(body))


@anyio
async def test_a_redirect_of_the_rest_is_checked_like_any(body: bytes, target: Path) -> None:
    """The second request may be sent elsewhere; where files may not come from stays unasked."""
    async with listening(Storage(body)) as canary:
        async with listening(Storage(body, cuts=[3 * MIB], redirect=canary.url())) as storage:
            with pytest.raises(RefusedUrl):
                await get(storage, target)
        assert canary.asked == []


@anyio
@pytest.mark.slow
async def test_seventy_megabytes_by_the_real_bound(target: Path, chunk: Chunk, picture: Picture) -> None:
    """The bound is one that a video reaches: cut after 66 MB, the last four are all that is fetched again."""
    small = picture(size=(3000, 2400), mode="1")
    stuffing = b"".join(chunk(b"prVt", bytes(7 * 10**6)) for _ in range(10))
    big = small[:33] + stuffing + small[33:]
    assert zlib.crc32(big) != zlib.crc32(small)
    async with listening(Storage(big, cuts=[66 * 10**6])) as storage:
        media = await get(storage, target, resume_bytes=RESUME_BYTES)
    assert media.sha256 == digest(big)
    assert int(storage.asked[1]["range"][6:-1]) >= RESUME_BYTES


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"ETag": '"a"', "Last-Modified": LAST_MODIFIED}, '"a"'),
        ({"ETag": '"a"b"'}, None),
        ({"Last-Modified": LAST_MODIFIED}, LAST_MODIFIED),
        ({"Last-Modified": LAST_MODIFIED, "Date": LAST_MODIFIED}, None),
        ({"Last-Modified": "yesterday"}, None),
        ({}, None),
    ],
)
def test_what_identifies_a_file(headers: dict[str, str], expected: str | None) -> None:
    """A strong ETag, else a change that is older than the answer: within one second a file may change unseen."""
    assert validator(headers) == expected


def test_nothing_is_asked_for_by_range_before_something_is_there() -> None:
    """Neither without bytes nor without a validator."""
    assert PartialFile(written=0, validator='"a"').headers == {}
    assert PartialFile(written=9, validator=None).headers == {}
    assert PartialFile(written=9, validator='"a"').headers == {"Range": "bytes=9-", "If-Range": '"a"'}
