"""Inputs that an entry or ``defaults:`` gives to a model: by name, under ``inputs:``, or by ``size``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.manifest import units
from runner.manifest.feeds.options import FORMATS
from runner.manifest.models.inputs import ModelInputs, bundled_models, bundled_schema
from runner.manifest.models.schema import usable
from runner.manifest.nodes import Mapping, Mark, Node, Pair, Sequence
from runner.manifest.problems import FAILED, Invalid, listing, nearest, shown
from runner.manifest.settings import KEYS as TOP_KEYS
from runner.manifest.yaml.scalars import kind, written

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runner.core.models import Json
    from runner.manifest.models.inputs import Offer
    from runner.manifest.problems import Problems

FEED_KEYS: Final = ("where", *FORMATS)
"""Keys that stand beside ``from``. Columns and keys of a matrix may have these names."""
_ENTRY_KEYS: Final = ("id", "model", "inputs", "size", "sizes", "from", "matrix", "repeat", "file", "copies", "sidecar")
KEYS: Final = (*_ENTRY_KEYS, *FEED_KEYS)
"""Keys of a job that are not inputs of its model."""
TAKEN: Final = tuple(key for key in _ENTRY_KEYS if key != "size")
"""Keys of a job that can be neither a column nor a key of a matrix."""
_OWN: Final = frozenset(KEYS)

Given = dict[str, Pair]
Size = tuple[int, int]


class Inputs:
    """Inputs as read: their values, the position of each, and the names of those that could not be read."""

    __slots__ = ("failed", "marks", "values")

    def __init__(self) -> None:
        self.values: dict[str, Json] = {}
        self.marks: dict[str, Mark] = {}
        self.failed: set[str] = set()

    def put_size(self, size: Size, mark: Mark) -> None:
        self.values["width"], self.values["height"] = size
        self.marks["width"] = self.marks["height"] = mark


def given_inputs(mapping: Mapping, problems: Problems) -> Given:
    """Return the inputs in ``mapping`` by name: all keys that are not keys of a job, and those under ``inputs:``."""
    given = {name: pair for name, pair in mapping.items.items() if name not in _OWN}
    if "inputs" not in mapping.items:
        return given
    inputs = mapping.items["inputs"][1]
    if not isinstance(inputs, Mapping):
        what = f"`inputs` takes a mapping of inputs, not {kind(inputs)}"
        problems.error(inputs, what, "write `inputs: {name: value}`, or leave the key out")
        return given
    for name, pair in inputs.items.items():
        if name in given:
            what = f"{shown(name)} is given twice: here and at {problems.place(given[name][0])}"
            problems.error(pair[0], what, "keep one")
        given[name] = pair
    return given


def read_size(node: Node) -> Size:
    """Return the value of ``size``. Raises ``Invalid``."""
    if isinstance(node, Sequence):
        raise Invalid("takes one size, not a list", "write 1024x768; several sizes go under `sizes:`")
    return units.size(written(node))


def refuse_beside(given: Given, pairs: Iterable[Pair], problems: Problems) -> None:
    """Note ``width`` and ``height`` if one of the keys in ``pairs``, which set both, is given too."""
    for key, _ in pairs:
        for name in ("width", "height"):
            if name in given:
                what = f"`{name}` conflicts with `{key.text}`, at {problems.place(key)}, which sets it too"
                problems.error(given[name][0], what, "keep one of them")


FIND_MODELS: Final = "`runner models --search WORD` finds the right id"


class KnownModel:
    """A model that jobs use: its inputs, and its values in ``defaults:``."""

    def __init__(self, model: str, at: Mark, defaults: Defaults, problems: Problems, offer: Offer) -> None:
        self.model = model
        self._problems = problems
        bundled = bundled_schema(model) if model else None
        self.inputs = ModelInputs(model, bundled) if bundled or not model else self._judge(offer, at)
        self.defaults = defaults.read(self)

    def _judge(self, offer: Offer, at: Mark) -> ModelInputs:
        """Return the inputs by the offered schema, if it is usable. Warn about anything unusual in the offer."""
        note = offer.note
        if offer.missing:
            advice = nearest(self.model, (*bundled_models(), *offer.ids)) or FIND_MODELS
            self._problems.error(at, f"the catalogue has no model {shown(self.model)}", advice)
            return ModelInputs(self.model, None)
        if offer.schema is not None:
            try:
                inputs = ModelInputs(self.model, usable(offer.schema), fills=False)
            except Invalid as wrong:
                note = f"the schema offered for it {wrong.what}"
            else:
                if note:
                    self._problems.warn(at, f"the inputs of {shown(self.model)}: {note}")
                return inputs
        what = f"the inputs of {shown(self.model)} are not checked here; the API's answer decides"
        self._problems.warn(at, what, nearest(self.model, bundled_models(), cutoff=0.9) or note)
        return ModelInputs(self.model, None)

    def read(self, given: Given) -> Inputs:
        """Return the inputs of one entry. Errors in them are noted."""
        inputs = Inputs()
        for name, (key, node) in given.items():
            if not self.inputs.names(name) and not self._accepts(key, name, inputs):
                continue
            value = self._problems.read(name, node, self.inputs.converter(name))
            if value is FAILED:
                inputs.failed.add(name)
            else:
                inputs.values[name] = value
                inputs.marks[name] = node
        return inputs

    def _accepts(self, key: Mark, name: str, inputs: Inputs) -> bool:
        """Tell whether the model may take an input that its schema does not name. A refusal or a doubt is noted."""
        if self.inputs.knows(name):
            self._doubt(key, name)
            return True
        self._refuse_unknown(key, name, inputs)
        return False

    def _doubt(self, key: Mark, name: str) -> None:
        """Warn about an input that resembles a key of a job.

        For a model without a schema, similarity is the only sign of a misspelt key.
        """
        known = [key for key in KEYS if key != "at"]  # it resembles too many words
        if self.model and name not in KEYS and (advice := nearest(name, known, cutoff=0.75)):
            self._problems.warn(key, f"{shown(name)} is taken for an input of {self.model}", advice)

    def _refuse_unknown(self, key: Mark, name: str, inputs: Inputs) -> None:
        inputs.failed.add(name)
        known = self.inputs.known or {}
        advice = nearest(name, [*known, *KEYS])
        # If an input is misspelt, the intended input is not reported as missing, too.
        inputs.failed.update(n for n in known if f"`{n}`" in advice)
        if not advice and name in TOP_KEYS:
            advice = "it belongs at the top of the manifest"
        self._problems.error(key, f"{shown(name)} is neither a key of a job nor an input of {self.model}",
                             advice or f"the model takes {listing(list(known))}")  # fmt: skip


class Defaults:
    """Values of ``defaults:``. They are read again for each model, because the model decides their types."""

    def __init__(self, mapping: Mapping | None, problems: Problems) -> None:
        self._problems = problems
        self._given: Given = {}
        self._size: tuple[Size, Node] | None = None
        if mapping is not None:
            self._given = given_inputs(mapping, problems)
            self._read_own_keys(mapping)

    def _read_own_keys(self, mapping: Mapping) -> None:
        for name in KEYS:
            if name in mapping.items and name not in ("inputs", "size"):
                advice = "write `model: …` at the top" if name == "model" else "it belongs to a job"
                self._problems.error(mapping.items[name][0], f"`{name}` has no default", advice)
        if "size" in mapping.items:
            pair = mapping.items["size"]
            refuse_beside(self._given, [pair], self._problems)
            size = self._problems.read("size", pair[1], read_size)
            self._size = None if size is FAILED else (size, pair[1])

    def read(self, model: KnownModel) -> Inputs:
        """Return the defaults that ``model`` knows. ``refuse_unknown`` reports the others."""
        given = {name: pair for name, pair in self._given.items() if model.inputs.knows(name)}
        inputs = model.read(given)
        if self._size is not None and model.inputs.takes_size:
            inputs.put_size(*self._size)
        return inputs

    def refuse_unknown(self, model: KnownModel, job: str) -> None:
        """Note every default that ``model`` does not know. ``job`` is the first job that uses the model."""
        known = model.inputs.known or {}
        names: dict[str, Mark] = {name: key for name, (key, _) in self._given.items() if not model.inputs.knows(name)}
        if self._size is not None and not model.inputs.takes_size:
            names["size"] = self._size[1]
        for name, mark in names.items():
            what = f"the default {shown(name)} is not an input of {model.model}, the model of {job}"
            advice = nearest(name, known) or f"the model takes {listing(list(known))}"
            self._problems.error(mark, what, advice)
