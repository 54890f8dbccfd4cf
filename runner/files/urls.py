"""Policy of download addresses, applied again after every redirect: nothing private but the API."""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from runner.core.errors import RunnerError
from runner.core.origins import is_loopback, origin_of

_PLAIN = re.compile(r"(https?://[a-z0-9.-]+(?::[0-9]{1,5})?)/[\x21-\x3f\x41-\x5b\x5d-\x7e]*")
"""An address of which the part before the path says all that is judged: in it nothing is odd."""
_ODD = re.compile(r"[\\\x00-\x20\x7f]")
MAX_URL = 16_384
"""Characters; a longer one is no link."""
STORAGE = ("*.runcomfy.net", "*.runcomfy.com")
_STAND_INS = ip_network("198.18.0.0/15")
"""Reserved for benchmarks (RFC 2544). VPNs answer names with these addresses and lead them to the real host."""


class RefusedUrl(RunnerError):
    """The runner does not download from there."""


class UrlPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The API's own origin, RunComfy's storage hosts, and those that the user trusts."""

    api: tuple[str, str, int]
    trusted_hosts: tuple[str, ...] = ()

    def check(self, url: str) -> None:
        """Raise ``RefusedUrl`` unless files may come from ``url``."""
        plain = _PLAIN.fullmatch(url)
        if plain is None or len(url) > MAX_URL or not _known_good(self, plain[1]):
            _look_closely(self, url)


@lru_cache
def _known_good(allowed: UrlPolicy, origin: str) -> bool:
    """Tell whether files may come from an origin: many come from the same."""
    try:
        _look_closely(allowed, origin)
    except RefusedUrl:
        return False
    return True


def _look_closely(allowed: UrlPolicy, url: str) -> None:
    """``check``, part by part."""
    if len(url) > MAX_URL:
        raise RefusedUrl(f"an address of {len(url):,} characters, {url[:80]!r}…, is no link to a file")
    try:
        scheme, host, port = origin_of(url)
        named = urlsplit(url)
        ascii_host = _ascii(host)
    except ValueError as error:
        raise RefusedUrl(f"{url[:200]!r} is no address: {error}") from None
    odd = "@" in named.netloc or _ODD.search(url)
    if odd or scheme not in ("http", "https") or not host:
        raise RefusedUrl(f"{url[:200]!r} is no plain http(s) address")
    if (scheme, host, port) == allowed.api and (scheme == "https" or is_loopback(host)):
        return
    if scheme != "https":
        raise RefusedUrl(f"files come over https only, not from {scheme}://{host}")
    if not any(_matches(ascii_host, pattern) for pattern in STORAGE + allowed.trusted_hosts):
        raise RefusedUrl(f"{host} is not one of RunComfy's storage hosts; if it is right, add it to trusted_hosts")
    if _is_address(ascii_host) and not _is_public(ascii_host):
        raise RefusedUrl(f"{host} is a private address")


def _ascii(host: str) -> str:
    """``host`` as it is looked up: in lower case, IDNA, without the dot of the root. Raises ``ValueError``."""
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
    """Tell whether an address is one of the internet's; an IPv4 one inside an IPv6 one is judged by itself."""
    found = ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None) or _nat64(found)
    return (mapped or found).is_global and not found.is_multicast


def _nat64(found: IPv4Address | IPv6Address) -> IPv4Address | None:
    inside = isinstance(found, IPv6Address) and found in ip_network("64:ff9b::/96")
    return IPv4Address(int(found) & 0xFFFFFFFF) if inside else None


def _is_stand_in(address: str) -> bool:
    """Tell whether an address stands in for a name's real one; TLS shows that the real host is behind it."""
    found = ip_address(address.partition("%")[0])
    return isinstance(found, IPv4Address) and found in _STAND_INS


class PublicResolver(AbstractResolver):
    """Looks names up and drops private addresses, so that what was checked is what is connected to.

    Only the API's own host may have a private one, at the API's own port. The stand-in addresses of a VPN are good for
    names, and never as an address in a link.
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
