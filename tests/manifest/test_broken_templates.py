"""Broken templates and matrices: for each, every problem with its exact text and place. The source is ``-``."""

from __future__ import annotations

import pytest

from runner.errors import ManifestError
from runner.manifest import load

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"


def told(entry: str) -> list[str]:
    """What is said of an entry, which is the third line."""
    with pytest.raises(ManifestError) as caught:
        load("-", text=f"model: {KLEIN}\njobs:\n- {entry}\n".encode())
    return [str(problem).removeprefix("-:3:").replace("-:3:", "HERE:") for problem in caught.value.problems]


TEMPLATES = {
    '{prompt: "{{ a", repeat: 2}': [
        (
            "12: `prompt` is no template: unexpected end of template, expected 'end of print "
            "statement' (write {{ name }}; a literal `{{` is {{ '{{' }})"
        )
    ],
    '{prompt: "{{ product name }}", repeat: 2}': [
        (
            "12: `prompt` is no template: expected token 'end of print statement', got 'name' (a name "
            'has no spaces; any header can be reached by row["Any header"])'
        )
    ],
    '{prompt: "{% for x in y %}{% endfor %}", repeat: 2}': [
        (
            "12: `prompt` uses `{% for %}`, which templates cannot (templates know {{ … }}, {% if … "
            "%} … {% endif %} and {% raw %})"
        )
    ],
    '{prompt: "{% set x = 1 %}", repeat: 2}': [
        (
            "12: `prompt` uses `{% set %}`, which templates cannot (templates know {{ … }}, {% if … "
            "%} … {% endif %} and {% raw %})"
        )
    ],
    '{prompt: "{% foo %}", repeat: 2}': [
        (
            "12: `prompt` is no template: encountered unknown tag 'foo' (templates know {{ … }}, {% "
            "if … %} … {% endif %} and {% raw %})"
        )
    ],
    '{prompt: "{% if copy %}", repeat: 2}': [
        (
            "12: `prompt` is no template: unexpected end of template (templates know {{ … }}, {% if … "
            "%} … {% endif %} and {% raw %})"
        )
    ],
    '{prompt: "{{ range(9) }}", repeat: 2}': [
        (
            "12: `prompt` calls a function, which templates cannot (filters do the work: {{ "
            "name|upper }}, {{ name|slug }})"
        )
    ],
    '{prompt: "{{ copy.upper() }}", repeat: 2}': [
        (
            "12: `prompt` calls a function, which templates cannot (filters do the work: {{ "
            "name|upper }}, {{ name|slug }})"
        )
    ],
    '{prompt: "{{ copy.__class__ }}", repeat: 2}': ["12: `prompt` cannot be filled in: `__class__` has no value here"],
    '{prompt: "{{ 2 ** 9 }}", repeat: 2}': ["12: `prompt` uses `**`, which templates cannot"],
    "{prompt: \"{{ 'a' * 9 }}\", repeat: 2}": [
        ("12: `prompt` uses `*` on what is no number (`|int` or `|float` makes a number of a text)")
    ],
    '{prompt: "{{ copy|uper }}", repeat: 2}': [
        "12: `prompt` uses the filter `uper`, which is not there (did you mean `upper`?)"
    ],
    '{prompt: "{{ copy|zzz }}", repeat: 2}': [
        (
            "12: `prompt` uses the filter `zzz`, which is not there (there is abs, capitalize, count, "
            "d, default, first, float, int, join, last, length, lower, replace, round, slug, split, "
            "string, text, title, tojson, trim, truncate, upper)"
        )
    ],
    '{prompt: "{{ copy is big }}", repeat: 2}': [
        (
            "12: `prompt` uses the test `is big`, which is not there (there is boolean, defined, "
            "divisibleby, eq, equalto, even, false, ge, gt, in, le, lt, mapping, ne, none, number, "
            "odd, sequence, string, true, undefined)"
        )
    ],
    '{prompt: "{{ copy is definde }}", repeat: 2}': [
        "12: `prompt` uses the test `is definde`, which is not there (did you mean `defined`?)"
    ],
    '{prompt: "{# x #}{{ copy }}", repeat: 2}': [
        "12: `prompt` holds a template comment, `{# … #}` (delete it, or print it: {{ '{#' }})"
    ],
    '{prompt: "{{ job }}", repeat: 2}': [
        ("12: `prompt` holds `job` alone (write what of it: job.id, job.model, job.size, job.copy)")
    ],
    '{prompt: "{{ job.widht }}", repeat: 2}': [
        "12: `prompt` uses `job.widht`, which is not there (did you mean `width`?)"
    ],
    '{prompt: "{{ job.zzz }}", repeat: 2}': [
        (
            "12: `prompt` uses `job.zzz`, which is not there (there is job.id, job.model, job.width, "
            "job.height, job.size, job.copy)"
        )
    ],
    '{prompt: "{{ job.id }}", repeat: 2}': ["12: `prompt` uses `job.id`, and the entry has no `id` (give it one)"],
    '{prompt: "{{ ext }}", repeat: 2}': ["12: `prompt` uses `ext`, which is known in `file` only (leave it out)"],
    '{prompt: a, file: "{{ ext }}/a"}': [
        ("21: `file` uses `ext` elsewhere than at its end (it can only be the ending: …{{ name }}.{{ ext }})")
    ],
    '{prompt: a, id: "{{ job.id }}", repeat: 2}': ["19: `id` uses `job.id`, which is made from it (leave it out)"],
    '{prompt: a, width: "{{ height }}", repeat: 2}': [
        "22: `width` uses `height`, which is made from it (leave it out)"
    ],
    '{prompt: a, width: "6{{ copy }}", repeat: 2}': [
        ("22: `width` takes no text, and this template prints one (let one {{ … }} make the whole value)")
    ],
    '{prompt: a, width: "{{ copy }}", repeat: 2}': [
        "22: `width` is 1; the model takes 64 to 2048",
        "22: `width` is 2; the model takes 64 to 2048",
    ],
    "{prompt: a, width: \"{{ '' }}\", repeat: 2}": [
        ("22: `width` has an empty cell for its value (fill it, or write {{ name|default(1024, true) }})")
    ],
    '{prompt: "{{ row.x }}", repeat: 2}': [
        (
            '12: `prompt` uses `row["x"]`, a name that is not known here (known: job.id, job.model, '
            "job.width, job.height, job.size, job.copy)"
        ),
        ("12: `prompt` uses `row`, and there is none (`row` is a row of the feed that `from:` names)"),
    ],
    '{prompt: "{{ nmae }} {{ colour }}", matrix: {name: [a]}}': [
        "12: `prompt` uses `colour`, a name that is not known here (known: name)",
        "12: `prompt` uses `nmae`, a name that is not known here (did you mean `name`?)",
    ],
    '{prompt: "{{ copy / 0 }}", repeat: 2}': ["12: `prompt` cannot be filled in: it divides by zero"],
    "{prompt: \"{{ 'x'|int }} \", repeat: 2}": ["12: `prompt` takes `x` for a whole number, which it is not"],
    '{prompt: "{{ none }}", repeat: 2}': ["12: `prompt` prints null (`|default(…)` stands in for it)"],
    '{prompt: "{{ [1] }}", repeat: 2}': ['12: `prompt` prints a list (`|join(", ")` or `|tojson` makes a text of it)'],
    '{prompt: "{{ {1: 2} }}", repeat: 2}': [
        '12: `prompt` prints a mapping (`|join(", ")` or `|tojson` makes a text of it)'
    ],
    "{prompt: \"{{ '%s' % copy }}\", repeat: 2}": [
        ("12: `prompt` uses `%` on what is no number (`|int` or `|float` makes a number of a text)")
    ],
    "{prompt: \"{{ '' }}\", repeat: 2}": ["12: `prompt` is empty"],
    '{prompt: "{{ [copy][5] }}", repeat: 2}': ["12: `prompt` cannot be filled in: `5` has no value here"],
    '{prompt: a, id: "{{ x }}"}': [
        ("19: `id` holds a template, and this job has no `from`, `matrix`, `repeat` or `sizes` (write the id out)")
    ],
    '{prompt: a, id: "a/{{ copy }}", repeat: 2}': [
        "19: the id `a/1` has a slash or backslash",
        "19: the id `a/2` has a slash or backslash",
    ],
    '{prompt: a, file: "../{{ width }}"}': ["21: the file `../1024` has the part `..`, which leads elsewhere"],
    '{prompt: a, file: ".{{ ext }}"}': ["21: `file` is empty"],
    '{prompt: "{{ copy }}", repeat: 2, size: "{{ width }}"}': [
        "43: `size` uses `width`, which is made from it (leave it out)"
    ],
    "{prompt: \"{{ 'a'|int(3) }}\", repeat: 2}": [
        "12: `prompt` cannot be filled in: a filter or test is given what it does not take"
    ],
}


@pytest.mark.parametrize("entry", TEMPLATES)
def test_what_a_template_cannot_be(entry: str) -> None:
    """Faults of templates are told in the terms of a manifest, at the template."""
    assert told(entry) == TEMPLATES[entry]


BIG = {
    "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}": (
        "is a template that is too deep, or holds too large a number (shorten it)"
    ),
    "{{ " + "9" * 5000 + " }}": "is a template that is too deep, or holds too large a number (shorten it)",
    "{{ [" + "copy," * 1001 + "]|join }}": "is a template of more than 1,000 parts (shorten it)",
    "{{ copy }}" + "x" * 100_000: "is a template of more than 100,000 characters (shorten it)",
    ("{{ '" + "a" * 250 + "'|replace('a', '" + "b" * 240 + "') }}") * 2: "produces more than 100,000 characters",
    "{{ 'aa'|replace('a', '" + "x" * 999 + "')|replace('x', '" + "y" * 999 + "') }}": (
        "produces more than 100,000 characters"
    ),
    "{{ ['" + "x" * 400 + "']|join|replace('x', 'yyyyyyyyyyyyyyyyyyyy')|split('y')|join('" + "z" * 20 + "') }}": (
        "produces more than 100,000 characters"
    ),
}


@pytest.mark.parametrize("template", BIG, ids=range(len(BIG)))
def test_what_a_template_may_not_eat(template: str) -> None:
    """Depth, parts, length and every step's output are bounded."""
    assert told(f'{{prompt: "{template}", repeat: 2}}') == [f"12: `prompt` {BIG[template]}"]


MATRICES = {
    "{prompt: a, matrix: {}}": [
        "23: `matrix` takes a mapping of lists, not an empty one (write {view: [front, side]})"
    ],
    "{prompt: a, matrix: [view]}": ["23: `matrix` takes a mapping of lists, not a list (write {view: [front, side]})"],
    "{prompt: a, matrix: {exclude: []}}": [
        "23: `matrix` takes a mapping of lists, not an empty one (write {view: [front, side]})"
    ],
    "{prompt: a, matrix: {view: front}}": ["30: `view` takes a list of values, not `front` (write [front, side])"],
    "{prompt: a, matrix: {view: []}}": ["30: `view` takes a list of values, not an empty one (write [front, side])"],
    "{prompt: a, matrix: {size: 64x64}}": [
        "30: `size` takes a list of sizes, not `64x64` (write [1024x1024, 768x1024])"
    ],
    "{prompt: a, matrix: {size: [big]}}": [
        "31: `size` takes a size, not `big` (write width x height in pixels: 1024x768)"
    ],
    "{prompt: a, matrix: {sizes: [64x64]}}": ["24: `sizes` is no key of a matrix (write `size`)"],
    "{prompt: a, matrix: {id: [a]}}": ["24: `id` is no key of a matrix (it stands beside `matrix`, not in it)"],
    "{prompt: a, matrix: {job: [a]}}": [
        "24: `job` is a name that templates have already (call the key of the matrix otherwise)"
    ],
    "{prompt: a, matrix: {a-b: [a]}}": ["24: `a-b` cannot be a name in templates (use letters, digits and _)"],
    "{prompt: a, matrix: {view: [a, b, a]}}": [
        (
            "24: nothing that is sent depends on `view`, a key of the matrix: its jobs would be the "
            "same (use {{ view }} in the prompt or in an `id`)"
        ),
        "37: `a` in `view` is given twice; the first is at HERE:31 (keep one)",
    ],
    "{prompt: a, matrix: {size: [64x64, 64 x 64]}}": [
        "38: the size 64x64 is given twice; the first is at HERE:31 (keep one)"
    ],
    "{prompt: a, matrix: {view: [true]}}": [
        ("31: `view` takes a text, and `true` is none (quote it if you mean the word, or leave the key out)")
    ],
    '{prompt: a, matrix: {view: ["{{ a }}"]}}': [
        ("31: `view` holds a template: `{{ a }}` (a value that is no input of the model is plain text)")
    ],
    "{prompt: a, matrix: {width: [012]}}": ["32: `width` takes a whole number, not `012` (write 12)"],
    "{prompt: a, matrix: {width: [9]}}": ["32: `width` is 9; the model takes 64 to 2048"],
    "{prompt: a, size: 64x64, matrix: {size: [64x64]}}": [
        "37: `matrix.size` stands beside `size`, at HERE:15 (keep one of them)"
    ],
    "{prompt: a, sizes: [64x64], matrix: {size: [64x64]}}": [
        "40: `matrix` holds `size` beside `sizes:` (keep one of them)"
    ],
    "{prompt: a, width: 64, matrix: {size: [64x64]}}": [
        "15: `width` stands beside `size`, at HERE:35; that sets it too (keep one of them)"
    ],
    "{prompt: a, size: 64x64, matrix: {width: [64]}}": [
        "37: `matrix.width` stands beside `size`, at HERE:15 (keep one of them)"
    ],
    "{prompt: a, width: 64, matrix: {width: [64]}}": ["35: `width` is given twice: here and at HERE:15 (keep one)"],
    "{prompt: a, matrix: {size: [64x64], width: [64]}}": [
        "39: `width` stands beside `size`; that sets it too (keep one of them)"
    ],
    "{prompt: a, matrix: {prompt: [b]}}": ["24: `prompt` is given twice: here and at HERE:4 (keep one)"],
    "{prompt: a, id: m, matrix: {view: [a, b]}}": [
        ("19: `id` leaves out `view`, a key of the matrix: its jobs would share one (add {{ view }})")
    ],
    "{prompt: a, matrix: {view: [a], exclude: [{view: a}]}}": [
        "44: `exclude` leaves nothing of the matrix (exclude less, or delete the entry)"
    ],
    "{prompt: a, matrix: {view: [a], exclude: {view: a}}}": [
        ("44: `exclude` takes a list of mappings, not a mapping (write [{view: front, size: 512x512}])")
    ],
    "{prompt: a, matrix: {view: [a], exclude: []}}": [
        ("44: `exclude` takes a list of mappings, not an empty one (write [{view: front, size: 512x512}])")
    ],
    "{prompt: a, matrix: {view: [a], exclude: [a]}}": [
        "45: `exclude` takes mappings, not `a` (write {view: front, size: 512x512})"
    ],
    "{prompt: a, matrix: {view: [a], exclude: [{}]}}": [
        "45: `exclude` takes mappings, not an empty one (write {view: front, size: 512x512})"
    ],
    "{prompt: a, matrix: {view: [a], exclude: [{veiw: a}]}}": [
        "46: `veiw` is no key of the matrix (did you mean `view`?)"
    ],
    "{prompt: a, matrix: {view: [a], exclude: [{zz: a}]}}": ["46: `zz` is no key of the matrix (the keys are view)"],
    "{prompt: a, matrix: {view: [a, b]}}": [
        (
            "24: nothing that is sent depends on `view`, a key of the matrix: its jobs would be the "
            "same (use {{ view }} in the prompt or in an `id`)"
        )
    ],
    "{prompt: a, repeat: 0}": ["23: `repeat` is 0; it goes from 1 to 10,000,000"],
    "{prompt: a, repeat: two}": ["23: `repeat` takes a whole number, not `two`"],
    "{model: a/b, prompt: a, matrix: {size: [64x64]}, sizes: [64x64]}": [
        "36: `matrix` holds `size` beside `sizes:` (keep one of them)"
    ],
    '{prompt: a, file: x, matrix: {view: [b, c]}, id: "{{ view }}"}': [
        ("21: `file` leaves out `view`, a key of the matrix: its jobs would share one (add {{ view }})")
    ],
}


@pytest.mark.parametrize("entry", MATRICES)
def test_what_a_matrix_cannot_be(entry: str) -> None:
    """Faults of ``matrix`` and ``repeat``, and whatever may not stand beside them, are told at the key or value."""
    assert told(entry) == MATRICES[entry]


def test_more_jobs_than_a_manifest_may_have() -> None:
    """A matrix of absurd size is refused with the count, before any job is made."""
    numbers = ", ".join(map(str, range(1000)))
    (line,) = told(f"{{prompt: a, matrix: {{a: [{numbers}], b: [{numbers}]}}, repeat: 20}}")
    assert line == "-:2:1: 20,000,000 jobs are more than the 10,000,000 that one manifest may have (split it)"


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ("{prompt: a, size: 64x64}", 21),
        ("{prompt: a, sizes: [64x64]}", 22),
        ("{prompt: a, matrix: {size: [64x64]}}", 24),
    ],
)
def test_a_model_without_a_size_takes_none(entry: str, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a size is given, a model that has no width and height refuses it."""
    schema = {"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]}
    monkeypatch.setattr("runner.manifest.given.bundled_schema", lambda _model: schema)
    assert told(entry) == [f"{place}: {KLEIN} takes no width and height (leave the size out)"]
