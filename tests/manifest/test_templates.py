"""Templates: which texts are some, what they may use, what they print, and what they can never do."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.models import Job
from runner.manifest import load
from runner.manifest.nodes import Mark
from runner.manifest.problems import Invalid
from runner.manifest.templates.compiler import Compiler
from runner.manifest.templates.template import Templates

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
ROW = {
    "name": "Mug No. 5",
    "colour": "blå",
    "n": 3,
    "f": 0.5,
    "on": True,
    "tags": ["a", True, 2],
    "a b": "spaced",
    "box": {"w": 12, "none": None},
}


def jobs_of(*entries: str, top: str = "") -> list[Job]:
    text = f"model: {KLEIN}\n{top}jobs:\n" + "".join(f"- {entry}\n" for entry in entries)
    manifest = load("-", text=text.encode())
    jobs = list(manifest.jobs)
    manifest.jobs.close()
    return jobs


def printed(text: str, row: dict[str, Any] = ROW, templates: Templates | None = None) -> str:
    """What ``text`` prints for ``row``."""
    templates = templates or Templates()
    template = templates.compile("prompt", Mark(1, 1), text)
    templates.names.update(row, row=row, job={"id": "x", "width": 64})
    templates.names.update({name: templates.null(name) for name, value in row.items() if value is None})
    return template.text(templates.context)


PRINTED = {
    "{{ name }}": "Mug No. 5",
    "a {{name}} b\n": "a Mug No. 5 b\n",
    "{{ name|slug }}": "mug-no-5",
    "{{ colour|upper }}/{{ colour|title }}/{{ 'ab cd'|capitalize }}": "BLÅ/Blå/Ab cd",
    "{{ on }} {{ not on }} {{ true }} {{ on ~ '!' }}": "true false true true!",
    "{{ n }} {{ f }} {{ n * 2 + 1 }} {{ 7 // 2 }} {{ 7 % 4 }}": "3 0.5 7 3 3",
    "{{ '2.50'|float * 2 }} {{ ' 12 '|int + 1 }} {{ 2.5|round }} {{ 2.345|round(1) }} {{ -3|abs }}": "5.0 13 2 2.3 3",
    "{{ tags|join(', ') }} {{ tags[0] }} {{ tags|first }}{{ tags|last }} {{ tags|length }}": "a, true, 2 a a2 3",
    "{{ row['a b'] }} {{ row.name }} {{ box.w }} {{ box['w'] }} {{ job.width }}": "spaced Mug No. 5 12 12 64",
    "{{ missing|default('-') }} {{ row.nope|d('+') }} {{ box.none|default('0') }}": "- + 0",
    "{{ ''|default('x', true) }} {{ 'y' if missing is defined else 'n' }}": "x n",
    "{{ 'yes' if n > 2 and on else 'no' }} {{ 'x' if false }}": "yes ",
    "{% if colour in ['blå', 'red'] %}c{% elif on %}d{% else %}e{% endif %}": "c",
    "{{ name[:3] }} {{ name|replace('Mug', 'Cup') }} {{ name|truncate(5) }} {{ ' x '|trim }}": "Mug Cup No. 5 Mug… x",
    "{{ {'blå': 'blue'}[colour] }}": "blue",
    "{{ box.w|tojson }} {{ tags|tojson }} {{ 'é\"'|tojson }}": '12 ["a", true, 2] "é\\""',
    "{{ 'a-b'|split('-')|join('+') }}": "a+b",
    "<b>{{ '<&>' }}</b>": "<b><&></b>",
    "{% raw %}{{ name }}{% endraw %} {{ '{{' }}": "{{ name }} {{",
    '{"scene": "{{ name }}", "n": {"m": {{ n }}}}': '{"scene": "Mug No. 5", "n": {"m": 3}}',
    "{{ '<p>A <b>B</b>ig</p><p>&amp; C<br/>D</p>'|striptags }}": "A Big & C D",
    "{{ 'Ærø Straße'|slug(ascii=true) }} {{ 'Żółć 日本'|slug(ascii=true) }}": "aero-strasse zolc",
    "{{ n is odd }} {{ n is divisibleby 3 }} {{ name is string }}": "true true true",
}


@pytest.mark.parametrize("text", PRINTED)
def test_what_templates_print(text: str) -> None:
    """Jinja's expressions over the row's values; nothing is escaped, booleans are ``true`` and ``false``."""
    assert printed(text) == PRINTED[text]


RENDERINGS = Path(__file__).with_name("renderings.jsonl")
"""A thousand templates over ``TYPES``, and what each printed when the first pictures were bought. Null: refused."""
TYPES = {
    "name": "Mug No. 5", "colour": "blå", "n": 3, "neg": -7, "f": 0.5, "tiny": 1e-7, "huge": 1e20, "big": 2**70,
    "i64": 2**63 - 1, "on": True, "off": False, "void": None, "price": "120", "small": "9", "empty": "",
    "sz": "Straße İ ŉ ǆ", "tags": ["a", True, 2, 0.5], "words": ["x", "Y", "z"], "a b": "spaced",
    "box": {"w": 12, "none": None, "t": "in"}, "html": "<b>A &amp; B</b>", "ws": "  two  words\t",
}  # fmt: skip


def test_a_template_prints_what_it_printed_when_pictures_were_bought() -> None:
    """A prompt that renders otherwise is a changed input, bought again. An engine's new version changes no text."""
    templates, changed = Templates(), []
    for line in RENDERINGS.read_text(encoding="utf-8").splitlines():
        text, expected = json.loads(line)
        try:
            now = printed(text, TYPES, templates)
        except Invalid:
            now = None
        if now != expected:
            changed.append((text, expected, now))
    assert changed == []


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}",
        "{{ name.__init__.__globals__ }}",
        "{{ row.__class__.__mro__ }}",
        "{{ row['__class__'] }}",
        "{{ tags.append }}",
        "{{ box.items }}",
        "{{ box.none }}",
        "{{ missing }}",
        "{{ missing.x }}",
        "{{ 'a' * 1000000000 }}",
        "{{ tags * 1000000000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 10 ** 10 ** 10 }}",
        "{{ range(1000000000) }}",
        "{{ lipsum() }}",
        "{{ cycler }}",
        "{{ self }}",
        "{{ self.__init__ }}",
        "{{ name|attr('__class__') }}",
        "{{ name|format }}",
        "{{ name|center(1000000000) }}",
        "{{ tags|random }}",
        "{% for x in tags %}{{ x }}{% endfor %}",
        "{% macro m() %}{% endmacro %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% block b %}{% endblock %}",
        "{% with x = 1 %}{% endwith %}",
        "{% filter upper %}{% endfilter %}",
        "{% call x() %}{% endcall %}",
        "{{ tags }}",
        "{{ box }}",
        "{{ none }}",
        "{{ none ~ 'x' }}",
        "{{ [1, none]|join }}",
        "{{ row.items }}",
        "{{ row.clear() }}",
        "{{ tags.append(1) }}",
        "{% for x in range(1000000000) %}{% endfor %}",
        "{% for x in tags %}{% for y in tags %}{{ y }}{% endfor %}{% endfor %}",
        "{{ tags[0:1000000000:0] }}",
        "{{ 9 ** 999999999 }}",
        "{{ 'a'|indent(1000000000) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ name|replace('', name)|replace('', name)|replace('', name)|replace('', name)|replace('', name) }}",
        "{{ [name, name]|join('x' * 1000000000) }}",
        "{{ long|join(long) }}",
        "{{ long ~ long }}",
        "{{ [long, long]|tojson }}",
        "{{ long|split('x') }}",
    ],
)
def test_what_templates_never_do(text: str) -> None:
    """No attributes, code, loops, chance or unbounded work: each is refused with a reason, before it takes memory."""
    tracemalloc.start()
    try:
        with pytest.raises(Invalid):
            printed(text, {**ROW, "long": "x" * 99_999})
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_large_slice_is_the_text_itself() -> None:
    """The ends of a slice bound nothing and cost nothing."""
    assert printed("{{ name[0:1000000000] }}{{ name[-1000000000:3] }}") == "Mug No. 5Mug"


SCALAR = st.sampled_from(["name", "row", "job", "tags", "box", "n", "'a'", "1", "none", "missing", "[1]", "{}", "-1"])
FILTER = st.sampled_from(
    ["upper", "slug", "join", "replace('a', 'bb')", "tojson", "int", "float", "round(9)", "first", "length", "d", "abs",
     "truncate(-1)", "split('')", "title", "trim", "last", "text"]
)  # fmt: skip
EXPRESSION = st.recursive(
    SCALAR,
    lambda e: st.one_of(
        st.tuples(e, FILTER).map("|".join),
        st.tuples(e, st.sampled_from(["+", "*", "~", "-", "/", "//", "%", "and", "==", "<", "in"]), e).map(" ".join),
        st.tuples(e, e).map(lambda pair: f"({pair[0]})[{pair[1]}]"),
        e.map("({}).x".format),
        st.tuples(e, e, e).map(lambda three: f"({three[0]} if {three[1]} else {three[2]})"),
    ),
    max_leaves=6,
)


@given(EXPRESSION)
def test_any_expression_prints_a_text_or_is_refused(expression: str) -> None:
    """Whatever an expression does, it ends as a bounded text, or as a fault with a reason."""
    with suppress(Invalid):
        assert len(printed(f"<{{{{ {expression} }}}}>")) <= 100_000


@given(st.text(st.sampled_from("{}%#'\"|.[]( )-+ax1\n"), max_size=30))
def test_any_text_is_a_template_or_is_refused(text: str) -> None:
    """However a template is misspelt, it is told as a fault of the manifest."""
    with suppress(Invalid):
        printed("{{ n }}" + text)


DEEP: dict[str, Callable[[int], str]] = {
    "brackets": lambda levels: "{{ " + "(" * levels + "1" + ")" * levels + " }}",
    "lists": lambda levels: "{{ " + "[" * levels + "]" * levels + "|length }}",
    "not": lambda levels: "{{ " + "not " * levels + "1 }}",
    "if": lambda levels: "{% if 1 %}" * levels + "a" + "{% endif %}" * levels,
    "mixed": lambda levels: "{% if (1) %}" * 10 + "{{ (" + "not " * (levels - 11) + "1) }}" + "{% endif %}" * 10,
}


@pytest.mark.parametrize("form", DEEP)
def test_a_template_has_thirty_levels_and_no_more(form: str) -> None:
    """Far from where Python gives up, which depends on the calls around it; what stands side by side has one level."""
    Compiler().compile(DEEP[form](30))
    Compiler().compile(DEEP[form](5) * 20)
    with pytest.raises(Invalid, match="too many levels"):
        Compiler().compile(DEEP[form](31))


def test_a_template_that_fills_the_stack_all_the_same_is_refused() -> None:
    """A chain is as deep as it is long."""
    with pytest.raises(Invalid, match="too many levels"):
        Compiler().compile("{{ 'a'" + " + 'a'" * 900 + " }}")


@given(st.text(st.characters(codec="utf-8", exclude_characters="{\r\0"), max_size=30))
def test_text_around_a_template_is_sent_as_written(text: str) -> None:
    """Only the braces are filled in: line ends, spaces and every other character stay."""
    assert printed(f"{text}{{{{ n }}}}{text}") == f"{text}3{text}"


def test_only_entries_of_several_jobs_have_templates() -> None:
    """A prompt of a single job may hold braces; ``file`` is a template anywhere."""
    first, second = jobs_of(
        "{id: a, prompt: '{{ mug }} {% x %}', file: 'x/{{ job.id }}-{{ width }}.{{ job.ext }}'}",
        "{id: b, prompt: 'mug {{ job.id }} {{ size }}', sizes: [64x64]}",
    )
    assert (first.inputs["prompt"], first.file) == ("{{ mug }} {% x %}", "x/a-1024")
    assert (second.id, second.inputs["prompt"]) == ("b-64x64", "mug b-64x64 64x64")


def test_what_runner_knows_of_a_job() -> None:
    """``job.…`` and its short forms: model, size, copy, the finished id, and the output's number in ``file``."""
    _, job = jobs_of(
        "{id: m, prompt: '{{ job.model }} {{ job.width }} {{ job.height }} {{ job.size }} {{ size }} {{ job.copy }}',"
        " file: '{{ job.id }}/{{ output }}', repeat: 2, size: 128x64}"
    )
    assert job.inputs["prompt"] == f"{KLEIN} 128 64 128x64 128x64 2"
    assert (job.id, job.file) == ("m-2", "m-2/1")


def test_a_file_says_where_the_number_of_an_output_stands() -> None:
    """``{{ output }}`` is 1 in the job's file; where it stands is kept, for the files that follow."""
    cases = {
        "{{ output }}": ("1", (0,)),
        "é1/{{ job.output }}-{{- output -}}.{{ ext }}": ("é1/1-1", (3, 5)),
        "plain1": ("plain1", ()),
        "1{{ output }}1.png": ("111", (1,)),
    }
    for text, expected in cases.items():
        (job,) = jobs_of(f"{{id: m, prompt: a, file: '{text}'}}")
        assert (job.file, job.numbered_at) == expected
    first, second = jobs_of("{id: m, prompt: a, file: 'f{{ output }}', sizes: [64x64, 128x64]}")
    assert (first.file, second.file, second.numbered_at) == ("f1-64x64", "f1-128x64", (1,))


def test_a_size_can_be_a_template() -> None:
    """``size``, ``width`` and ``height`` may be filled in, and what they come to is known to the others."""
    (job,) = jobs_of("{id: 'm-{{ s }}', prompt: '{{ size }}', size: '{{ s }}', matrix: {s: [128x64]}}")
    assert job.inputs == {"prompt": "128x64", "width": 128, "height": 64}
    (job,) = jobs_of("{id: 'm-{{ w }}', prompt: '{{ size }}', width: '{{ w }}', matrix: {w: [64]}}")
    assert job.inputs == {"prompt": "64x1024", "width": 64, "height": 1024}


def test_a_default_can_be_a_template_for_entries_that_have_some() -> None:
    """A default is an input of every job, and filled in where the job's own inputs would be."""
    first, second = jobs_of(
        "{id: '{{ v }}', matrix: {v: [a]}}", "{id: b, prompt: own}", top="defaults: {prompt: 'view {{ v }}'}\n"
    )
    assert (first.inputs["prompt"], second.inputs["prompt"]) == ("view a", "own")


def test_jinja_is_imported_with_the_first_template_only() -> None:
    """A manifest without templates starts without Jinja."""
    manifest = f"model: {KLEIN}\njobs:\n  - {{id: a, prompt: a, file: 'x/a.{{{{ ext }}}}', sizes: [64x64]}}\n"
    code = f"""
import sys
from runner.manifest import load
load("-", text={manifest!r}.encode()).jobs.close()
print("jinja2" in sys.modules)
load("-", text={manifest.replace("prompt: a", "prompt: '{{ size }}'")!r}.encode()).jobs.close()
print("jinja2" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"], indent(run.stderr, "  ")
