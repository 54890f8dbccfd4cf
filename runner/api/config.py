"""Credentials and address of the API, from options, environment and login file."""

from __future__ import annotations

import codecs
import logging
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from runner.api.fields import mend
from runner.core.errors import AccountError, UsageError
from runner.core.nesting import TooDeep, check_nesting
from runner.core.origins import DEFAULT_PORTS, is_loopback, origin_of

DEFAULT_API = "https://model-api.runcomfy.net/v1"
SHORTEST_SECRET = 10
"""Least length of a token that is removed from answers; a shorter one may be a word of any answer."""
DEFAULT_ACCOUNT = "https://api.runcomfy.net/prod/v2"
"""Account service of the public API, which knows the balance."""
ACCOUNT_VARIABLE = "RUNCOMFY_SERVERLESS_API_BASE"
"""Environment variable with another address of the account service, with its path."""
TOKEN_VARIABLES = ("RUNCOMFY_TOKEN", "RUNCOMFY_API_TOKEN")
"""Environment variables that may hold the token; the first that is set counts."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """API token. Its text forms hide the value; only the API's session reads ``value``."""

    value: str

    def __repr__(self) -> str:
        return "Token(…)"

    __str__ = __repr__

    def redacted(self, text: str) -> str:
        """Return ``text`` without the token."""
        return text.replace(self.value, "…") if len(self.value) >= SHORTEST_SECRET else text

    def redacted_from(self, body: bytes) -> bytes:
        """Return the body of an answer without the token, in any JSON spelling: a service may echo what it was sent."""
        if len(self.value) < SHORTEST_SECRET:
            return body
        spelled = msgspec.json.encode(self.value)[1:-1]  # as JSON writes it, without quotes
        if b"\\" in body or b"\0" in body:
            try:
                check_nesting(body)
                body = msgspec.json.encode(msgspec.json.decode(body))  # the one spelling that is searched for
            except (msgspec.DecodeError, UnicodeDecodeError, TooDeep):
                return _redacted_from_odd(body, spelled)
        return body.replace(spelled, "…".encode())


def _redacted_from_odd(body: bytes, spelled: bytes) -> bytes:
    """Return a body that is not JSON without the token, also in the JSON that ``mend`` reads in it.

    The result is still not JSON, and so proves nothing.
    """
    mended, mark = mend(body), "…".encode()
    return codecs.BOM_UTF8 + mended.replace(spelled, mark) if spelled in mended else body.replace(spelled, mark)


class ApiBase(msgspec.Struct, frozen=True, kw_only=True):
    """Address of the API: ``url`` with ``/v1`` and without a trailing slash; ``name`` is its name in records."""

    url: str
    name: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Return scheme, host and port."""
        return origin_of(self.url)


def find_token(environ: Mapping[str, str]) -> Token:
    """Return the token of ``RUNCOMFY_TOKEN``, ``RUNCOMFY_API_TOKEN`` or ``runcomfy login``. Raises ``AccountError``."""
    for name in TOKEN_VARIABLES:
        if environ.get(name, "").strip():
            return _checked(environ[name].strip(), name)
    path = _login_file(environ)
    try:
        text = path.read_bytes()
        check_nesting(text)
        login = msgspec.json.decode(text)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, TooDeep):
        login = None
    found = login.get("access_token") if isinstance(login, dict) else None
    if isinstance(found, str) and found.strip():
        _warn_of_readers(path)
        return _checked(found.strip(), str(path))
    raise AccountError(
        "no API token: set RUNCOMFY_TOKEN (or RUNCOMFY_API_TOKEN), or run `runcomfy login`. Nothing was bought. "
        "To try without an account, add --emulator."
    )


@lru_cache
def _warn_of_readers(path: Path) -> None:
    """Warn once if other users may read the token, on systems with permissions for others."""
    with suppress(OSError):
        if os.name != "nt" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            log.warning("other users of this machine can read the API token in %s: chmod 600 it", path)


def _checked(text: str, source: str) -> Token:
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise AccountError(f"the token in {source} contains spaces or characters that no token has; copy it again")
    return Token(text)


def _login_file(environ: Mapping[str, str]) -> Path:
    """Return the path of the file in which the official CLI keeps its login."""
    if environ.get("RUNCOMFY_CONFIG_DIR"):
        return Path(environ["RUNCOMFY_CONFIG_DIR"]) / "token.json"
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "~"), ".config")  # noqa: PTH118 - without HOME it is `~`, which `expanduser` below resolves
    return Path(config).expanduser() / "runcomfy" / "token.json"


def find_api(override: str | None, environ: Mapping[str, str]) -> ApiBase:
    """Return the API of ``--api``, else of ``RUNCOMFY_MODEL_API_BASE``, else the public one.

    Raises ``UsageError`` for an unsafe or invalid address.
    """
    return _base(override or environ.get("RUNCOMFY_MODEL_API_BASE") or DEFAULT_API)


def find_account(base: ApiBase, environ: Mapping[str, str]) -> ApiBase | None:
    """Return the address of the account service that belongs to the API ``base``; None: it is not known.

    It is that of the public API, or, on this machine, the API's own host: an emulator answers there, too. The address
    in ``RUNCOMFY_SERVERLESS_API_BASE`` replaces both. The token of an API at any other address is sent nowhere else.
    Raises ``UsageError`` for an unsafe address in the environment.
    """
    scheme, host, port = base.origin
    public = base.origin == origin_of(DEFAULT_API)
    if not public and not is_loopback(host):
        return None
    address = f"[{host}]" if ":" in host else host
    own = DEFAULT_ACCOUNT if public else f"{scheme}://{address}:{port}/prod/v2"
    return _base(environ.get(ACCOUNT_VARIABLE) or own)


def _base(text: str) -> ApiBase:
    """Return an address of a service that gets the token. Raises ``UsageError`` for an unsafe or invalid address."""
    url = text.strip().rstrip("/")
    try:
        scheme, host, port = origin_of(url)
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"the API's address {url!r} cannot be read: {error}") from None
    odd = parts.query or parts.fragment or "@" in parts.netloc or re.search(r"[\s\x00-\x1f\x7f]", url)
    if scheme not in DEFAULT_PORTS or not host or odd:
        raise UsageError(f"the API's address {url!r} should look like {DEFAULT_API}")
    if scheme == "http" and not is_loopback(host):
        raise UsageError(f"the API's address {url!r} would send the token unencrypted; use https")
    address = f"[{host}]" if ":" in host else host
    shown_port = "" if port == DEFAULT_PORTS[scheme] else f":{port}"
    url = f"{scheme}://{address}{shown_port}{parts.path}"  # one API has one name, in whatever spelling it is given
    return ApiBase(url=url, name=url)
