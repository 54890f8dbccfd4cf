"""Files of this machine as inputs of a job: how jobs and records refer to them, and their length in a request.

A job and its records hold the path and the SHA-256 of such a file, as ``file:photos/mug.jpg#sha256=<64 hex digits>``.
The bytes are read when the job is submitted, and leave this machine as a ``data:`` URI.
"""

from __future__ import annotations

import re

from runner.core.models import Json

_REFERENCE = re.compile(r"file:(.+)#sha256=([0-9a-f]{64})", re.DOTALL)
MAX_BODY = 64 << 20
"""Maximum bytes of the body of one submission, the limit of RunComfy's own clients."""


def reference(path: str, sha256: str) -> str:
    """Return the text that stands for a file in the inputs of a job and its records."""
    return f"file:{path}#sha256={sha256}"


def parse_reference(text: str) -> tuple[str, str]:
    """Return the path and the SHA-256 of a reference. Raises ``ValueError`` for any other text."""
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a reference to a file")
    return found[1], found[2]


def is_reference(value: Json) -> bool:
    """Tell whether a value of an input is a reference to a file of this machine."""
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def uri_head(media_type: str) -> str:
    """Return the beginning of a ``data:`` URI, before the bytes in base64."""
    return f"data:{media_type};base64,"


def uri_length(media_type: str, size: int) -> int:
    """Return the length of the ``data:`` URI of a file of ``size`` bytes."""
    return len(uri_head(media_type)) + 4 * -(-size // 3)
