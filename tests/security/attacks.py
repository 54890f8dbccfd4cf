"""Everything that the hostile service tries, and what design.md says must come of it.

``state``, ``code`` and ``words`` are those of the record after a run under attack; ``healed`` is the state after a run
against the same service once it is well: what is paid comes home, what is in doubt is held, what was refused stays so.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO

from PIL import Image
from security.server import ESCAPES, PICTURE, Answer, Deed, Scene, accepted, completed, http, png, said

BOMB = 300 << 20
"""Bytes that the bombs unpack to: far more than a run may need."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One way to do harm. What is None is done as a good service does it."""

    why: str
    state: str
    code: str = ""
    words: str = ""
    healed: str = "done"
    submit: Deed | None = None
    result: Deed | None = None
    file: Deed | None = None


# Bodies and answers


async def endless(start: bytes, piece: bytes, seconds: float = 0.0) -> AsyncIterator[bytes]:
    """``start``, and then ``piece`` for ever, or a minute of it."""
    yield start
    for _ in range(int(60 / seconds) if seconds else 100_000):
        await asyncio.sleep(seconds)
        yield piece


def dripping(start: bytes) -> AsyncIterator[bytes]:
    """A byte now and then."""
    return endless(start, b"0", 0.1)


def open_ended(*headers: str) -> bytes:
    """The head of an answer whose body has no length."""
    return "\r\n".join(["HTTP/1.1 200 OK", *headers, "Connection: close", "\r\n"]).encode()


@cache
def bomb() -> bytes:
    return gzip.compress(bytes(BOMB), 1)


@cache
def lying_png() -> bytes:
    """A small picture by its header, whose rows unpack to hundreds of megabytes."""
    return png(pixels=zlib.compress(bytes(BOMB), 1))


@cache
def deep() -> bytes:
    return b'{"a":' * 100_000 + b"1" + b"}" * 100_000


@cache
def flood() -> bytes:
    """Four megabytes of brackets."""
    return b"[" + b",".join([b"[]"] * 1_300_000) + b"]"


def prepare() -> None:
    """Make what takes long to make, so that nobody waits for it."""
    for made in (bomb, lying_png, deep, flood):
        made()


def huge_header(_: Scene) -> bytes:
    return http(b"{}", "X-Long: " + "x" * 100_000)


def endless_headers(_: Scene) -> Answer:
    return endless(b"HTTP/1.1 200 OK\r\n", b"X-One: more\r\n")


def gzipped(_: Scene) -> bytes:
    return http(bomb(), "Content-Encoding: gzip", "Content-Type: application/json")


def nested(_: Scene) -> bytes:
    return http(deep())


def page(_: Scene) -> bytes:
    return http(b"<!doctype html><html><body>Sign in</body></html>", "Content-Type: text/html")


def endless_json(_: Scene) -> Answer:
    return endless(open_ended() + b'{"request_id": "', b"a" * 65_536)


def half(_: Scene) -> bytes:
    return http(b'{"request_id": "req', length=500)


def nothing(_: Scene) -> bytes:
    return b""


def two_lengths(scene: Scene) -> bytes:
    return http(json.dumps({"request_id": scene.request_id}).encode(), "Content-Length: 3")


def only_waits(_: Scene) -> Answer:
    return endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.1)


def redirected(status: int, to: str) -> Deed:
    return lambda scene: http(
        b"", f"Location: {to.format(canary=scene.canary, api=scene.api)}", status=f"{status} There"
    )


def with_id(request_id: object) -> Deed:
    return lambda _: said({"request_id": request_id})


ENDLESS = "longer than | no complete answer within"
"""Words about a body without end: on a busy machine its time may be over before its bound is reached."""
CANARY = "http://127.0.0.1:{canary}/v1/models/x"


def doubtful(submit: Deed, words: str, code: str, why: str) -> Attack:
    """A submission whose outcome cannot be read: `unknown`, and never repeated."""
    return Attack(why=why, submit=submit, state="unknown", code=code, words=words, healed="unknown")


SUBMITTING = {
    **{
        f"submit-redirect-{status}": doubtful(
            redirected(status, CANARY),
            f"HTTP {status}",
            f"http_{status}",
            "A redirect is no answer of the API's, and following it would hand the token and the purchase to others.",
        )
        for status in (301, 302, 303, 307, 308)
    },
    "submit-page": doubtful(page, "HTTP 200 without", "http_200", "A page under 200 says nothing of the request."),
    "submit-endless": doubtful(endless_json, ENDLESS, "no_answer", "An endless body is read to its bound."),
    "submit-header": doubtful(huge_header, "HTTP 200 without", "http_200", "A long header is no answer."),
    "submit-headers": doubtful(endless_headers, "not valid HTTP", "no_answer", "So is their number."),
    "submit-bomb": doubtful(gzipped, "when decompressed", "no_answer", "It is unpacked to its bound."),
    "submit-nested": doubtful(nested, "HTTP 200 without", "http_200", "Nesting beyond reason is no answer."),
    "submit-half": doubtful(half, "ended early", "no_answer", "Half an answer is none."),
    "submit-nothing": doubtful(
        nothing, "without an answer", "no_answer", "The connection is closed after the request."
    ),
    "submit-lengths": Attack(
        why="Two lengths: the longer one counts, and the id in the body is worth money.",
        submit=two_lengths,
        state="done",
    ),
    "submit-waits": doubtful(only_waits, "no complete answer", "no_answer", "Interim answers without end."),
    "submit-drip": doubtful(
        lambda _: dripping(open_ended() + b"{"), "no complete answer", "no_answer", "A byte now and then is no answer."
    ),
    "submit-garbage": doubtful(
        lambda _: b"\x00\xff" * 500, "not valid HTTP", "no_answer", "Whatever this is, it is no HTTP."
    ),
    "submit-escapes": doubtful(
        lambda _: said({"error_code": 500001, "error_message": ESCAPES}, status="500 Oops"),
        "red",
        "500001",
        "The words of an error are shown without what commands a terminal.",
    ),
    "submit-echo-id": doubtful(
        lambda scene: said({"request_id": scene.token}), "HTTP 200", "http_200", "The token as an id would be recorded."
    ),
    **{
        f"submit-id-{name}": doubtful(
            with_id(value), "HTTP 200", "http_200", "No usable id: nothing that becomes part of a path or a line."
        )
        for name, value in {
            "path": "../../../v1/models/x",
            "dots": "..",
            "slash": "a/b",
            "query": "a?b=c",
            "percent": "%2e%2e%2fx",
            "newline": "abc\n",
            "escape": "abc\x1b[2J",
            "long": "a" * 100_000,
            "number": -7,
            "list": ["abc"],
            "null": None,
            "empty": "",
            "full-width": "ａｂｃ",
        }.items()
    },
    "submit-refused": Attack(
        why="The API's own error under 422 is proof that nothing was bought: failed, and its words are made harmless.",
        submit=lambda _: said({"error_code": 422001, "detail": [{"loc": ["x"], "msg": ESCAPES}]}, status="422 No"),
        state="failed",
        code="422001",
        words="red",
        healed="failed",
    ),
    "submit-echo": Attack(
        why="An API that repeats the token in its error does not get it into our records.",
        submit=lambda scene: said({"error_code": 422001, "message": f"Bearer {scene.token} is odd"}, status="422 No"),
        state="failed",
        code="422001",
        words="Bearer … is odd",
        healed="failed",
    ),
    "submit-echo-escaped": Attack(
        why="However it spells it.",
        submit=lambda scene: http(
            json.dumps({"error_code": 422001, "message": f"Bearer {scene.token} is odd"})
            .replace(scene.token[5:9], "".join(f"\\u{ord(char):04x}" for char in scene.token[5:9]))
            .encode(),
            status="422 No",
        ),
        state="failed",
        code="422001",
        words="Bearer … is odd",
        healed="failed",
    ),
    "submit-echo-encoding": doubtful(
        lambda scene: http(b"{}", f"Content-Encoding: {scene.token}"), "HTTP 200", "http_200", "Nor by a header."
    ),
    "submit-links": Attack(
        why="Links in answers are never asked: ours are made from the id.",
        submit=lambda scene: accepted(
            scene,
            status_url=f"http://127.0.0.1:{scene.canary}/status",
            result_url=f"http://127.0.0.2:{scene.canary}/result",
            cancel_url="file:///etc/passwd",
        ),
        state="done",
    ),
    "submit-cookie": Attack(
        why="A cookie is not kept.",
        submit=lambda scene: accepted(scene).replace(b"\r\n", b"\r\nSet-Cookie: session=1; Path=/\r\n", 1),
        state="done",
    ),
}


def waits(scene: Scene, state: object, **more: object) -> bytes:
    return said({"request_id": scene.request_id, "status": state, **more})


def owed(result: Deed, words: str, why: str, code: str = "timeout") -> Attack:
    """An answer about a request in hand that says nothing: it stays owed, and the next run asks again."""
    return Attack(why=why, result=result, state="submitted", code=code, words=words)


def completed_with(output: object) -> Deed:
    return lambda scene: completed(scene, output=output)


RESULTS = {
    "result-redirect": owed(redirected(302, CANARY), "HTTP 302", "The token goes along no redirect."),
    "result-redirect-307": owed(redirected(307, "//127.0.0.2:{canary}/x"), "HTTP 307", "Of any kind."),
    "result-page": owed(page, "HTTP 200 without", "A page is no result."),
    "result-endless": owed(endless_json, ENDLESS, "A body without end is read to its bound."),
    "result-header": owed(huge_header, "HTTP 200 without", "A long header is no result."),
    "result-headers": owed(endless_headers, "not valid HTTP", "And so is their number."),
    "result-bomb": owed(gzipped, "when decompressed", "It is unpacked to its bound."),
    "result-nested": owed(nested, "HTTP 200 without", "Nesting beyond reason is no answer."),
    "result-flood": owed(
        lambda scene: http(b'{"status": "in_queue", "output": ' + flood() + b"}"),
        "still in_queue",
        "Four megabytes of brackets are thrown away again.",
    ),
    "result-drip": owed(lambda _: dripping(open_ended() + b"{"), "no complete answer", "A byte now and then is none."),
    "result-half": owed(half, "ended early", "Half an answer is none."),
    "result-other": owed(
        lambda _: said({"request_id": "req-other-1", "status": "failed"}),
        "about request 'req-other-1'",
        "Another request's end is not ours.",
    ),
    "result-dreaming": owed(
        lambda scene: waits(scene, "dreaming"), "still dreaming", "A state never seen before counts as unfinished."
    ),
    "result-state-escapes": owed(
        lambda scene: waits(scene, ESCAPES), "still", "Also one that would take over the terminal."
    ),
    "result-state-long": owed(lambda scene: waits(scene, "z" * 3_000_000), "still zzz", "Or fill the log."),
    "result-state-number": owed(lambda scene: waits(scene, 7), "HTTP 200 without", "A state is a word."),
    "result-500": owed(
        lambda _: said({"error_code": 500001, "error_message": ESCAPES}, status="500 Oops"),
        "red",
        "Trouble at the service is no end of a request.",
    ),
    "result-echo": owed(
        lambda scene: said({"error_code": 500001, "message": f"no such {scene.token}!"}, status="500 Oops"),
        "no such …!",
        "The token is struck from what is recorded.",
    ),
    "result-echo-header": owed(
        lambda scene: f"HTTP/1.1 200 OK\r\nAuthorization Bearer {scene.token}\r\n\r\n".encode(),
        "HTTP 200 without",
        "Also where it stands in what is wrong with the HTTP.",
    ),
    "result-later": owed(
        lambda _: said({"error_code": 429001}, "Retry-After: 100000000", status="429 Busy"),
        "HTTP 429",
        "Come back in three years: the deadline holds.",
    ),
    "result-nan": Attack(
        why="NaN is no cost, and keeps no picture from its owner.",
        result=lambda scene: completed(scene).replace(b"0.0045", b"   NaN"),
        state="done",
    ),
    "result-404": owed(
        lambda _: said({"error_code": 404001}, status="404 Gone"),
        "does not know this request",
        "A request that was paid and is not known any more is stuck, and asked after in every run.",
        code="expired",
    ),
    "result-403": owed(
        lambda _: said({"error_code": 403001, "message": "not yours"}, status="403 No"),
        "not yours",
        "Nor is one that the API suddenly says is somebody else's ever called failed.",
        code="403001",
    ),
    "result-failed": Attack(
        why="A request that failed by the API's own word has failed, in words that harm nobody.",
        result=lambda scene: waits(scene, "failed", error={"message": ESCAPES, "code": ESCAPES, "retryable": False}),
        state="failed",
        words="red",
        healed="failed",
    ),
    "result-cost": Attack(
        why="A cost beyond all numbers keeps no picture from its owner.",
        result=lambda scene: completed(scene, cost=10**400),
        state="done",
    ),
    "result-finished": Attack(
        why="A time that is none is not recorded.",
        result=lambda scene: completed(scene, finished_at=ESCAPES * 1000),
        state="done",
    ),
    **{
        f"result-output-{name}": owed(
            completed_with(output),
            "without any output",
            "No http(s) address is no output: stuck, not failed.",
            "no_output",
        )
        for name, output in {
            "file": {"image": "file:///etc/passwd"},
            "ftp": {"images": ["ftp://127.0.0.1/a.png"]},
            "path": {"image": "/etc/passwd"},
            "backslashes": {"image": "https:\\\\storage.runcomfy.net\\a.png"},
            "number": 7,
            "nothing": {},
        }.items()
    },
    "result-output-data": Attack(
        why="Bytes inside the answer are checked like any other.",
        result=completed_with({"image": "data:image/png;base64,iVBORw0KGgo="}),
        state="generated",
        code="bad_file",
        words="cut short",
    ),
}


def address(url: str, why: str, words: str = "", code: str = "untrusted_host") -> Attack:
    """An output at a place where files may not come from: `generated`, and nobody is called."""

    def result(scene: Scene) -> bytes:
        return completed(
            scene,
            url.format(canary=scene.canary, api=scene.api, port=scene.api.rpartition(":")[2], id=scene.request_id),
        )

    return Attack(why=why, result=result, state="generated", code=code, words=words)


NO_STORAGE = "is not one of RunComfy's storage hosts"
HTTPS = "files are downloaded over https only"
ODD = "not a plain http(s) address"

ADDRESSES = {
    "at-canary": address("http://127.0.0.1:{canary}/a.png", "Another port of this machine.", HTTPS),
    "at-canary-https": address("https://127.0.0.1:{canary}/a.png", "With encryption too.", NO_STORAGE),
    "at-canary-2": address("http://127.0.0.2:{canary}/a.png", "Another loopback address.", HTTPS),
    "at-localhost": address("http://localhost:{port}/files/{id}.png", "Another name of the same place.", HTTPS),
    "at-login": address("http://127.0.0.1:{port}@127.0.0.1:{canary}/a.png", "The API's origin as a login.", ODD),
    "at-login-2": address("http://x@127.0.0.1:{port}/files/{id}.png", "A login at the right place.", ODD),
    "at-login-storage": address("https://storage.runcomfy.net@127.0.0.1:{canary}/", "Storage as a login.", ODD),
    "at-backslash": address("http://127.0.0.1:{canary}\\@127.0.0.1:{port}/a.png", "Parsers differ on this.", ODD),
    "at-backslash-2": address("https://127.0.0.1:{canary}\\.runcomfy.net/a.png", "And on this.", "is not an address"),
    "at-fragment": address("https://127.0.0.1:{canary}#.runcomfy.net/a.png", "The host ends before.", NO_STORAGE),
    "at-query": address("https://127.0.0.1:{canary}?.runcomfy.net/a.png", "Here too.", NO_STORAGE),
    "at-percent": address("https://127.0.0.1%3a{canary}%2f.runcomfy.net/a.png", "A host that is encoded.", "percent"),
    "at-suffix": address("https://storage.runcomfy.net.evil.example/a.png", "Another domain.", NO_STORAGE),
    "at-glued": address("https://evilruncomfy.net/a.png", "And another.", NO_STORAGE),
    "at-decimal": address("http://2130706433:{canary}/a.png", "127.0.0.1 as one number.", HTTPS),
    "at-decimal-https": address("https://2130706433:{canary}/a.png", "With encryption.", NO_STORAGE),
    "at-octal": address("https://0177.0.0.1:{canary}/a.png", "In octal.", NO_STORAGE),
    "at-hex": address("https://0x7f.1:{canary}/a.png", "In hex, and short.", NO_STORAGE),
    "at-zero": address("http://0.0.0.0:{port}/files/{id}.png", "This host, to some.", HTTPS),
    "at-zero-short": address("https://0:{canary}/a.png", "Shorter.", NO_STORAGE),
    "at-wide": address("https://１２７.０.０.１:{canary}/a.png", "In full width.", NO_STORAGE),
    "at-circled": address("https://①②⑦.0.0.1:{canary}/a.png", "In circles.", NO_STORAGE),
    "at-six": address("https://[::1]:{canary}/a.png", "By IPv6.", NO_STORAGE),
    "at-mapped": address("https://[::ffff:127.0.0.1]:{canary}/a.png", "IPv4 inside IPv6.", NO_STORAGE),
    "at-six-hex": address("https://[::ffff:7f00:1]:{canary}/a.png", "In hex.", NO_STORAGE),
    "at-scope": address("https://[fe80::1%25lo]:{canary}/a.png", "With a scope.", NO_STORAGE),
    "at-dot": address("http://127.0.0.1.:{canary}/a.png", "With the dot of the root.", HTTPS),
    "at-dot-name": address("https://localhost.:{canary}/a.png", "A name with it.", NO_STORAGE),
    "at-lookalike": address("https://storage.runcоmfy.net/a.png", "A Cyrillic letter.", NO_STORAGE),
    "at-upper": address("HTTP://LOCALHOST:{canary}/a.png", "In capitals.", HTTPS),
    "at-private": address("https://10.1.2.3/a.png", "An address of the intranet.", NO_STORAGE),
    "at-metadata": address("http://169.254.169.254/latest/meta-data/", "The cloud's own secrets.", HTTPS),
    "at-plain": address("http://storage.runcomfy.net/a.png", "Storage without encryption.", HTTPS),
    "at-port": address("http://127.0.0.1:{port}0/a.png", "No port at all.", ""),
    "at-space": address("http://127.0.0.1:{port} .evil/a.png", "A blank in the host.", ""),
    "at-newline": Attack(
        why="A second header: no address, and so no output.",
        result=lambda scene: completed(scene, f"{scene.api}/a.png\r\nX-Header: 1"),
        state="submitted",
        code="no_output",
        words="without any output",
    ),
    "at-long": address("http://127.0.0.1:{port}/" + "a" * 1_000_000, "A megabyte of address.", "1,000,"),
    "named-loopback": address(
        "https://loopback.runcomfy.net:{canary}/a.png", "A name that leads here.", "has no public address", "storage"
    ),
    "named-mapped": address(
        "https://mapped.runcomfy.net:{canary}/a.png", "By IPv6.", "has no public address", "storage"
    ),
    "named-inside": address("https://inside.runcomfy.net/a.png", "Or inside.", "has no public address", "storage"),
    "named-metadata": address("https://metadata.runcomfy.net/", "Or worse.", "has no public address", "storage"),
    "named-turning": address(
        "https://turning.runcomfy.net:{canary}/a.png", "Or elsewhere each time.", "has no public address", "storage"
    ),
    "many": Attack(
        why="Two thousand outputs, all at a place that must not be asked.",
        result=lambda scene: completed(scene, *(f"http://127.0.0.1:{scene.canary}/{n}" for n in range(2000))),
        state="generated",
        code="untrusted_host",
        words=HTTPS,
    ),
    "at-token": Attack(
        why="A link that would carry the token to the storage carries it no more.",
        result=lambda scene: completed(scene, f"{scene.file}?key={scene.token}"),
        state="done",
    ),
    "at-path": Attack(
        why="A file's name comes from its job, not from its address.",
        result=lambda scene: completed(scene, f"{scene.api}/x/..%2f..%2f..%2fetc/../../files/{scene.request_id}.png"),
        state="done",
    ),
}


def bad_file(file: Deed, words: str, why: str, code: str = "bad_file") -> Attack:
    """Something else than the picture that was paid: `generated`, tried again by the next run."""
    return Attack(why=why, file=file, state="generated", code=code, words=words)


def body(data: bytes, *headers: str, **more: int) -> Deed:
    return lambda _: http(data, "Content-Type: image/png", *headers, **more)  # type: ignore[arg-type]


def written(kind: str) -> bytes:
    """A small picture in another format."""
    target = BytesIO()
    Image.new("RGB", (64, 64), "teal").save(target, kind)
    return target.getvalue()


def huge_jpeg() -> bytes:
    data = written("JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", 65_000, 65_000) + data[at + 4 :]


def huge_gif() -> bytes:
    data = written("GIF")
    size = struct.pack("<HH", 65_535, 65_535)
    frame = data.index(b",\0\0\0\0") + 5
    return data[:6] + size + data[10:frame] + size + data[frame + 4 :]


def huge_webp() -> bytes:
    """An animation on the largest canvas that there is."""
    canvas = b"\x02\0\0\0" + (16_383).to_bytes(3, "little") * 2
    chunks = b"VP8X" + struct.pack("<I", 10) + canvas + written("WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def huge_bmp() -> bytes:
    data = written("BMP")
    return data[:18] + struct.pack("<ii", 60_000, 60_000) + data[26:]


def forged_chunk() -> bytes:
    """A PNG whose broken chunk has a name that would clear the screen."""
    return PICTURE[:33] + struct.pack(">I4s", 0, b"\x1b[2J") + bytes(4) + PICTURE[33:]


def chain(scene: Scene) -> bytes:
    """Six redirects, one more than is followed: each leads to the same place."""
    return http(b"", f"Location: {scene.file}?again", status="302 There")


FILES = {
    "file-redirect": bad_file(
        redirected(302, "http://127.0.0.1:{canary}/a.png"), HTTPS, "Each redirect is judged anew.", "untrusted_host"
    ),
    **{
        f"file-redirect-{name}": bad_file(redirected(307, to), "", "Whatever trick it plays.", "untrusted_host")
        for name, to in {
            "loopback": "//127.0.0.2:{canary}/a.png",
            "login": "{api}@127.0.0.1:{canary}/a.png",
            "backslash": "\\\\127.0.0.1:{canary}\\a.png",
            "file": "file:///etc/passwd",
            "data": "data:image/png;base64,iVBORw0KGgo=",
            "ftp": "ftp://127.0.0.1/a.png",
            "decimal": "https://2130706433:{canary}/a.png",
            "broken": "http://[::1",
        }.items()
    },
    "file-redirect-name": bad_file(
        redirected(302, "https://loopback.runcomfy.net:{canary}/a"), "has no public address", "By a name.", "storage"
    ),
    "file-chain": bad_file(chain, "more than 5 redirects", "Redirects end.", "storage"),
    "file-bomb": bad_file(
        lambda _: http(bomb(), "Content-Encoding: gzip"), "max_file", "It is unpacked to its bound.", "too_large"
    ),
    "file-page": bad_file(page, "error page", "A page under 200 is no picture, whatever it is called."),
    "file-svg": Attack(
        why="A drawing is a file like any other; nothing shows it inside a page.",
        file=body(b"<?xml version='1.0'?><svg/>"),
        state="done",
    ),
    "file-program": bad_file(body(b"\x7fELF" + bytes(500)), "a program", "Nor a program."),
    "file-empty": bad_file(body(b""), "empty", "Nor nothing."),
    "file-png-huge": bad_file(
        body(png(60_000, 60_000, pixels=b"")), "60000x60000", "Pixels are counted first.", "too_large"
    ),
    "file-png-lying": bad_file(lambda _: http(lying_png()), "rows", "And what they unpack to as well."),
    "file-jpeg-huge": bad_file(body(huge_jpeg()), "pixels", "In every format.", "too_large"),
    "file-gif-huge": bad_file(body(huge_gif()), "pixels", "In every format.", "too_large"),
    "file-webp-huge": bad_file(body(huge_webp()), "16384x16384", "In every format.", "too_large"),
    "file-bmp-huge": bad_file(body(huge_bmp()), "60000", "In every format.", "too_large"),
    "file-short": bad_file(body(PICTURE[:-30]), "cut short", "A picture without its end, of matching length."),
    "file-forged": bad_file(body(forged_chunk()), "checksum", "Names inside a file command no terminal."),
    "file-lie": bad_file(body(PICTURE, length=100), "cut short", "A length that is too short."),
    "file-truncated": bad_file(body(PICTURE, length=50_000), "ended early", "One that is too long.", "storage"),
    "file-announced": bad_file(body(PICTURE, length=10**15), "max_file", "A petabyte is not waited for.", "too_large"),
    "file-endless": bad_file(
        lambda _: endless(open_ended() + PICTURE, bytes(65_536)), "max_file", "Nor read.", "too_large"
    ),
    "file-chunks": bad_file(
        lambda _: endless(open_ended("Transfer-Encoding: chunked"), b"10000\r\n" + bytes(65_536) + b"\r\n"),
        "max_file",
        "In chunks neither.",
        "too_large",
    ),
    "file-drip": bad_file(
        lambda _: endless(open_ended() + PICTURE[:50], b"0", 0.05), "bytes a second", "A byte a time.", "storage"
    ),
    "file-silent": bad_file(
        lambda _: endless(open_ended() + PICTURE[:50], b"", 1.0), "no answer in time", "No byte at all.", "storage"
    ),
    "file-header-drip": bad_file(
        lambda _: endless(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x", 0.1), "no answer in time", "Nor drips in.", "storage"
    ),
    "file-waits": bad_file(only_waits, "no answer in time", "Interim answers without end.", "storage"),
    "file-header": bad_file(huge_header, "an error page", "A long header is no file."),
    "file-headers": bad_file(endless_headers, "not valid HTTP", "And their number.", "storage"),
    "file-404": bad_file(
        lambda _: http(status="404 No"), "HTTP 404", "Gone, says the storage: not the API.", "storage"
    ),
    "file-500": bad_file(lambda _: http(status="500 No"), "HTTP 500", "Trouble at the storage.", "storage"),
    "file-206": bad_file(
        lambda _: http(PICTURE, "Content-Range: bytes 5-9/10", status="206 Part"),
        "HTTP 206",
        "Not asked for.",
        "storage",
    ),
    "file-upgrade": bad_file(
        lambda _: b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + PICTURE,
        "HTTP 101",
        "Another protocol.",
        "storage",
    ),
    "file-size": Attack(
        why="A whole picture of another size is kept, with a warning.", file=body(png(32, 32)), state="done"
    ),
    "file-name": Attack(
        why="A name that the storage gives is not used.",
        file=body(PICTURE, 'Content-Disposition: attachment; filename="../../../evil.png"'),
        state="done",
    ),
    "file-type": Attack(
        why="The bytes decide what it is.",
        file=lambda _: http(PICTURE, "Content-Type: text/html", "Set-Cookie: a=b"),
        state="done",
    ),
}

ATTACKS: dict[str, Attack] = {**SUBMITTING, **RESULTS, **ADDRESSES, **FILES}
