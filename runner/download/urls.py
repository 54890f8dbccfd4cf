"""Where a file may come from. Judged by the parsed address, again after every redirect; nothing private but the API."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from runner.errors import RunnerError
from runner.settings import is_loopback, origin_of

STORAGE = ("*.runcomfy.net", "*.runcomfy.com")


class RefusedUrl(RunnerError):
    """The runner does not download from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The API's own origin, RunComfy's storage hosts, and those that the user trusts."""

    api: tuple[str, str, int]
    trusted_hosts: tuple[str, ...] = ()

    def check(self, url: str) -> None:
        """Raise ``RefusedUrl`` unless files may come from ``url``."""
        try:
            scheme, host, port = origin_of(url)
            named = urlsplit(url)
        except ValueError as error:
            raise RefusedUrl(f"{url[:200]!r} is no address: {error}") from None
        odd = "\\" in url or "@" in named.netloc or any(char <= " " for char in url)
        if odd or scheme not in ("http", "https") or not host:
            raise RefusedUrl(f"{url[:200]!r} is no plain http(s) address")
        if (scheme, host, port) == self.api and (scheme == "https" or is_loopback(host)):
            return
        if scheme != "https":
            raise RefusedUrl(f"files come over https only, not from {scheme}://{host}")
        if not any(_matches(host.rstrip("."), pattern) for pattern in STORAGE + self.trusted_hosts):
            raise RefusedUrl(
                f"{host} is not one of RunComfy's storage hosts; if it is right, add it to trusted_hosts"
            )
        if _is_address(host) and not _is_public(host):
            raise RefusedUrl(f"{host} is a private address")


def _matches(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:].lower()) and len(host) > len(pattern) - 1
    return host == pattern.lower()


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_public(address: str) -> bool:
    found = ip_address(address.strip("[]").partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_global


class PublicResolver(AbstractResolver):
    """Looks names up and drops private addresses, so that what was checked is what is connected to."""

    def __init__(self, api_host: str) -> None:
        self._api_host = api_host
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        public = [entry for entry in found if host == self._api_host or _is_public(entry["host"])]
        if not public:
            raise OSError(None, f"{host} has no public address")
        return public

    async def close(self) -> None:
        await self._inner.close()
