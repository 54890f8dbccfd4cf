"""Decoder of a manifest's bytes into text that libyaml reads without changes."""

from __future__ import annotations

import json
import re
from typing import Final
from unicodedata import name as character_name

from runner.core.nesting import check_nesting
from runner.manifest.nodes import WHOLE_FILE, Mark
from runner.manifest.problems import Invalid

# Characters that YAML cannot contain, and invisible line breaks, at which libyaml folds texts.
_ODD_ASCII: Final = re.compile("[^\t\n\r\x20-\x7e]")
_ODD: Final = "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
_PAIR: Final = r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
_ESCAPE: Final = re.compile(rf"{_PAIR}|\\.")
_JSON_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


def decode(data: bytes) -> str:
    """Return the text of a manifest. Raises ``Invalid``, with the position, if it is no UTF-8 that YAML can contain."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Invalid("this file is UTF-16", "save it as UTF-8", WHOLE_FILE)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # ``error.object`` is the data without its byte order mark; positions are counted from its beginning.
        raise _not_utf8(error.object, error.start) from None
    return _check(_yaml_from_json(text))


def _not_utf8(data: bytes, start: int) -> Invalid:
    before = data[:start].decode("utf-8")
    what = f"byte 0x{data[start]:02X} is not UTF-8"
    return Invalid(what, "save the file as UTF-8; it looks like Latin-1 or Windows-1252", _mark(before))


def _check(text: str) -> str:
    found = _odd(text).search(text)
    if found is None:
        return text
    code = ord(found[0])
    label = "NUL" if code == 0 else character_name(found[0], "a control character")
    advice = "delete it; if it is meant, write it as an escape in double quotes"
    what = f"the character U+{code:04X} ({label}) is not allowed here"
    raise Invalid(what, advice, _mark(text[: found.start()]))


def _odd(text: str) -> re.Pattern[str]:
    """Return the pattern of characters that are not allowed in ``text``.

    Compiling the full pattern takes as long as reading a small manifest, so ASCII has a pattern of its own.
    """
    return _ODD_ASCII if text.isascii() else re.compile(_ODD)


def _mark(before: str) -> Mark:
    lines = re.split(r"\r\n|\r|\n", before)
    return Mark(len(lines), len(lines[-1]) + 1)


def _yaml_from_json(text: str) -> str:
    """Return ``text`` with YAML escapes for the characters in JSON strings that YAML does not allow.

    Only a text that is JSON as a whole is changed. In other YAML, a backslash outside double quotes is plain text.
    """
    suspect = text.lstrip()[:1] == "{" and (_odd(text).search(text) or re.search(_PAIR, text))
    return _JSON_STRING.sub(_rewrite, text) if suspect and _is_json(text) else text


def _is_json(text: str) -> bool:
    try:
        check_nesting(text.encode())
        json.loads(text)
    except ValueError:  # `TooDeep` is a `ValueError`
        return False
    return True


def _rewrite(string: re.Match[str]) -> str:
    joined = _ESCAPE.sub(_join_pair, string[0])
    new = _odd(joined).sub(lambda odd: f"\\u{ord(odd[0]):04x}", joined)
    # Blanks after a JSON string have no meaning; they keep the text after it in the same column.
    return new + " " * (len(string[0]) - len(new))


def _join_pair(escape: re.Match[str]) -> str:
    if escape[1] is None:
        return escape[0]
    high, low = int(escape[1], 16), int(escape[2], 16)
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"
