"""Proxies from the environment: choice of the proxy for a URL, and messages about proxies that do not work."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from runner.core.errors import UsageError
from runner.core.origins import is_loopback

_HTTP = ("http", "https")
_SOCKS = {"socks5": "socks5", "socks5h": "socks5", "socks": "socks5", "socks4": "socks4", "socks4a": "socks4"}
"""Names that the SOCKS library uses for each scheme; the proxy resolves host names in all cases."""


def proxy_for(url: str) -> str | None:
    """Return the proxy from the environment for ``url``, cached at the first call; None for loopback addresses."""
    end = url.find("/", len("https://"))
    return _proxy_for_origin(url if end < 0 else url[:end])


@lru_cache
def _proxy_for_origin(origin: str) -> str | None:
    parts = urlsplit(origin)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxy = getproxies().get(parts.scheme)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy  # as in curl


def require_usable_proxy(url: str) -> None:
    """Raise ``UsageError`` if ``url`` goes through a proxy of an unsupported kind."""
    proxy = proxy_for(url)
    scheme = _scheme(proxy) if proxy else ""
    if not proxy or scheme in _HTTP:
        return
    where = f"the proxy {shown(proxy)} (from HTTPS_PROXY or ALL_PROXY)"
    if scheme not in _SOCKS:
        raise UsageError(f"{where} cannot be used: write http://HOST:PORT or socks5://HOST:PORT. Nothing was sent.")
    if find_spec("aiohttp_socks") is None:
        raise UsageError(
            f"{where} is a SOCKS proxy, which needs an extra: pip install 'runcomfy-runner[socks]'. Nothing was sent."
        )


def socks_url(proxy: str) -> str | None:
    """Return ``proxy`` in the form of the SOCKS library; None for a proxy of another kind."""
    scheme, rest = _scheme(proxy), proxy.partition("://")[2]
    return f"{_SOCKS[scheme]}://{rest}" if scheme in _SOCKS else None


def shown(proxy: str) -> str:
    """Return ``proxy`` for a message, without user name and password."""
    return re.sub(r"//[^/]*@", "//", proxy)


def words_of_proxy(proxy: str, status: int | None, reason: str) -> str:
    """Describe a failure of ``proxy`` before anything was sent; ``status`` is its response, None: no response."""
    name = shown(proxy)
    if status == 407:
        login = name.replace("://", "://USER:PASSWORD@")
        return f"the proxy {name} requires a user name and a password (407): set HTTPS_PROXY={login}"
    if status is not None:
        return f"the proxy {name} did not connect: it answered HTTP {status}"
    return f"no connection through the proxy {name}: {reason}; check HTTPS_PROXY"


def _scheme(proxy: str) -> str:
    return proxy.partition("://")[0].lower()
