"""Inputs that are files: public https addresses, from which the service downloads, or paths of this machine.

``local_files`` checks the paths.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from runner.manifest import units
from runner.manifest.problems import Invalid, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.core.models import Json

ADVICE: Final = (
    "write the path of a file of this machine, or a public https address without a login, from which the service "
    "downloads: images up to 50 MB (about 4K), videos up to 100 MB (2 to 5 minutes at 720p)"
)
KINDS: Final = ("image", "video", "audio")

_FORMAT: Final = re.compile(r"(?:.*[_-])?(?:uri|url)s?")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""Scheme of an address. One letter before a colon is a drive of Windows."""
_NAME: Final = re.compile(
    r"(?:.*_)?(?:image|video|audio|mask)s?(?:_(?:uri|url)s?)?(?:_\d+)?"
    r"|.*_(?:uri|url)s?(?:_\d+)?"
)


def is_hosted(name: str, rule: dict[str, Any]) -> bool:
    """Tell whether an input takes addresses of files, by its format; without a format, by its name."""
    return any(_is_hosted(name, choice) for choice in choices(rule))


def is_local(text: str) -> bool:
    """Tell whether the value of a file input is a path of this machine, and not an address."""
    return bool(text) and _SCHEME.match(text) is None and not text.startswith("//")


def wanted_kind(name: str, rule: dict[str, Any]) -> str | None:
    """Return the kind of file that an input takes, one of ``KINDS``, by its format or else its name; None: any."""
    for choice in choices(rule):
        item = choice.get("items")
        found = choice.get("format") or (item.get("format") if isinstance(item, dict) else None)
        if isinstance(found, str) and (kind := next((kind for kind in KINDS if kind in found), None)):
            return kind
    words = name.lower().split("_")
    found_kinds = {kind for kind in KINDS for word in words if word.removesuffix("s") == kind}
    if not found_kinds and any(word.removesuffix("s") == "mask" for word in words):
        return "image"
    return found_kinds.pop() if len(found_kinds) == 1 else None


def choices(rule: dict[str, Any]) -> list[dict[str, Any]]:
    """Return ``rule`` and its alternatives under ``anyOf`` and ``oneOf``, for example a type and null."""
    offered = [choice for key in ("anyOf", "oneOf") for choice in rule.get(key, ()) if isinstance(choice, dict)]
    return [rule, *offered]


def _is_hosted(name: str, rule: dict[str, Any]) -> bool:
    inner = rule.get("items") if _takes(rule, "array") else None
    item = inner if isinstance(inner, dict) else {}
    found = rule.get("format") or item.get("format")
    if isinstance(found, str):
        return _FORMAT.fullmatch(found) is not None
    if not (_takes(rule, "string") or (_takes(rule, "array") and item.get("type", "string") == "string")):
        return False
    plain = "enum" not in rule and "enum" not in item and "const" not in rule
    return plain and _NAME.fullmatch(name) is not None and not _is_a_word(rule.get("default"))


def _takes(rule: dict[str, Any], kind: str) -> bool:
    wanted = rule.get("type")
    return kind in wanted if isinstance(wanted, list) else kind == wanted


def _is_a_word(default: Json) -> bool:
    """Tell whether the default shows that the input takes words, such as ``none`` or ``auto``, and not addresses."""
    return isinstance(default, str) and bool(default) and ":" not in default


def addresses(value: Json) -> Iterator[str]:
    """Yield the addresses of files in the value of an input."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str):
            yield item


def check_address(text: str) -> None:
    """Raise ``Invalid``, with a predicate, for an address that the service cannot download from."""
    try:
        parts = urlsplit(text)
        scheme, host, login = parts.scheme.lower(), parts.hostname or "", "@" in parts.netloc
        _ = parts.port
    except ValueError:
        raise Invalid(f"is {shown(text)}, which is not a valid address", ADVICE) from None
    if scheme != "https":
        raise Invalid(f"is {shown(text)}, {_instead(scheme)}", ADVICE)
    if not host or re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise Invalid(f"is {shown(text)}, which is not a valid address", ADVICE)
    if login:
        raise Invalid("has a login in its address", ADVICE)
    if not _is_public(host):
        raise Invalid(f"is {shown(text)}, which is not a public address", ADVICE)


def _instead(scheme: str) -> str:
    if scheme == "data":
        return "which is the content of a file, not an address"
    return "which is not https" if scheme in ("http", "ftp", "s3", "gs") else "which is not an https address"


def _is_public(host: str) -> bool:
    name = host.removesuffix(".")
    try:
        units.host(name)
    except Invalid:
        return False
    return "." in name and "*" not in name
