"""Resumption of a broken download: proof that the rest belongs to the bytes received.

No I/O: headers in, headers out. The proof is a strong ETag, or else the time of the last change if it is at least a
second before the response. A weak ETag only says that two files are equivalent: the download then starts over
(RFC 9110, 8.8 and 13.1.5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

import msgspec

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE)


class PartialFile(msgspec.Struct):
    """State of a partial download on disk."""

    written: int = 0
    """Bytes received, from the first byte of the file on."""
    validator: str | None = None
    """Value for ``If-Range``; None: the download cannot be resumed."""
    length: int | None = None
    """Bytes of the whole file; None: the storage did not say."""
    max_bytes: int | None = None
    """Maximum bytes by the pixels of a picture; None: no such limit."""
    content_type: str = ""
    encoding: str = ""
    """Content encoding that the storage declares, which may be wrong; empty: none."""

    def start(self, headers: Mapping[str, str], length: int | None) -> None:
        """Record the beginning of a whole body."""
        self.written, self.validator, self.length = 0, validator(headers), length
        self.content_type = headers.get("Content-Type", "")

    def forget(self) -> None:
        """Discard the state, so that the next request is for the whole body."""
        self.written, self.validator, self.length, self.max_bytes = 0, None, None, None

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of a request for the rest; empty for a request for the whole body."""
        if not self.written or self.validator is None:
            return {}
        return {"Range": f"bytes={self.written}-", "If-Range": self.validator}

    def continued_by(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a 206 response holds exactly the rest of the same file."""
        found = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
        if found is None or int(found[1]) != self.written:
            return False
        total = self.length if found[3] == "*" else int(found[3])
        tag = headers.get("ETag")
        same = tag is None or self.validator is None or not self.validator.startswith('"') or tag == self.validator
        return same and (self.length is None or total == self.length) and (total is None or int(found[2]) + 1 == total)


def validator(headers: Mapping[str, str]) -> str | None:
    """Return the header value that identifies the bytes of a response; None: there is none."""
    tag = headers.get("ETag", "").strip()
    if tag:
        return tag if re.fullmatch(r'"[\x21\x23-\x7e\x80-\xff]*"', tag) else None
    changed, sent = _time(headers.get("Last-Modified")), _time(headers.get("Date"))
    if changed is None or (sent is not None and (sent - changed).total_seconds() < 1):
        return None
    return headers["Last-Modified"].strip()


def _time(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo is not None else None
