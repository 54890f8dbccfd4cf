"""Repair of invalid heads of HTTP responses.

Some gateways and storages send heads that aiohttp rejects: a space in a header name, two lengths, ``HTTP/2`` in the
status line. The body may hold the id of a paid request, or a paid file. A valid head is passed on unchanged.
"""

from __future__ import annotations

import re

MAX_HEAD = 256 * 2**10
"""Maximum bytes of a head. A longer head is passed to aiohttp, which rejects it."""
MAX_LINE = 64 * 2**10
"""Maximum bytes of a status line or header that aiohttp accepts; some services send long policies."""
MAX_LINES = 100
"""Maximum lines of a head that is passed on unchanged. aiohttp reads 128."""

_END = re.compile(rb"\r?\n\r?\n")
_PLAIN = re.compile(
    rb"HTTP/1\.[01] [1-5][0-9]{2}(?: [^\r\n]*+)?\r?\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\r\n\0]*+\r?\n)*+\r?\n"
)
_FRAMING = re.compile(rb"^(content-length|transfer-encoding):[ \t]*(.*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_STATUS = re.compile(rb"(?:\xef\xbb\xbf|\s)*HTTP/[0-9.]+\s+([1-5][0-9]{2})(?!\S)", re.IGNORECASE)
_FIELD = re.compile(rb"\s*([A-Za-z-]+)\s*:(.*)", re.DOTALL)
_INTERIM = re.compile(rb"\S+ +1(?!01)", re.IGNORECASE)
_NEEDED = frozenset(b"content-encoding content-range content-type date etag last-modified location retry-after".split())


def mend_head(head: bytes) -> bytes:
    """Return the head of a response in a form that aiohttp accepts; unchanged if valid, or if not a head.

    A repaired head keeps the headers that this program reads. The largest of several lengths is kept: a response that
    ends earlier is incomplete.
    """
    status = _STATUS.match(head)
    if status is None or (_PLAIN.fullmatch(head) and _is_short(head) and _has_one_length(head)):
        return head
    fields = [(field[1].lower(), field[2].strip(b" \t\0")) for field in map(_FIELD.match, head.splitlines()) if field]
    kept = [(name, value) for name, value in fields if name in _NEEDED and b"\0" not in value]
    coding = b",".join(value for name, value in fields if name == b"transfer-encoding").lower()
    lengths = b",".join(value for name, value in fields if name == b"content-length").split(b",")
    if coding.endswith(b"chunked"):
        kept.append((b"transfer-encoding", b"chunked"))
    elif usable := [int(length) for length in lengths if re.fullmatch(rb"[0-9]{1,15}", length.strip())]:
        kept.append((b"content-length", b"%d" % max(usable)))
    lines = b"".join(b"%s: %s\r\n" % field for field in kept)
    return b"HTTP/1.1 %s Mended\r\nconnection: close\r\n%s\r\n" % (status[1], lines)


def _is_short(head: bytes) -> bool:
    return head.count(b"\n") <= MAX_LINES and (len(head) < MAX_LINE or max(map(len, head.splitlines())) < MAX_LINE)


def _has_one_length(head: bytes) -> bool:
    found = [(name.lower(), value) for name, value in _FRAMING.findall(head)]
    return not found or (len(found) == 1 and (found[0][0] == b"transfer-encoding" or found[0][1].isdigit()))


def end_of_head(start: bytes | bytearray, seen: int) -> int | None:
    """Return the end of the head in ``start``; 0: more bytes are needed, None: not a head, or too long.

    The first ``seen`` bytes were searched before.
    """
    end = _END.search(start, max(0, seen - 3), MAX_HEAD)
    if end is not None:
        return end.end()
    return 0 if len(start) < MAX_HEAD and _may_be_head(bytes(start[:64])) else None


def is_interim(head: bytes) -> bool:
    """Tell whether another head follows ``head``: status 1xx except 101."""
    return _INTERIM.match(head) is not None


def _may_be_head(start: bytes) -> bool:
    return b"HTTP/".startswith(start.removeprefix(b"\xef\xbb\xbf").lstrip()[:5].upper())
