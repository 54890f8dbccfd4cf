"""Downloading over real sockets: what arrives is whole and right, or nothing is left of it."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from PIL import Image

from runner.core.errors import OutputError
from runner.core.http import AnswerTimeout, ConnectFailed, ConnectionBroken, TooLarge, session
from runner.files import body as pacing
from runner.files import download as fetching
from runner.files.body import most_seconds
from runner.files.containers import BadMedia
from runner.files.download import StorageAnswer, fetch
from runner.files.media import Media, inspect
from runner.files.urls import RefusedUrl, UrlPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from conftest import Picture

pytestmark = pytest.mark.anyio


class Storage:
    """A server that answers each path with raw bytes, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.requests: list[bytes] = []
        self.port = 0
        self.reset_after = False
        self.silent_after = False
        self.drips = False

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request)
            path = request.split(b" ")[1].decode()
            writer.write(self.answers.get(path, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"))
            await writer.drain()
            if self.drips:
                await self._drip(reader, writer)
            if self.silent_after:
                await reader.read()
            if self.reset_after:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _drip(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A byte now and then until the client leaves."""
        while True:
            writer.write(b"x")
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.01)
                return

    def url(self, path: str = "/a.png") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def answer(self, body: bytes, *headers: str, status: str = "200 OK", path: str = "/a.png") -> None:
        lines = "".join(f"{header}\r\n" for header in headers)
        self.answers[path] = f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body

    def serve(self, body: bytes, *headers: str) -> None:
        self.answer(body, f"Content-Length: {len(body)}", *headers)

    def redirect(self, to: str, *, path: str = "/a.png", status: int = 302) -> None:
        self.answer(b"", f"Location: {to}", "Content-Length: 0", status=f"{status} There", path=path)


@asynccontextmanager
async def listening() -> AsyncIterator[Storage]:
    storage = Storage()
    server = await asyncio.start_server(storage.handle, "127.0.0.1", 0)
    storage.port = server.sockets[0].getsockname()[1]
    try:
        yield storage
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    async with listening() as storage:
        yield storage


@pytest.fixture
async def get(storage: Storage, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Fetch from the storage to ``incoming/file``; whatever goes wrong must leave that folder empty."""
    target = tmp_path / "incoming" / "file"
    target.parent.mkdir()
    with ThreadPoolExecutor(2) as disk:
        async with session(keepalive_seconds=5) as client:

            async def fetched(url: str | None = None, max_bytes: int = 10**8) -> Media:
                allowed = UrlPolicy(api=("http", "127.0.0.1", storage.port))
                try:
                    return await fetch(
                        client,
                        url or storage.url(),
                        target,
                        allowed=allowed,
                        max_bytes=max_bytes,
                        disk=disk,
                    )
                except BaseException:
                    assert left(target) == []
                    raise

            yield fetched


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "incoming" / "file"


def left(target: Path) -> list[Path]:
    """What stands in the folder for temporary files."""
    return list(target.parent.iterdir()) if target.parent.is_dir() else []


def number_of(path: Path) -> int:
    return path.stat().st_ino


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


def noise(length: int, picture: Picture) -> bytes:
    """A picture of at least so many bytes."""
    side = int((length / 3) ** 0.5) + 8
    return picture(size=(side, side))


@pytest.mark.parametrize("length", [500, (1 << 20) - 500, (1 << 20) + 500, 5 << 20])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_any_length_arrives_byte_for_byte(
    storage: Storage, get: Callable[..., Any], target: Path, picture: Picture, length: int, chunked: bool
) -> None:
    """Short ones are written at once, long ones in blocks, with a length or in chunks."""
    body = noise(length, picture)
    if chunked:
        pieces = [body[n : n + 70_000] for n in range(0, len(body), 70_000)]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        storage.answer(framed, "Transfer-Encoding: chunked")
    else:
        storage.serve(body, "Content-Type: text/plain")
    media = await get()
    assert bytes_of(target) == body
    assert (media.bytes, media.extension) == (len(body), "png")


AS_GIVEN = "/a%7eb/%2e%2e/c.png?sig=%41%2B+c%2f=&x=a%3Db;c"


@pytest.mark.parametrize("redirected", [False, True])
async def test_a_link_is_asked_for_to_the_letter(
    storage: Storage, get: Callable[..., Any], picture: Picture, redirected: bool
) -> None:
    """Storages sign their links: escapes that could be written otherwise, dots and plus signs stay as they were."""
    if redirected:
        storage.redirect(AS_GIVEN)
    storage.answer(picture(), path=AS_GIVEN)
    await get(None if redirected else storage.url(AS_GIVEN))
    assert storage.requests[-1].startswith(f"GET {AS_GIVEN} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("/x/../a.png", "/a.png"),
        ("/x/..", "/"),
        ("/./a.png?a=/../b", "/a.png?a=/../b"),
        ("/ä.png", "/%C3%A4.png"),
        ('/a"b.png', "/a%22b.png"),
        ("/50%.png", "/50%25.png"),
        ("/a.png#part", "/a.png"),
    ],
)
async def test_a_link_that_cannot_be_sent_is_mended(
    storage: Storage, get: Callable[..., Any], picture: Picture, given: str, sent: str
) -> None:
    """As browsers do: steps up are taken, and what no address may hold is escaped."""
    storage.answer(picture(), path=sent)
    await get(storage.url(given))
    assert storage.requests[-1].startswith(f"GET {sent} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize("length", [500, (1 << 20) - 500, 3 << 20])
async def test_every_file_is_flushed_before_it_may_get_its_name(
    storage: Storage,
    get: Callable[..., Any],
    target: Path,
    picture: Picture,
    flushes: list[tuple[int, set[str]]],
    length: int,
) -> None:
    """Power may fail right after the rename: a final name never leads to less than the whole file."""
    storage.serve(noise(length, picture))
    await get()
    assert number_of(target) in {number for number, _ in flushes}


async def test_nothing_secret_is_sent(storage: Storage, get: Callable[..., Any], picture: Picture) -> None:
    """No token, no cookie, no wish for compression; not along a redirect either."""
    storage.redirect("/b.png")
    storage.answers["/b.png"] = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nConnection: close\r\n\r\n" + picture()
    await get()
    await get()
    assert len(storage.requests) == 4
    for request in storage.requests:
        assert b"authorization" not in request.lower()
        assert b"cookie" not in request.lower()
        assert b"accept-encoding: identity\r\n" in request.lower()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_within_what_is_allowed_are_followed(
    storage: Storage, get: Callable[..., Any], picture: Picture, status: int
) -> None:
    """Relative and absolute ones, up to five."""
    for hop in range(5):
        here = "/a.png" if hop == 0 else f"/{hop}"
        there = f"/{hop + 1}" if hop % 2 else storage.url(f"/{hop + 1}")
        storage.redirect(there, path=here, status=status)
    storage.answer(picture(), "Connection: close", path="/5")
    assert (await get()).width == 23
    assert len(storage.requests) == 6


async def test_endless_redirects_end(storage: Storage, get: Callable[..., Any]) -> None:
    """A loop is a broken storage."""
    storage.redirect("/a.png")
    with pytest.raises(ConnectionBroken, match="more than 5 redirects"):
        await get()
    assert len(storage.requests) == 6


async def test_a_redirect_to_another_origin_is_refused_unasked(storage: Storage, get: Callable[..., Any]) -> None:
    """The other server never hears of it, on this machine least of all."""
    async with listening() as canary:
        for there in (canary.url(), f"//127.0.0.1:{canary.port}/x", f"http://x@127.0.0.1:{storage.port}/x"):
            storage.redirect(there)
            with pytest.raises(RefusedUrl):
                await get()
        assert canary.requests == []


@pytest.mark.parametrize("there", ["https://evil.example/a", "file:///etc/passwd", "http://[::1", "\\\\evil\\a"])
async def test_a_redirect_to_nowhere_good_is_refused(storage: Storage, get: Callable[..., Any], there: str) -> None:
    """Each address is checked like the first."""
    storage.redirect(there)
    with pytest.raises(RefusedUrl):
        await get()


@pytest.mark.parametrize("status", [201, 204, 206, 300, 302, 304, 403, 404, 410, 429, 500, 503])
async def test_another_status_than_200_is_no_file(storage: Storage, get: Callable[..., Any], status: int) -> None:
    """It says which; some of them mean that a fresh link may help."""
    storage.answer(b"", "Content-Length: 0", status=f"{status} No")
    with pytest.raises(StorageAnswer, match=f"HTTP {status}") as caught:
        await get()
    assert caught.value.expired is (status in (403, 404, 410))


@pytest.mark.parametrize("length", [500, 3 << 20])
@pytest.mark.parametrize("reset", [False, True])
async def test_a_body_cut_short_is_broken(
    storage: Storage, get: Callable[..., Any], picture: Picture, length: int, reset: bool
) -> None:
    """The connection ends before the announced length, politely or not: a fault of the network, not of the disk."""
    body = noise(length, picture)
    storage.answer(body[:-100], f"Content-Length: {len(body)}")
    storage.reset_after = reset
    with pytest.raises(ConnectionBroken):
        await get()
    framed = b"%x\r\n%b\r\n" % (len(body), body)
    storage.answer(framed, "Transfer-Encoding: chunked")
    with pytest.raises(ConnectionBroken):
        await get()


async def test_a_body_without_length_that_ends_early_is_a_bad_file(
    storage: Storage, get: Callable[..., Any], picture: Picture
) -> None:
    """Nothing on the wire tells; the bytes do."""
    storage.answer(picture()[:-20], "Connection: close")
    with pytest.raises(BadMedia, match="cut short"):
        await get()


@pytest.mark.parametrize("body", [b"", b"<html>busy</html>", b"{}"])
async def test_an_error_page_under_200_is_a_bad_file(storage: Storage, get: Callable[..., Any], body: bytes) -> None:
    """Whatever the header calls it."""
    storage.serve(body, "Content-Type: image/png")
    with pytest.raises(BadMedia):
        await get()


@pytest.mark.parametrize("length", [5000, 3 << 20])
async def test_a_file_that_is_too_long_is_refused(
    storage: Storage, get: Callable[..., Any], picture: Picture, length: int
) -> None:
    """By its announcement before a byte is read, or else by the byte that is too many."""
    body = noise(length, picture)
    storage.answer(b"", f"Content-Length: {len(body)}")
    with pytest.raises(TooLarge, match=f"max_file allows {len(body) - 1:,}"):
        await get(max_bytes=len(body) - 1)
    storage.answer(body, "Connection: close")
    with pytest.raises(TooLarge, match="longer than max_file"):
        await get(max_bytes=len(body) - 1)
    assert (await get(max_bytes=len(body))).bytes == len(body)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
async def test_a_picture_that_goes_on_behind_its_end_is_cut_off(
    storage: Storage, get: Callable[..., Any], kind: str
) -> None:
    """Of 64x64 pixels, and 20 MB long or without end: no more is downloaded than such a picture may have."""
    body = BytesIO()
    Image.new("RGB", (64, 64), "teal").save(body, kind)
    behind = bytes(20_000_000)
    storage.serve(body.getvalue() + behind)
    with pytest.raises(TooLarge, match="pixels allow"):
        await get()
    storage.answer(body.getvalue() + behind)
    with pytest.raises(TooLarge, match="pixels allow"):
        await get()


async def test_a_little_behind_the_end_of_a_picture_is_accepted_and_much_is_not(
    storage: Storage, get: Callable[..., Any]
) -> None:
    """Writers leave marks there; a megabyte and more is no picture."""
    body = BytesIO()
    Image.new("RGB", (64, 64), "teal").save(body, "PNG")
    storage.serve(body.getvalue() + bytes(1 << 20))
    assert (await get()).width == 64
    storage.serve(body.getvalue() + bytes((1 << 20) + 1))
    with pytest.raises(BadMedia, match="follow the end"):
        await get()


async def test_an_endless_body_is_cut_off(storage: Storage, get: Callable[..., Any]) -> None:
    """A server that never stops sending costs ``max_file`` bytes."""
    storage.answer(bytes(8 << 20), "Connection: close")
    storage.silent_after = True
    with pytest.raises(TooLarge):
        await get(max_bytes=2 << 20)


@pytest.mark.parametrize("encoding", ["br", "deflate, gzip"])
async def test_a_compressed_answer_is_refused(
    storage: Storage, get: Callable[..., Any], picture: Picture, encoding: str
) -> None:
    """It was not asked for, and cannot be undone here."""
    storage.serve(gzip.compress(picture()), f"Content-Encoding: {encoding}")
    with pytest.raises(BadMedia, match="-encoded, which was not requested"):
        await get()


@pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
async def test_an_encoding_that_is_none_is_accepted(
    storage: Storage, get: Callable[..., Any], picture: Picture, encoding: str
) -> None:
    """Some storages name it all the same."""
    storage.serve(picture(), f"Content-Encoding: {encoding}")
    assert (await get()).width == 23


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n"])
async def test_an_answer_that_is_no_http_is_broken(storage: Storage, get: Callable[..., Any], answer: bytes) -> None:
    """Or none at all."""
    storage.answers["/a.png"] = answer
    with pytest.raises(ConnectionBroken):
        await get()


async def test_a_length_that_is_none_leaves_an_empty_file_empty(storage: Storage, get: Callable[..., Any]) -> None:
    """The head is read as well as it can be; what follows is no picture."""
    storage.answers["/a.png"] = b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"
    with pytest.raises(BadMedia, match="empty"):
        await get()


async def test_no_server_is_no_connection(storage: Storage, get: Callable[..., Any], tmp_path: Path) -> None:
    """Nothing has left this machine."""
    async with listening() as gone:
        pass
    storage.port = gone.port
    with pytest.raises(ConnectFailed):
        await get()


async def test_a_download_that_takes_too_long_ends(
    storage: Storage, get: Callable[..., Any], picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where something comes all the time; before and after the first block is on the disk."""
    monkeypatch.setattr(pacing, "WHOLE_SECONDS", 0.2)
    monkeypatch.setattr(pacing, "SUSTAINED", 1e9)
    storage.drips = True
    for body in (b"", noise(3 << 20, picture)[:-5]):
        storage.answer(body, "Content-Length: 9000000")
        with pytest.raises(ConnectionBroken, match="took too long"):
            await get()


async def test_a_long_file_may_take_longer(
    storage: Storage, get: Callable[..., Any], picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is paid comes home over a slow line, too, as long as it keeps coming."""
    monkeypatch.setattr(pacing, "WHOLE_SECONDS", 0.0)
    body = noise(3 << 20, picture)
    storage.serve(body)
    assert (await get()).bytes == len(body)
    monkeypatch.setattr(pacing, "SUSTAINED", 1e12)
    with pytest.raises(ConnectionBroken, match="took too long"):
        await get()


async def test_what_is_all_there_is_not_late(
    storage: Storage, get: Callable[..., Any], picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last bytes end the download, whenever they come."""
    monkeypatch.setattr(pacing, "WHOLE_SECONDS", -1.0)
    body = picture()
    storage.serve(body)
    assert (await get()).bytes == len(body)


def test_how_long_a_download_may_take() -> None:
    """A quarter of an hour, and longer only at a pace: two hours and a quarter for 2 GiB."""
    assert most_seconds(0) == 15 * 60
    assert most_seconds(2 << 30) == 15 * 60 + 8192


@pytest.mark.parametrize("length", [0, 50, 3 << 20])
async def test_a_storage_that_falls_silent_is_not_waited_for(
    storage: Storage, get: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """Before its headers are whole, or in the middle of the body: long before the time for the whole is up."""
    monkeypatch.setattr(fetching, "READ_TIMEOUT", AnswerTimeout(0.2, whole=False))
    storage.silent_after = True
    storage.answers["/a.png"] = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n" + (b"\r\n" if length else b"")
    storage.answers["/a.png"] += bytes(length)
    with pytest.raises(ConnectionBroken, match="no answer in time"):
        await get()


async def test_a_download_that_drips_ends(
    storage: Storage, get: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then is no download, long before the time for the whole is up."""
    monkeypatch.setattr(pacing, "SLOW_SECONDS", 0.1)
    storage.drips = True
    storage.answer(b"", "Connection: close")
    with pytest.raises(ConnectionBroken, match="less than 4,096 bytes a second"):
        await get()


@pytest.mark.parametrize("length", [500, 3 << 20])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_disk_is_not_filled_to_the_last(
    storage: Storage,
    get: Callable[..., Any],
    picture: Picture,
    monkeypatch: pytest.MonkeyPatch,
    length: int,
    announced: bool,
) -> None:
    """A reserve stays free, for the results manifest and for everybody else: by the announcement, or as it comes."""
    body = noise(length, picture)
    storage.answer(body, f"Content-Length: {len(body)}" if announced else "Connection: close")
    assert (await get()).bytes == len(body)
    monkeypatch.setattr(fetching, "room", lambda _: len(body) if announced else 100)
    with pytest.raises(OutputError, match="incoming: the disk is nearly full"):
        await get()


@pytest.mark.parametrize("length", [500, 500_000, 3 << 20])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_file_that_just_fits_comes_home(
    storage: Storage,
    get: Callable[..., Any],
    picture: Picture,
    monkeypatch: pytest.MonkeyPatch,
    length: int,
    announced: bool,
) -> None:
    """However quickly it comes, no byte of it counts twice, nor one of another file that was refused."""
    body = noise(length, picture)
    monkeypatch.setattr(fetching, "room", lambda _: len(body) + 1)
    storage.answer(bytes(2 << 20), "Content-Length: 90000000")
    with pytest.raises(OutputError, match="the disk is nearly full"):
        await get()
    storage.answer(body, f"Content-Length: {len(body)}" if announced else "Connection: close")
    assert (await get()).bytes == len(body)


async def test_a_cancelled_download_leaves_nothing(
    storage: Storage, get: Callable[..., Any], picture: Picture, target: Path
) -> None:
    """The file is closed before it is removed, so that nothing comes back after it."""
    storage.silent_after = True
    storage.answer(noise(3 << 20, picture)[:-5], "Content-Length: 9000000")
    async with anyio.create_task_group() as group:
        group.start_soon(get)
        while not left(target):  # noqa: ASYNC110 - the disk sends no event
            await asyncio.sleep(0)
        group.cancel_scope.cancel()
    assert left(target) == []


@pytest.mark.parametrize("length", [500, 3 << 20])
async def test_a_disk_that_refuses_is_an_error_of_the_output(
    storage: Storage, get: Callable[..., Any], picture: Picture, target: Path, length: int
) -> None:
    """It names the folder, and is never taken for a fault of the network."""
    target.parent.rmdir()
    storage.serve(noise(length, picture))
    with pytest.raises(OutputError, match=r"incoming: cannot be written: moved or deleted"):
        await get()


FULL = """
import asyncio, resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from runner.files.download import fetch
from runner.files.urls import UrlPolicy
from runner.core.errors import OutputError
from runner.core.http import session

async def main(url, port, target):
    with ThreadPoolExecutor(1) as disk:
        async with session(keepalive_seconds=1) as client:
            allowed = UrlPolicy(api=("http", "127.0.0.1", port))
            try:
                await fetch(client, url, target, allowed=allowed, max_bytes=10**8, disk=disk)
            except OutputError as error:
                print(error, list(target.parent.iterdir()))

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
"""


@pytest.mark.parametrize(
    ("length", "room"),
    [
        (5000, 100),
        pytest.param(5 << 20, 100, marks=pytest.mark.slow),
        pytest.param(5 << 20, 3 << 20, marks=pytest.mark.slow),
    ],
)
async def test_a_disk_that_is_full_in_the_middle_is_an_error_of_the_output(
    storage: Storage, tmp_path: Path, picture: Picture, length: int, room: int
) -> None:
    """In a process whose files may not grow past ``room`` bytes; the half of the file is removed."""
    storage.serve(noise(length, picture))
    folder = tmp_path / "incoming"
    folder.mkdir()
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        FULL,
        storage.url(),
        str(storage.port),
        str(folder / "x"),
        str(room),
    ]
    done = await anyio.run_process(command)
    assert done.stdout.decode() == f"{folder}: cannot be written: File too large []\n"
    assert done.stderr == b""


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_a_picture_is_checked_beside_the_event_loop(storage, get, picture, monkeypatch, kind):
    """Few bytes may hold very many pixels: whatever arrives holds up no other job."""
    where = []

    def noted(*about: Any, **more: Any) -> Media:
        where.append(threading.current_thread())
        return inspect(*about, **more)

    monkeypatch.setattr(fetching, "inspect", noted)
    storage.serve(picture(kind))
    assert (await get()).width == 23
    assert where
    assert threading.main_thread() not in where
