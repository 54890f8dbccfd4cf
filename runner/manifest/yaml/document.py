"""Reader of a document: text becomes nodes with positions, from libyaml's events, in one pass without recursion.

No YAML resolver runs: the place of a scalar decides its type (``scalars``).
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
import yaml

from runner.manifest.nodes import Mapping, Mark, Node, Scalar, Sequence, Style
from runner.manifest.problems import Invalid, Problems, shown
from runner.manifest.yaml.errors import explain

MAX_DEPTH: Final = 64
MAX_EXPANDED: Final = 1_000_000
"""Most nodes that aliases may add. A document without aliases has no such limit."""

# Module constants: looking up a member of an enum costs as much as a call, and each of a million jobs has several
# scalars.
_PLAIN: Final = Style.PLAIN
_BLOCK: Final = Style.BLOCK
_STYLES: Final = {"'": Style.QUOTED, '"': Style.QUOTED, "|": _BLOCK, ">": _BLOCK}
_COMMENT: Final = re.compile(r"([ \t]+)#(.?)")
_DROPPED: Final = Scalar(0, 0, "", _PLAIN)
"""Key of a value that is left out because its real key is invalid."""


class _Frame(msgspec.Struct):
    """A list or mapping that is still open; after its end, the value of its anchor."""

    node: Sequence | Mapping | Scalar
    size: int
    key: Scalar | None = None
    height: int = 1
    closed: bool = False


class Document:
    """Nodes of one text. After an error that ends reading, ``root`` has the nodes up to the error."""

    def __init__(self, text: str, problems: Problems) -> None:
        self.root: Node | None = None
        self._text = text
        self._problems = problems
        self._may_cut = " #" in text or "\t#" in text
        self._open: list[_Frame] = []
        self._anchors: dict[str, _Frame] = {}
        self._size = 0
        self._expanded = 0

    def read(self) -> None:
        """Build ``root``. Errors are noted; one that prevents further reading raises ``Invalid``."""
        handlers = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._mapping,
            yaml.SequenceStartEvent: self._sequence,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }
        parser: Any = yaml.CSafeLoader(self._text)
        try:
            for event in iter(parser.get_event, None):
                if handler := handlers.get(type(event)):
                    handler(event)
        except yaml.YAMLError as error:
            raise explain(error, self._text) from None
        finally:
            parser.dispose()

    def _document(self, event: Any) -> None:
        if self.root is not None:
            what = "a second document begins here (`---`)"
            raise Invalid(what, "one file is one manifest; make it a second file", _start(event))

    def _scalar(self, event: Any) -> None:
        text, mark = event.value, event.start_mark
        style = _STYLES.get(event.style, _PLAIN)
        cut = False
        if style is _PLAIN:
            cut = self._may_cut and self._cuts_text(event.end_mark.index)
        elif style is _BLOCK:
            text = text.removesuffix("\n")
        node = Scalar(mark.line + 1, mark.column + 1, text, style, cut)
        if event.tag is not None or "\0" in text:
            self._refuse(node, event.tag)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Frame(node, 1, closed=True)
        self._size += 1
        self._attach(node)

    def _cuts_text(self, end: int) -> bool:
        comment = _COMMENT.match(self._text, end)
        # Two blanks before `#` and one after it are the notation of an intended comment.
        return comment is not None and not (len(comment[1]) > 1 and comment[2] in (" ", ""))

    def _refuse(self, node: Node, tag: str | None) -> None:
        if tag is not None:
            what = f"{shown(tag.replace('tag:yaml.org,2002:', '!!'))} is a tag; manifests have none"
            self._problems.error(node, what, "delete it; if it begins a text, put the text in quotes")
        else:
            self._problems.error(node, "the character U+0000 (NUL) is not allowed in a text", "delete it")

    def _mapping(self, event: Any) -> None:
        self._begin(event, Mapping(event.start_mark.line + 1, event.start_mark.column + 1, {}))

    def _sequence(self, event: Any) -> None:
        self._begin(event, Sequence(event.start_mark.line + 1, event.start_mark.column + 1, []))

    def _begin(self, event: Any, node: Sequence | Mapping) -> None:
        if event.tag is not None:
            self._refuse(node, event.tag)
        self._attach(node)
        frame = _Frame(node, self._size)
        if event.anchor is not None:
            self._anchors[event.anchor] = frame
        self._size += 1
        self._open.append(frame)
        self._check_depth(node, 0)

    def _end(self, _event: Any) -> None:
        frame = self._open.pop()
        frame.closed = True
        frame.size = self._size - frame.size
        if self._open:
            self._raise_height(frame.height)

    def _raise_height(self, height: int) -> None:
        parent = self._open[-1]
        if parent.height <= height:
            parent.height = height + 1

    def _check_depth(self, node: Mark, height: int) -> None:
        if len(self._open) + height > MAX_DEPTH:
            raise Invalid(f"more than {MAX_DEPTH} levels of lists and mappings", "no manifest needs that", node)

    def _alias(self, event: Any) -> None:
        mark = _start(event)
        target = self._anchors.get(event.anchor)
        if target is None:
            return self._unknown_alias(mark, event.anchor)
        if not target.closed:
            what = f"{shown('*' + event.anchor)} stands inside what it refers to: a cycle"
            raise Invalid(what, "write the value out", mark)
        self._size += target.size
        self._expanded += target.size
        if self._expanded > MAX_EXPANDED:
            raise Invalid(f"aliases blow this up to over {MAX_EXPANDED:,} values", "write the jobs out", mark)
        if not isinstance(target.node, Scalar):
            self._check_depth(mark, target.height)
            self._raise_height(target.height)
        return self._attach(target.node)

    def _unknown_alias(self, mark: Mark, anchor: str) -> None:
        advice = f"if a text is meant, put it in quotes; an alias needs {shown('&' + anchor)} before it"
        self._problems.suppress(mark, f"{shown('*' + anchor)} refers to nothing", advice)
        self._attach(Scalar(mark.line, mark.column, "", Style.PLAIN))

    def _attach(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        frame = self._open[-1]
        parent = frame.node
        if isinstance(parent, Mapping):
            if frame.key is None:
                frame.key = self._as_key(parent, node)
            else:
                self._put(parent, frame.key, node)
                frame.key = None
        elif isinstance(parent, Sequence):
            parent.items.append(node)

    def _as_key(self, parent: Node, node: Node) -> Scalar:
        if not isinstance(node, Scalar):
            self._refuse_key(parent, node)
        elif node.text == "<<" and node.style is _PLAIN:
            advice = "values for every job go under `defaults:`"
            self._problems.error(node, "merge keys (`<<`) are not used in manifests", advice)
        else:
            return node
        return _DROPPED

    def _refuse_key(self, parent: Node, node: Node) -> None:
        if isinstance(node, Mapping) and (parent.line, parent.column + 1) == (node.line, node.column):
            what = "an unquoted `{{` is read as a mapping in YAML"
            self._problems.suppress(parent, what, 'put the whole text in quotes: "{{ … }}"')
        else:
            self._problems.error(node, "a list or mapping cannot be a key", "write `key: value`")

    def _put(self, parent: Mapping, key: Scalar, value: Node) -> None:
        if key is _DROPPED:
            return
        pair = (key, value)
        first = parent.items.setdefault(key.text, pair)
        if first is not pair:
            what = f"{shown(key.text)} is given twice; the first is at {self._problems.place(first[0])}"
            self._problems.error(key, what, "keep one")


def _start(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)
