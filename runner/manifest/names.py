"""Rules for ids and file names that hold on every system a results folder may be copied to."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from runner.core.media_formats import EXTENSIONS, FORMATS
from runner.core.models import MAX_OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_ENDING: Final = f"-{MAX_OUTPUTS}.{max((kind.extension for kind in FORMATS), key=len)}"
"""Longest text that is appended to a stem: the number of a further output, and an extension."""

MAX_PART_BYTES: Final = 255
"""Limit of common file systems for one name, in bytes of UTF-8."""
MAX_STEM_BYTES: Final = MAX_PART_BYTES - len(LONGEST_ENDING)

DEVICES: Final = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{device}{digit}" for device in ("COM", "LPT") for digit in "123456789¹²³"
}
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ORDINARY: Final = re.compile(r"[0-9][A-Za-z0-9_-]{0,99}|[A-Za-z0-9_-]{5,100}")
"""Names that are always valid, found with one match: no device has five such characters or begins with a digit."""
_OWN: Final = re.compile(
    r"results(?:\.[0-9]+-of-[0-9]+)?\.jsonl.*|\.(?:runner|replaced|rejected).*|.*\.altered", re.IGNORECASE
)
_EXTENSION: Final = re.compile(rf"\.(?:{'|'.join(EXTENSIONS)})\Z", re.IGNORECASE)
_EXT_TEMPLATE: Final = re.compile(r"\.\{\{ *ext *\}\}\Z")
_SLUG_LENGTH: Final = 40
_PLAIN: Final = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ı": "i"}
)
"""Letters without a decomposition in Unicode, as ASCII."""


def check_id(text: str) -> str | None:
    """Return why ``text`` cannot be a job's id, as a predicate; None: the id is valid.

    An id is also the name of a folder.
    """
    if not text.strip():
        return "is empty"
    if "/" in text or "\\" in text:
        return "has a slash or backslash"
    return _check_part(text)


def id_advice(reason: str) -> str:
    """Return advice for the ``reason`` that ``check_id`` gave."""
    return "folders go into `file`" if "slash" in reason else "write a name like mug-01"


def check_file_name(stem: str) -> str | None:
    """Return why ``stem`` cannot be the file of a result, as a predicate; None: the stem is valid.

    A stem is relative to the output folder, has ``/`` between its parts and no extension.
    """
    if not stem.strip():
        return "is empty"
    if "\\" in stem:
        return "has a backslash; write folders with `/`"
    if stem.startswith("/") or re.match(r"[A-Za-z]:", stem):
        return "is an absolute path; it starts at the output folder"
    if stem.endswith("/") or "//" in stem:
        return "has an empty part; write folder/name"
    return next(filter(None, map(_check_part, stem.split("/"))), None)


def file_advice(reason: str) -> str:
    """Return advice for the ``reason`` that ``check_file_name`` gave; empty if the reason contains its own advice."""
    return "" if ";" in reason else "write a path below the output folder, like mugs/blue"


def _check_part(part: str) -> str | None:
    return None if _ORDINARY.fullmatch(part) else next(_faults(part), None)


def _faults(part: str) -> Iterator[str]:
    if has_control(part):
        yield "has a control character"
    if part in (".", ".."):
        yield f"has the part `{part}`, which is not allowed"
    if part[-1] in ". ":
        yield "has a part that ends in a dot or a space, which Windows drops"
    if part.partition(".")[0].rstrip(" ").upper() in DEVICES:
        yield f"has the part `{part}`, which Windows reserves for a device"
    if _OWN.fullmatch(part):
        yield f"has the part `{part}`, a name that is reserved for runner"
    if len(part.encode()) > MAX_STEM_BYTES:
        yield f"is too long: a name has at most {MAX_STEM_BYTES} bytes before its extension"


def has_control(text: str) -> bool:
    """Tell whether ``text`` has control characters or lone surrogates, which names and paths must not contain."""
    return CONTROL.search(text) is not None


def normal(text: str) -> str:
    """Return ``text`` in Unicode's normal form C, the form of stored ids and file names."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """Return ``text`` in the form in which names that are the same on a case-insensitive disk are equal."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", normal(text).casefold())


def without_extension(file: str) -> str:
    """Return ``file`` without a known extension or ``.{{ ext }}``: the downloaded data decides the extension."""
    return _EXT_TEMPLATE.sub("", file) if file.endswith("}}") else _EXTENSION.sub("", file)


def slug(text: str, *, ascii_only: bool = False) -> str:
    """Return at most 40 readable characters of ``text``: letters and digits in lower case, with ``-`` between words.

    ``ascii_only``: letters lose their accents, and those of other scripts are left out.
    """
    start = normal(text[: 8 * _SLUG_LENGTH]).lower()
    if ascii_only and not start.isascii():
        start = unicodedata.normalize("NFKD", start.translate(_PLAIN)).encode("ascii", "ignore").decode()
    if start.isascii():
        words = re.sub(r"[^a-z0-9]+", "-", start)
    else:
        words = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else "-" for c in start)
        words = normal(re.sub("-+", "-", words))
    words = words.strip("-")
    if len(words) <= _SLUG_LENGTH:
        return words
    cut = words[: _SLUG_LENGTH + 1].rpartition("-")[0]
    return cut or words[:_SLUG_LENGTH]
