"""Entries of the catalogue as people ask for them: the kinds of files that a model makes, and whether it fits a search.

``categories`` of an entry say what a model makes (``image-to-video``), ``kind`` says how it runs (``workflow``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from runner.core.models import Json

OUTPUTS = {
    "image": "images",
    "video": "videos",
    "audio": "audio",
    "3d": "3D models",
    "text": "text",
    "json": "JSON",
}
"""Kinds of output, in words. A category that ends in ``-to-video`` makes videos."""

_OTHER_NAMES = {"music": "audio", "speech": "audio"}
_NOT_A_WORD = re.compile(r"[^\w]+|_")


class ModelQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What the models of a list have to fit; empty: anything."""

    search: str = ""
    category: str = ""
    kind: str = ""

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the API's listing."""
        given = {"search": self.search, "category": self.category, "kind": self.kind}
        return {name: value for name, value in given.items() if value}

    def fits(self, entry: Mapping[str, Json]) -> bool:
        """Tell whether ``entry`` fits, for an API that ignores parameters. What has no category or kind may fit.

        Each word of a search has to be in the id, name or description; punctuation in them does not matter.
        """
        categories, kind = categories_of(entry), entry.get("kind")
        if self.category and categories and not any(_same(self.category, name) for name in categories):
            return False
        if self.kind and isinstance(kind, str) and not _same(self.kind, kind):
            return False
        texts = (entry.get(name) for name in ("model_id", "display_name", "description"))
        text = _squeezed(" ".join(text for text in texts if isinstance(text, str)))
        return all(_squeezed(word) in text for word in self.search.split())


def categories_of(entry: Mapping[str, Json]) -> list[str]:
    """Return the categories that an entry names; none where they are missing or malformed."""
    found = entry.get("categories")
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def outputs_of(entry: Mapping[str, Json], model: str = "") -> tuple[str, ...]:
    """Return the kinds of output that a model makes (``image``, ``3d``); none where nothing says so.

    Its categories say so, or else the end of its id.
    """
    model_id = entry.get("model_id", model)
    ending = model_id.rpartition("/")[2] if isinstance(model_id, str) else ""
    found = filter(None, map(_output_of, categories_of(entry) or [ending]))
    return tuple(dict.fromkeys(found))


def output_words(kinds: Sequence[str]) -> str:
    """Return ``images and videos``; empty for none."""
    words = [OUTPUTS[kind] for kind in kinds]
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _output_of(category: str) -> str:
    ending = re.split(r"[-_ ]to[-_ ]", category.strip().lower())[1:][-1:]
    kind = ending[0] if ending else ""
    kind = _OTHER_NAMES.get(kind, kind)
    return kind if kind in OUTPUTS else ""


def _same(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()


def _squeezed(text: str) -> str:
    return _NOT_A_WORD.sub("", text.casefold())
