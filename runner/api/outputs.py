"""Outputs in the API's answers: addresses of files, files inside the answer, and results that are not files.

An output is identified by its address. A file inside the answer has no lasting address. It is recorded by its position
among the outputs (``result:2``), and requested again for delivery.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator
from hashlib import sha256
from urllib.parse import unquote_to_bytes, urljoin

import msgspec

from runner.core.http import TooLarge
from runner.core.local_inputs import MAX_BODY, is_reference, parse_reference
from runner.core.models import MAX_OUTPUTS, Json

INSIDE = "result:"
"""Prefix of the address of an output inside the answer; the number of the output, from 0, follows."""
_MEDIA_KEYS = frozenset(
    f"{word}{ending}"
    for word in ("image", "video", "audio", "file", "url", "uri", "mesh", "image_url", "video_url", "audio_url")
    for ending in ("", "s")
)
"""Keys under which an address is expected; with another value under one of them there is no text result."""
_ABSOLUTE = re.compile(r"https?://\S", re.IGNORECASE)
_RELATIVE = re.compile(r"//[^/\s]+/\S+|/(?!/)[^\s?#]*\.[A-Za-z0-9]{1,12}(?:[?#]\S*)?")
"""Address without a scheme, or without a host and with a file extension: other words may begin with a slash."""
_LONGEST = 16_384
"""Largest number of characters of an address that is examined closely."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?://|\\\\)|data:", re.IGNORECASE)
_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[^;,]*)*?)(;base64)?,", re.IGNORECASE | re.ASCII)
_BASE64 = re.compile(r"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR)[A-Za-z0-9+/\r\n]{40,}={0,2}")
"""Bare PNG, JPEG, GIF or WebP (or WAV), recognised by its first characters."""


class Inside(msgspec.Struct, frozen=True):
    """File inside an answer."""

    body: bytes
    content_type: str


def find_outputs(output: Json) -> tuple[str, ...]:
    """Return the address of every output, in document order, without repeats; ``data:`` for one inside the answer.

    Values under ``input`` or ``inputs`` are outputs only if there are no others. Without any address, the text or JSON
    in the answer is the result. There is no result if that is empty, or if a key for files has a value without an
    address.
    """
    own = _without_echo(output)
    return _addresses(own) or _without_file(own) or _addresses(output)


def _without_echo(output: Json) -> Json:
    """Return ``output`` without the inputs that some services send back with it."""
    if not isinstance(output, dict):
        return output
    return {name: value for name, value in output.items() if name.lower() not in ("input", "inputs")}


def _addresses(output: Json) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for text in _texts(output):
        address = _address(text)
        if address is not None:
            found.setdefault(address)
        if len(found) >= MAX_OUTPUTS:
            break
    return tuple(found)


def _leaves(output: Json) -> Iterator[tuple[str, Json]]:
    """Yield every value in ``output`` that contains no other, with its own key or the key of its list."""
    stack: list[tuple[str, Json]] = [("", output)]
    while stack:
        name, value = stack.pop()
        if isinstance(value, dict) and value:
            stack.extend(reversed(value.items()))
        elif isinstance(value, list) and value:
            stack.extend((name, part) for part in reversed(value))
        else:
            yield name, value


def _texts(output: Json) -> Iterator[str]:
    return (value for _, value in _leaves(output) if isinstance(value, str))


def _address(text: str) -> str | None:
    """Return the address in ``text``, stripped and with blanks inside it escaped; None: there is none."""
    if text[:5].lower() == "data:":
        return text.strip() if _DATA.match(text) else None
    plain = text.strip()
    if _BASE64.fullmatch(plain):
        return f"data:;base64,{plain}"
    if "\n" in plain or "\r" in plain:
        return None
    if _ABSOLUTE.match(plain) or (len(plain) <= _LONGEST and _RELATIVE.fullmatch(plain.replace(" ", "%20"))):
        return plain.replace(" ", "%20").replace("\t", "%09")
    return None


def _without_file(output: Json) -> tuple[str, ...]:
    """Return a text or JSON document as an output, or nothing."""
    if not isinstance(output, str | dict | list):
        return ()
    said = []
    for name, value in _leaves(output):
        if name.lower() in _MEDIA_KEYS or (isinstance(value, str) and _SCHEME.match(value.strip())):
            return ()  # a file that follows, or is unavailable
        if not (value is None or value == "" or value in ({}, []) or (isinstance(value, str) and not value.strip())):
            said.append(value)
    if not said:
        return ()
    if len(said) == 1 and isinstance(said[0], str):
        return (f"data:text/plain;charset=utf-8,{_quoted(said[0].encode(errors='replace'))}",)
    return (f"data:application/json,{_quoted(msgspec.json.format(msgspec.json.encode(output), indent=2))}",)


def _quoted(body: bytes) -> str:
    """Return ``body`` as the text of a ``data:`` address."""
    return body.decode().replace("%", "%25")


def recorded_address(address: str, number: int) -> str:
    """Return the address as recorded: for a file inside the answer, its position."""
    return f"{INSIDE}{number}" if address[:5].lower() == "data:" else address


def find_inside(addresses: tuple[str, ...], recorded: str) -> str | None:
    """Return the ``data:`` address of an output that was recorded by its position; None: there is none."""
    number = recorded.removeprefix(INSIDE)
    if not re.fullmatch(r"\d{1,6}", number, re.ASCII) or int(number) >= len(addresses):
        return None
    address = addresses[int(number)]
    return address if address[:5].lower() == "data:" else None


def read_data(address: str, max_bytes: int) -> Inside | None:
    """Return the file in a ``data:`` address; None: it cannot be decoded. Raises ``TooLarge``."""
    found = _DATA.match(address)
    if found is None:
        return None
    text, content_type = address[found.end() :], (found[1] or "").lower()
    if not found[3]:
        return Inside(unquote_to_bytes(text), content_type or "text/plain")
    letters = re.sub(r"\s|%0[ad]|%20", "", text, flags=re.IGNORECASE).replace("%2B", "+").replace("%2F", "/")
    letters = letters.replace("%3D", "=").rstrip("=").replace("-", "+").replace("_", "/")
    if len(letters) * 3 // 4 > max_bytes:
        raise TooLarge(f"the file has some {len(letters) * 3 // 4:,} bytes; max_file allows {max_bytes:,}")
    try:
        return Inside(b64decode(letters + "=" * (-len(letters) % 4), validate=True), content_type)
    except (NotBase64, ValueError):
        return None


def absolute(address: str, base: str) -> str:
    """Return ``address``, resolved against the API's address if it has no host. Raises ``ValueError``."""
    return address if _ABSOLUTE.match(address) else urljoin(base, address)


def is_input(address: str, inputs: dict[str, Json]) -> bool:
    """Tell whether an output's address is one of the job's own inputs, sent back."""
    short = [text for text in _texts(inputs) if len(text) <= _LONGEST]
    if any(address in (text, _address(text)) for text in short):
        return True
    sent = {parse_reference(text)[1] for text in short if is_reference(text)}
    return bool(sent) and _hash_inside(address) in sent


def _hash_inside(address: str) -> str | None:
    """Return the SHA-256 of a file inside an answer; None: ``address`` is none that can be decoded."""
    if address[:5].lower() != "data:":
        return None
    found = read_data(address, MAX_BODY)
    return None if found is None else sha256(found.body).hexdigest()
