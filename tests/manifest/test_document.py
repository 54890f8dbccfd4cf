"""Text → nodes: positions, styles, JSON, and that no bytes whatever raise anything but a manifest's error."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.errors import ManifestError
from runner.manifest import load
from runner.manifest.nodes import Mapping, Node, Scalar, Sequence, Style
from runner.manifest.problems import Problems
from runner.manifest.yaml.document import Document
from runner.manifest.yaml.encoding import decode
from runner.manifest.yaml.scalars import json_value


def read(text: str | bytes) -> Node:
    problems = Problems("-")
    document = Document(decode(text.encode() if isinstance(text, str) else text), problems)
    document.read()
    assert not problems.count
    assert document.root is not None
    return document.root


def at(node: Node, *path: str | int) -> Node:
    for step in path:
        if isinstance(step, int):
            assert isinstance(node, Sequence)
            node = node.items[step]
        else:
            assert isinstance(node, Mapping)
            node = node.items[step][1]
    return node


def test_every_node_knows_where_it_begins() -> None:
    """Lines and columns count from 1, in characters; an emoji or an accent is one, a byte order mark none."""
    root = read("\ufeffa: 1\n\u00e9\U0001f600: {b: [2, 'x']}\n- c".removesuffix("- c"))
    assert (root.line, root.column) == (1, 1)
    inner = at(root, "\u00e9\U0001f600")
    assert (inner.line, inner.column) == (2, 5)
    text = at(inner, "b", 1)
    assert (text.line, text.column) == (2, 13)


def test_styles_are_told_apart() -> None:
    """Plain, quoted and block scalars differ, and one newline at the end of a block is dropped."""
    root = read("- a\n- 'a'\n- \"a\"\n- |\n  a\n- >\n  a\n  b\n- |+\n  a\n\n")
    assert isinstance(root, Sequence)
    found = [(node.text, node.style) for node in root.items if isinstance(node, Scalar)]
    quoted, block = Style.QUOTED, Style.BLOCK
    assert found[:3] == [("a", Style.PLAIN), ("a", quoted), ("a", quoted)]
    assert found[3:] == [("a", block), ("a b", block), ("a\n", block)]


def test_aliases_are_the_nodes_they_refer_to() -> None:
    """An alias costs no copy, and its place is where the value was written."""
    root = read("x-a: &a {w: 1}\nb: [*a, *a]\n")
    assert at(root, "b", 0) is at(root, "x-a")
    assert at(root, "b", 1) is at(root, "x-a")


def test_a_file_without_aliases_may_be_as_large_as_it_likes() -> None:
    """The bound on what aliases stand for does not touch what was written out, with an alias beside it."""
    root = read("x-a: &a 1\nb: *a\nc: [" + "0," * 200_000 + "]\n")
    values = at(root, "c")
    assert isinstance(values, Sequence)
    assert len(values.items) == 200_000


@pytest.mark.parametrize(
    ("line", "cut"),
    [
        ("prompt: mug #5 on wood", True),
        ("prompt: mug # white", True),
        ("prompt: mug  #5", True),
        ("prompt: mug  # a note", False),
        ("prompt: mug\t\t# a note", False),
        ("prompt: mug  #", False),
        ("prompt: mug#5", False),
        ("prompt: 'mug' #5", False),
        ("prompt: #5 mug", True),
        ("prompt: mug\n#5", False),
    ],
)
def test_a_comment_that_cuts_a_text_is_noticed(line: str, *, cut: bool) -> None:
    """` #` behind a plain scalar is suspicious, unless it stands apart as comments do."""
    node = at(read(line + "\n"), "prompt")
    assert isinstance(node, Scalar)
    assert node.cut is cut


def test_json_positions_survive_surrogate_pairs() -> None:
    """What follows a rewritten surrogate pair keeps its column, and other backslashes are left alone."""
    source = '{"a": "\\ud83d\\ude00\\\\ud83d", "b": 1}'
    root = read(source)
    first, second = at(root, "a"), at(root, "b")
    assert isinstance(first, Scalar)
    assert first.text == "\U0001f600\\ud83d"
    assert second.column == source.index("1}") + 1


def test_yaml_keeps_its_backslashes() -> None:
    """Outside JSON, an escape that YAML does not read is not read: nothing is rewritten behind its back."""
    node = at(read("a: x \\ud83d\\ude00\n"), "a")
    assert isinstance(node, Scalar)
    assert node.text == "x \\ud83d\\ude00"


# JSON may hold any character but lone surrogates and NUL, which no manifest may.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.text(characters, max_size=20)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(texts.filter(lambda key: key != "<<"), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(texts, values, max_size=4), st.booleans(), st.sampled_from([None, 2, "\t"]))
def test_a_json_file_means_what_json_says(value: object, ascii_only: bool, indent: int | str | None) -> None:
    """Every JSON document is read as the standard library reads it."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert json_value(read(text)) == json.loads(text)


@given(st.binary())
def test_no_bytes_raise_anything_but_a_manifest_error(data: bytes) -> None:
    """Whatever the file holds, the answer is jobs or problems."""
    with suppress(ManifestError):
        load("-", text=data).jobs.close()


PIECES = [
    *(
        "jobs:",
        "- ",
        "  ",
        "\n",
        "prompt",
        ": ",
        "a",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a",
        "*a",
        "!x",
        "|",
        ">",
        "'",
        '"',
    ),
    *(
        "\\",
        "#",
        " ",
        "\t",
        "---",
        "...",
        "%",
        "@",
        "<<",
        "size: 64x64",
        "sizes: [64x64]",
        "model: a/b",
        "id: x",
    ),
    *("defaults:", "? ", "\ufeff", "é", "null", "012", "{{ x }}", "inputs:", "file: a/b"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_no_yaml_raises_anything_but_a_manifest_error(text: str) -> None:
    """Nor does anything that looks like a manifest."""
    with suppress(ManifestError):
        load("-", text=text.encode()).jobs.close()


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_every_problem_has_a_place_inside_the_file(text: str) -> None:
    """Problems are sorted, and each points at a line that is there, or at the file as a whole."""
    try:
        load("-", text=text.encode()).jobs.close()
    except ManifestError as error:
        places = [(problem.place.line, problem.place.column) for problem in error.problems]
        assert places == sorted(places)
        assert all(line <= text.count("\n") + 1 for line, _ in places)
