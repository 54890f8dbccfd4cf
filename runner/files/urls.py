"""Policy for download addresses, applied again after every redirect: no private address except the API's."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from runner.core.errors import RunnerError
from runner.core.origins import is_loopback, origin_of

_ODD = re.compile(r"[\\\x00-\x20\x7f]")
MAX_URL = 16_384
"""Maximum characters of an address."""
STORAGE = ("*.runcomfy.net", "*.runcomfy.com")
_STAND_INS = ip_network("198.18.0.0/15")
"""Range reserved for benchmarks (RFC 2544). Some VPNs resolve names to such addresses and route them to the real
host."""


class RefusedUrl(RunnerError):
    """Address that the runner does not download from."""


class UrlPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Allowed sources of downloads: the API's origin, RunComfy's storage hosts, and hosts that the user trusts."""

    api: tuple[str, str, int]
    trusted_hosts: tuple[str, ...] = ()

    def check(self, url: str) -> None:
        """Raise ``RefusedUrl`` unless downloads from ``url`` are allowed."""
        if len(url) > MAX_URL:
            raise RefusedUrl(f"an address of {len(url):,} characters, {url[:80]!r}…, is not a link to a file")
        try:
            scheme, host, port = origin_of(url)
            named = urlsplit(url)
            ascii_host = _ascii(host)
        except ValueError as error:
            raise RefusedUrl(f"{url[:200]!r} is not an address: {error}") from None
        odd = "@" in named.netloc or _ODD.search(url)
        if odd or scheme not in ("http", "https") or not host:
            raise RefusedUrl(f"{url[:200]!r} is not a plain http(s) address")
        if (scheme, host, port) == self.api and (scheme == "https" or is_loopback(host)):
            return
        if scheme != "https":
            raise RefusedUrl(f"files are downloaded over https only, not from {scheme}://{host}")
        if not any(_matches(ascii_host, pattern) for pattern in STORAGE + self.trusted_hosts):
            raise RefusedUrl(
                f"{host} is not one of RunComfy's storage hosts. If it is right, add it to `trusted_hosts`"
            )
        if _is_address(ascii_host) and not _is_public(ascii_host):
            raise RefusedUrl(f"{host} is a private address")


def _ascii(host: str) -> str:
    """Return ``host`` in the form for name resolution: lower case, IDNA, no final dot. Raises ``ValueError``."""
    if "%" in host.partition(":")[0]:
        raise ValueError("its host is percent-encoded")
    plain = host if host.isascii() else host.encode("idna").decode()
    return plain.lower().removesuffix(".")


def _matches(host: str, pattern: str) -> bool:
    try:
        plain = _ascii(pattern)
    except ValueError:
        return False
    return host.endswith(plain[1:]) and len(host) >= len(plain) if plain.startswith("*.") else host == plain


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_public(address: str) -> bool:
    """Tell whether an address is public; an IPv4 address embedded in an IPv6 address is checked by itself."""
    found = ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None) or _nat64(found)
    return (mapped or found).is_global and not found.is_multicast


def _nat64(found: IPv4Address | IPv6Address) -> IPv4Address | None:
    inside = isinstance(found, IPv6Address) and found in ip_network("64:ff9b::/96")
    return IPv4Address(int(found) & 0xFFFFFFFF) if inside else None


def _is_stand_in(address: str) -> bool:
    """Tell whether a VPN uses ``address`` in place of the real one; TLS then proves that the host is the real one."""
    found = ip_address(address.partition("%")[0])
    return isinstance(found, IPv4Address) and found in _STAND_INS


class PublicResolver(AbstractResolver):
    """Name resolver that drops private addresses, so that connections go only to checked addresses.

    Only the API's host may have a private address, at the API's port. The substitute addresses of a VPN are accepted
    for names, but never as an address in a link.
    """

    def __init__(self, api: tuple[str, str, int]) -> None:
        self._api = api[1:]
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        any_address = (host, port) == self._api
        public = [e for e in found if any_address or _is_public(e["host"]) or _is_stand_in(e["host"])]
        if not public:
            raise OSError(None, f"{host} has no public address")
        return public

    async def close(self) -> None:
        await self._inner.close()
