"""Reader of ``copies:`` and ``sidecar:``, at the top of a manifest or in an entry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from runner.core.copies import FORMATS, QUALITY, CopyRecipe
from runner.core.media_formats import EXTENSIONS, MAX_PIXELS
from runner.manifest import units
from runner.manifest.names import check_file_name, file_advice, normal
from runner.manifest.nodes import Mapping, Mark, Node, Scalar, Sequence
from runner.manifest.problems import FAILED, Invalid, Problems, nearest, shown
from runner.manifest.templates.template import Template, Templates, is_template, require_printed_output, without_ext
from runner.manifest.yaml.scalars import boolean, filled_text, integer, kind, text, written

if TYPE_CHECKING:
    from collections.abc import Callable

MODES: Final = ("contain", "cover", "pad")
LABELS: Final = ("ai",)
SIDECARS: Final = ("json", "none")
MOST_SIDE: Final = 16_383
"""Largest side of a WebP."""
COLOUR: Final = "#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})"
METADATA: Final = ("title", "copyright", "prompt", "model")
KEYS: Final = ("file", "fit", "mode", "background", "format", "quality", "max_bytes", "srgb", "label", "metadata")
_ENDINGS: Final = {ending: name for name, kind in FORMATS.items() for ending in (kind.extension, *kind.also)}
_NAMES: Final = "jpeg, png, webp or avif"


class CopyEntry(msgspec.Struct, frozen=True):
    """One copy of an entry, with the templates that are filled in for each job."""

    mark: Mark
    """Position of ``file``."""
    file: str | Template
    """Path without its extension."""
    extension: str
    title: str | Template
    copyright: str | Template
    recipe: CopyRecipe
    """Everything else."""

    @property
    def templates(self) -> list[Template]:
        return [value for value in (self.file, self.title, self.copyright) if isinstance(value, Template)]


class CopiesReader:
    """Reader of the copies of one manifest. Errors are noted."""

    def __init__(self, templates: Templates, problems: Problems) -> None:
        self._templates = templates
        self._problems = problems

    def read(self, node: Node) -> tuple[CopyEntry, ...]:
        """Return the copies that ``copies:`` asks for, without the invalid ones."""
        if not isinstance(node, Sequence):
            what = f"`copies` takes a list of copies, not {kind(node)}"
            self._problems.error(node, what, 'write [{file: "web/{{ job.id }}.jpg", fit: 1200x1200}]')
            return ()
        found = [self._read(item) for item in node.items]
        return tuple(copy for copy in found if copy is not None)

    def read_sidecar(self, node: Node) -> bool:
        """Return whether ``sidecar:`` asks for one."""
        return self._problems.read("sidecar", node, one_of(*SIDECARS)) == "json"

    def _read(self, node: Node) -> CopyEntry | None:
        if not isinstance(node, Mapping):
            advice = 'write {file: "web/{{ job.id }}.jpg", fit: 1200x1200}'
            self._problems.error(node, f"a copy is a mapping, not {kind(node)}", advice)
            return None
        before = self._problems.count
        self._check_keys(node, KEYS, "a copy")
        values = {key: self._value(node, key, convert) for key, convert in _READERS.items() if key in node.items}
        if "file" not in node.items:
            self._problems.error(node, "a copy has no `file`", 'add file: "web/{{ job.id }}.jpg"')
        if self._problems.count > before:
            return None
        texts = self._metadata(node)
        named = self._value(node, "file", lambda value: self._file(value, values.get("format")))
        if named is FAILED or texts is None:
            return None
        file, extension, form = named
        self._check_beside(node, form)
        if self._problems.count > before:
            return None
        values["format"] = form
        values.setdefault("quality", QUALITY.get(form))
        title, copyright_ = texts.pop("title", ""), texts.pop("copyright", "")
        recipe = CopyRecipe(file="", **values, **texts)
        return CopyEntry(node.items["file"][1], file, extension, title, copyright_, recipe)

    def _check_keys(self, node: Mapping, known: tuple[str, ...], what: str) -> None:
        for name, (key, _) in node.items.items():
            if name not in known:
                advice = nearest(name, known) or f"the keys are {', '.join(known)}"
                self._problems.error(key, f"{shown(name)} is not a key of {what}", advice)

    def _value(self, node: Mapping, key: str, convert: Callable[[Node], Any]) -> Any:
        return self._problems.read(key, node.items[key][1], convert)

    def _check_beside(self, node: Mapping, form: str) -> None:
        if "mode" in node.items and "fit" not in node.items:
            self._problems.error(node.items["mode"][0], "`mode` stands without `fit`", "add fit: 1200x1200")
        if "quality" in node.items and form not in QUALITY:
            self._problems.error(node.items["quality"][0], f"a {form} has no `quality`", "leave the key out")

    def _file(self, node: Node, form: str | None) -> tuple[str | Template, str, str]:
        """Return the path without its extension, the extension, and the format."""
        whole = normal(filled_text(node))
        stem, _, ending = whole.rpartition(".")
        named = _ENDINGS.get(ending.lower()) if stem else None
        if named is not None:
            if form not in (None, named):
                raise Invalid(f"ends in .{ending}, and `format` is {form}", "leave `format` out, or change the ending")
            return self._compiled(node, stem), f".{ending}", _writable(named)
        if ending.lower() in EXTENSIONS:
            raise Invalid(f"ends in .{ending}, and a copy is a {_NAMES}", "write .jpg, .png, .webp or .avif")
        if form is None:
            raise Invalid(f"has no ending that tells its format, {_NAMES}", "let it end in .jpg, or add `format: jpeg`")
        return self._compiled(node, without_ext(whole)), f".{FORMATS[form].extension}", form

    def _compiled(self, node: Node, stem: str) -> str | Template:
        if is_template(stem):
            template = self._templates.compile("copies.file", node, stem)
            require_printed_output(self._templates, template, stem)
            return template
        if reason := check_file_name(stem):
            raise Invalid(reason, file_advice(reason))
        return stem

    def _metadata(self, node: Mapping) -> dict[str, Any] | None:
        """Return the values of ``metadata:``; None: a problem was noted."""
        if "metadata" not in node.items:
            return {}
        given = node.items["metadata"][1]
        if not isinstance(given, Mapping):
            what = f"`metadata` takes a mapping, not {kind(given)}"
            self._problems.error(given, what, "write {title: …, copyright: …}")
            return None
        before = self._problems.count
        self._check_keys(given, METADATA, "`metadata`")
        found: dict[str, Any] = {}
        for key in METADATA:
            if key in given.items:
                convert = boolean if key in ("prompt", "model") else lambda value, key=key: self._text(value, key)
                found[key] = self._value(given, key, convert)
        return found if self._problems.count == before else None

    def _text(self, node: Node, key: str) -> str | Template:
        value = filled_text(node)
        return self._templates.compile(f"copies.{key}", node, value) if is_template(value) else value


def one_of(*words: str) -> Callable[[Node], str]:
    """Return a reader for one of ``words``."""

    def convert(node: Node) -> str:
        value = text(node)
        if value not in words:
            known = " or ".join(f"`{word}`" for word in words)
            raise Invalid(f"takes {known}, not {shown(value)}", nearest(value, words))
        return value

    return convert


def _format(node: Node) -> str:
    return _writable("jpeg" if isinstance(node, Scalar) and node.text == "jpg" else one_of(*FORMATS)(node))


def _writable(name: str) -> str:
    """Return the format, if Pillow can write it. Raises ``Invalid``."""
    if name == "avif" and not has_avif():
        raise Invalid("is avif, which this installation of Pillow cannot write", "use webp, or install Pillow anew")
    return name


def has_avif() -> bool:
    from PIL import features  # noqa: PLC0415 - Pillow is not needed to read other manifests

    return features.check("avif") is True


def _fit(node: Node) -> tuple[int, int]:
    width, height = units.size(written(node))
    if max(width, height) > MOST_SIDE or width * height > MAX_PIXELS:
        raise Invalid(f"is {width}x{height}; a side has at most {MOST_SIDE:,} pixels, and a copy {MAX_PIXELS:,}")
    return width, height


def _quality(node: Node) -> int:
    value = integer(node)
    if not 1 <= value <= 100:
        raise Invalid(f"is {value}; the range is 1 to 100")
    return value


def _max_bytes(node: Node) -> int:
    value = units.byte_count(written(node))
    if value < 1:
        raise Invalid("is 0, which no picture has", "write 300kB")
    return value


def _background(node: Node) -> str:
    value = filled_text(node)
    if not re.fullmatch(COLOUR, value):
        raise Invalid(f"takes a colour, not {shown(value)}", 'write it in quotes, with red, green and blue: "#ffffff"')
    value = value.lower()
    return value if len(value) == 7 else "#" + "".join(2 * digit for digit in value[1:])


_READERS: Final[dict[str, Callable[[Node], Any]]] = {
    "fit": _fit,
    "mode": one_of(*MODES),
    "background": _background,
    "format": _format,
    "quality": _quality,
    "max_bytes": _max_bytes,
    "srgb": boolean,
    "label": lambda node: bool(one_of(*LABELS)(node)),
}
