"""Resumption of a broken download: proof that the rest belongs to what is there.

Pure: headers in, headers out. A strong ETag proves it; else the time of the last change, if that is older than the
answer. A weak ETag says only that two files look alike, and then nothing is gone on with (RFC 9110, 8.8 and 13.1.5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

import msgspec

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE)


class PartialFile(msgspec.Struct):
    """What is on the disk of one download so far."""

    written: int = 0
    """In bytes, from the first one on."""
    validator: str | None = None
    """What ``If-Range`` is to carry."""
    length: int | None = None
    """Of the whole file in bytes, where the storage said so."""
    content_type: str = ""
    encoding: str = ""
    """What the storage says that it did to the bytes, which may be wrong; empty for nothing."""
    most_bytes: int | None = None
    """What a picture of its size may have; None where that cannot be told."""

    def start(self, headers: Mapping[str, str], length: int | None) -> None:
        """A whole body begins."""
        self.written, self.validator, self.length = 0, validator(headers), length

    def forget(self) -> None:
        """Ask for the whole body next."""
        self.written, self.validator, self.length = 0, None, None

    @property
    def headers(self) -> dict[str, str]:
        """What a request for the rest carries; nothing where all is asked for."""
        if not self.written or self.validator is None:
            return {}
        return {"Range": f"bytes={self.written}-", "If-Range": self.validator}

    def continued_by(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a 206 brings exactly the rest of this very file."""
        found = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
        if found is None or int(found[1]) != self.written:
            return False
        total = self.length if found[3] == "*" else int(found[3])
        tag = headers.get("ETag")
        same = tag is None or self.validator is None or not self.validator.startswith('"') or tag == self.validator
        return same and (self.length is None or total == self.length) and (total is None or int(found[2]) + 1 == total)


def validator(headers: Mapping[str, str]) -> str | None:
    """What identifies the bytes of an answer, or None where nothing does."""
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
