"""Queries on entries of the catalogue: the kinds of files that a model makes, and the search for models.

``categories`` of an entry name what a model makes (``image-to-video``). ``kind`` names how it runs (``workflow``).
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
    """Conditions for the models of a list; an empty one matches every model."""

    search: str = ""
    category: str = ""
    kind: str = ""

    @property
    def parameters(self) -> dict[str, str]:
        """Return the parameters for the listing of the API."""
        given = {"search": self.search, "category": self.category, "kind": self.kind}
        return {name: value for name, value in given.items() if value}

    def fits(self, entry: Mapping[str, Json]) -> bool:
        """Tell whether ``entry`` matches, for an API that ignores parameters.

        An entry without a category or kind is not excluded by these conditions. Each word of the search must occur in
        the id, name or description; punctuation is ignored.
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
    """Return the categories that an entry names; empty if they are missing or malformed."""
    found = entry.get("categories")
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def outputs_of(entry: Mapping[str, Json], model: str = "") -> tuple[str, ...]:
    """Return the kinds of output that a model makes (``image``, ``3d``); empty if they are not known.

    They follow from its categories, or from the end of its id if it has none.
    """
    model_id = entry.get("model_id", model)
    ending = model_id.rpartition("/")[2] if isinstance(model_id, str) else ""
    found = filter(None, map(_output_of, categories_of(entry) or [ending]))
    return tuple(dict.fromkeys(found))


def output_words(kinds: Sequence[str]) -> str:
    """Return the kinds in words, such as ``images and videos``; empty for no kinds."""
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
