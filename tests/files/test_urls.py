"""Where a file may come from, whatever tricks an address plays."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from yarl import URL

from runner.core.http import AnswerTimeout, ConnectFailed, send, session
from runner.files.urls import PublicResolver, RefusedUrl, UrlPolicy

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult

API = ("https", "model-api.runcomfy.net", 443)
PATIENCE = AnswerTimeout(5, whole=True)
EMULATOR = ("http", "127.0.0.1", 8080)
TRUSTED = ("cdn.example.com", "*.Storage.Example", "bücher.example", "10.0.0.1", "8.8.8.8", "169.254.169.254", "[::1]")


@pytest.mark.parametrize(
    "url",
    [
        "https://playgrounds-storage-public.runcomfy.net/a.png",
        "https://a.b.runcomfy.com/a.png?x=1#y",
        "HTTPS://Storage.RunComfy.NET/a.png",
        "https://storage.runcomfy.net./a.png",
        "https://storage.runcomfy.net:8443/a.png",
        "https://model-api.runcomfy.net/v1/files/a.png",
        "https://cdn.example.com/a.png",
        "https://CDN.example.com./a.png",
        "https://x.storage.example/a.png",
        "https://x.y.storage.example/a.png",
        "https://bücher.example/a.png",
        "https://xn--bcher-kva.example/a.png",
        "https://BÜCHER.example/a.png",
        "https://8.8.8.8/a.png",
        "https://storage.runcomfy.net/a@b%2fc.png",
    ],
)
def test_storage_hosts_and_trusted_ones_are_allowed(url: str) -> None:
    """However the address is spelled."""
    UrlPolicy(api=API, trusted_hosts=TRUSTED).check(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://runcomfy.net.evil.com/a.png",
        "https://evilruncomfy.net/a.png",
        "https://evil.com/runcomfy.net",
        "https://evil.com#.runcomfy.net",
        "https://evil.com?.runcomfy.net",
        "https://runcomfy.net/a.png",
        "https://.runcomfy.net/a.png",
        "https://x.cdn.example.com/a.png",
        "https://storage.example/a.png",
        "https://user@storage.runcomfy.net/a.png",
        "https://storage.runcomfy.net@evil.com/a.png",
        "https://storage.runcomfy.net:443@evil.com/a.png",
        "https://evil.com\\@storage.runcomfy.net/a.png",
        "https://evil.com\\.runcomfy.net/a.png",
        "https://evil.com%2f.runcomfy.net/a.png",
        "https://evil.com%00.runcomfy.net/a.png",
        "https://evil.com／.runcomfy.net/a.png",
        "https://evil.com⁄x.runcomfy.netx/a.png",
        "https://storage.runcomfy.net /a.png",
        "https://storage.runcomfy.net/a\n.png",
        "https://storage.runcomfy.net/a\x7f.png",
        " https://storage.runcomfy.net/a.png",
        "http://storage.runcomfy.net/a.png",
        "http://cdn.example.com/a.png",
        "ftp://storage.runcomfy.net/a.png",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "//storage.runcomfy.net/a.png",
        "storage.runcomfy.net/a.png",
        "https:///a.png",
        "https:storage.runcomfy.net/a.png",
        "",
        "https://[::1/a.png",
        "https://storage.runcomfy.net:port/a.png",
        "https://storage.runcomfy.net:99999/a.png",
        "https://" + "x" * 70 + "ü.runcomfy.net/a.png",
        "https://10.0.0.1/a.png",
        "https://10.0.0.1./a.png",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/a.png",
        "https://127.0.0.1/a.png",
        "https://localhost/a.png",
        "https://2130706433/a.png",
        "https://0x7f.1/a.png",
        "https://0177.0.0.1/a.png",
        "https://[::ffff:127.0.0.1]/a.png",
        "https://１２７.0.0.1/a.png",
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    """Look-alikes, other schemes, credentials, private addresses (trusted or not), what parsers read differently."""
    with pytest.raises(RefusedUrl):
        UrlPolicy(api=API, trusted_hosts=TRUSTED).check(url)


def test_an_api_on_loopback_may_serve_files_and_nothing_else_there() -> None:
    """Scheme, host and port: this lets an emulator serve its files, and no other service of this machine."""
    allowed = UrlPolicy(api=EMULATOR)
    allowed.check("http://127.0.0.1:8080/files/a.png")
    for url in (
        "http://127.0.0.1:8081/a.png",
        "http://127.0.0.1/a.png",
        "http://localhost:8080/a.png",
        "https://127.0.0.1:8080/a.png",
        "http://[::1]:8080/a.png",
        "http://x@127.0.0.1:8080/a.png",
        "http://model-api.runcomfy.net/a.png",
    ):
        with pytest.raises(RefusedUrl):
            allowed.check(url)


def test_plain_http_to_an_api_elsewhere_is_refused() -> None:
    """Only on this machine may files come unencrypted, the API's own origin included."""
    with pytest.raises(RefusedUrl, match="https only"):
        UrlPolicy(api=("http", "model-api.runcomfy.net", 80)).check("http://model-api.runcomfy.net/a.png")


def test_a_refusal_says_what_would_help_and_is_not_endless() -> None:
    """The user reads the host to add, not a page of address."""
    with pytest.raises(RefusedUrl, match=r"cdn\.other\.com is not one of .* add it to `trusted_hosts`"):
        UrlPolicy(api=API).check("https://cdn.other.com/a.png?" + "x" * 5000)
    with pytest.raises(RefusedUrl) as caught:
        UrlPolicy(api=API).check("gopher://" + "x" * 5000)
    assert len(str(caught.value)) < 300
    with pytest.raises(RefusedUrl, match="an address of 20,000 characters") as caught:
        UrlPolicy(api=API).check("https://storage.runcomfy.net/".ljust(20_000, "x"))
    assert len(str(caught.value)) < 300


class Names:
    """Stands for a name server: answers every name with these addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [
            {"hostname": host, "host": one, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
            for one in self.addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


def resolver(*addresses: str) -> PublicResolver:
    made = PublicResolver(("https", "api.test", 443))
    made._inner = Names(*addresses)  # type: ignore[assignment]  # a name server of this machine is not ours to set up
    return made


PRIVATE = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1%eth0",
    "fc00::1",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
]


@pytest.mark.anyio
async def test_a_vpn_that_answers_names_with_stand_in_addresses_keeps_no_file_away() -> None:
    """198.18.0.0/15 leads to the real host there, as its certificate shows; in a link it is refused."""
    found = await resolver("198.18.0.21", "198.19.255.254", "198.20.0.1").resolve("storage.test", 443)
    assert [entry["host"] for entry in found] == ["198.18.0.21", "198.19.255.254", "198.20.0.1"]
    for address in ("198.18.0.21", "[::ffff:198.18.0.21]"):
        with pytest.raises(RefusedUrl):
            UrlPolicy(api=API, trusted_hosts=("198.18.0.21", "[::ffff:198.18.0.21]")).check(f"https://{address}/a.png")


@pytest.mark.anyio
@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_leads_to_a_private_address_leads_nowhere(address: str) -> None:
    """What was checked by name is what is connected to."""
    with pytest.raises(OSError, match=r"storage\.test has no public address"):
        await resolver(address).resolve("storage.test", 443)
    found = await resolver(address, "8.8.8.8", "2606:4700::1111").resolve("storage.test", 443)
    assert [entry["host"] for entry in found] == ["8.8.8.8", "2606:4700::1111"]


@pytest.mark.anyio
async def test_the_apis_own_host_may_be_private() -> None:
    """Its address was given by the user, not by an answer. That goes for its port alone."""
    found = await resolver("10.0.0.1").resolve("api.test", 443)
    assert [entry["host"] for entry in found] == ["10.0.0.1"]
    with pytest.raises(OSError, match=r"api\.test has no public address"):
        await resolver("10.0.0.1").resolve("api.test", 6379)


class Turning(Names):
    """A name server that gives another address each time."""

    asked = 0

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        self.asked += 1
        return [(await super().resolve(host, port, family))[(self.asked - 1) % len(self.addresses)]]


@pytest.mark.anyio
async def test_the_address_that_was_judged_is_the_one_connected_to() -> None:
    """A name is looked up once for a connection: what a name server says next changes nothing."""
    calls: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(writer.get_extra_info("sockname")[0])
        writer.write(b"HTTP/1.1 204 No\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        resolver = PublicResolver(("http", "api.test", port))
        resolver._inner = names = Turning("127.0.0.1", "127.0.0.2")  # type: ignore[assignment]
        async with session(keepalive_seconds=1, resolver=resolver) as client:
            for _ in range(3):
                async with await send(client, "GET", f"http://api.test:{port}/", PATIENCE) as response:
                    assert response.status == 204
    assert calls == ["127.0.0.1"] * 3
    assert names.asked == 1


HOSTS = st.lists(
    st.sampled_from([*"a.@:/\\?#%[]é。．⑦ß\u200d\xad", "127.0.0.1", "runcomfy.net", ".runcomfy.com", "%2e", "80"])
)


@given(HOSTS, HOSTS)
@settings(max_examples=examples(1000, quick=100))
def test_what_is_allowed_is_read_the_same_by_the_client(before: list[str], after: list[str]) -> None:
    """The host that was judged is the one that will be asked, whatever stands around it."""
    url = "https://" + "".join(before) + "storage.runcomfy.net" + "".join(after)
    try:
        UrlPolicy(api=API).check(url)
        asked = URL(url)
    except (RefusedUrl, ValueError):
        return  # by us, or by the client: nobody is asked
    assert asked.scheme == "https"
    assert (asked.raw_host or "").removesuffix(".").endswith((".runcomfy.net", ".runcomfy.com"))
    assert asked.user is None


@pytest.mark.anyio
async def test_a_private_name_is_not_connected_to() -> None:
    """Through the real session: nothing leaves this machine for ``localhost``."""
    async with session(keepalive_seconds=1, resolver=PublicResolver(("https", "api.test", 443))) as client:
        with pytest.raises(ConnectFailed), PATIENCE.map_errors():
            await send(client, "GET", "http://localhost:9/a.png", PATIENCE)
