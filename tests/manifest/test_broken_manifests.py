"""Broken manifests: for each, every problem with its exact text and place. The source is called ``-``."""

from __future__ import annotations

from textwrap import dedent

import pytest

from runner.errors import ManifestError
from runner.manifest import load

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
COLUMN = "keys of one mapping, and dashes of one list, start in the same column"
QUOTE = 'put the whole text in quotes: "…"'


def problems(manifest: str | bytes) -> list[str]:
    data = manifest.encode() if isinstance(manifest, str) else manifest
    with pytest.raises(ManifestError) as caught:
        load("-", text=data)
    return [str(problem).removeprefix("-:") for problem in caught.value.problems]


def with_jobs(jobs: str) -> str:
    return f"model: {KLEIN}\njobs:\n" + dedent(jobs)


def with_setting(line: str) -> str:
    return f"{line}\nmodel: {KLEIN}\njobs: [{{prompt: a}}]\n"


SYNTAX = {
    "jobs:\n\t- prompt: a\n": ("2:1: a tab in the indent (indent with spaces; YAML does not allow tabs there)"),
    "jobs:\n  - prompt: mug: blue\n": f"2:16: a second `: ` in one line ({QUOTE})",
    "jobs:\n  - prompt: a\n     size: 64x64\n": (
        f"3:10: a key cannot stand here: the line above is not finished, or the indent is wrong ({COLUMN})"
    ),
    "jobs:\n  - prompt: a\n    size: 64x64\n   id: b\n": (
        f"4:4: this line is not indented like the list above it ({COLUMN})"
    ),
    "jobs:\n- prompt: a\nprompt: b\n- prompt: c\n": (
        "4:1: this does not fit what stands before it: a wrong indent, or quotes inside a text"
        f" ({COLUMN}; a text that begins with a quote or brace needs quotes around it all)"
    ),
    "- a\nb: c\n": f"2:1: this line is not indented like the list above it ({COLUMN})",
    "jobs: - prompt: a\n": "1:7: a list cannot begin on this line (start it on a line of its own)",
    "jobs:\n  - prompt: A mug\n  on wood\n": (
        "3:3: a key without `:`, or a text that goes on with too little indent"
        " (write `key: value`; indent the lines of a long text deeper than its key)"
    ),
    "jobs: [{prompt: a}\n": (
        "1:7: a list in brackets is not closed, or a comma is missing"
        " (write [a, b]; quote texts that hold brackets, braces or commas)"
    ),
    "jobs: [{prompt: a: b}]\n": (
        "1:18: a mapping in braces is not closed, or a comma is missing"
        " (write {a: 1, b: 2}; quote texts that hold brackets, braces or commas)"
    ),
    "jobs: [{prompt: a},, ]\n": (
        "1:20: a value is missing, or a comma or bracket is too many"
        " (write [a, b] or {a: 1}; quote texts that hold brackets, braces or commas)"
    ),
    "name: [\n\n": (
        "1:8: a value is missing, or a comma or bracket is too many"
        " (write [a, b] or {a: 1}; quote texts that hold brackets, braces or commas)"
    ),
    "jobs: {prompt: a\n": (
        "1:7: a mapping in braces is not closed, or a comma is missing"
        " (write {a: 1, b: 2}; quote texts that hold brackets, braces or commas)"
    ),
    'name: "spring\njobs: []\n': ("1:7: a quoted text is never closed (close it with the quote it began with)"),
    'name: "a\n---\n': "1:7: a quoted text is never closed (close it with the quote it began with)",
    'name: "a\\q"\n': (
        "1:9: this backslash begins no escape that YAML knows (double the backslash, or put the text in single quotes)"
    ),
    'name: "\\ud83d"\n': (
        "1:10: this escape is one half of a surrogate pair, and no character (write the character itself)"
    ),
    'name: "\\u12"\n': "1:10: this escape lacks hexadecimal digits (write the character itself)",
    "name: &\n": f"1:8: `*` and `&` begin an alias or an anchor ({QUOTE})",
    '"a" "b"\n': ("1:5: something follows the end of the manifest (one file is one mapping, in one document)"),
    "name: !e!x a\n": f"1:7: tags (`!…`) are not used in manifests ({QUOTE})",
    "name: | a\n": "1:9: a text cannot begin on the line of `|` or `>` (begin it on the next line, indented)",
    "name: @cost\n": f"1:7: a text cannot begin with `@` ({QUOTE})",
    "%YAML x\n": "1:7: YAML cannot read this: did not find expected version number",
    "name: a\n---\nname: b\n": (
        "2:1: a second document begins here (`---`) (one file is one manifest; make it a second file)"
    ),
    "x-a: &a [*a]\n": "1:10: `*a` stands inside what it refers to: a cycle (write the value out)",
    "x-a: " + "[" * 64 + "\n": "1:69: more than 64 levels of lists and mappings (no manifest needs that)",
}


@pytest.mark.parametrize("manifest", SYNTAX)
def test_a_syntax_error_is_one_problem_with_advice(manifest: str) -> None:
    """A syntax error is told once, where it is, in the terms of a manifest, with what to write."""
    assert problems(manifest) == [SYNTAX[manifest]]


ENCODINGS = {
    b"name: caf\xe9\n": (
        "1:10: byte 0xE9 is not UTF-8 (save the file as UTF-8; it looks like Latin-1 or Windows-1252)"
    ),
    b"\xef\xbb\xbfname: a\r\nfile: \xff\n": (
        "2:7: byte 0xFF is not UTF-8 (save the file as UTF-8; it looks like Latin-1 or Windows-1252)"
    ),
    b"\xff\xfej\x00": " this file is UTF-16 (save it as UTF-8)",
    b"name: a\0b\n": (
        "1:8: the character U+0000 (NUL) cannot stand here"
        " (delete it; if it is meant, write it as an escape in double quotes)"
    ),
    "name: a\n  b\u2028c\n".encode(): (
        "2:4: the character U+2028 (LINE SEPARATOR) cannot stand here"
        " (delete it; if it is meant, write it as an escape in double quotes)"
    ),
    b"name: \x07\n": (
        "1:7: the character U+0007 (a control character) cannot stand here"
        " (delete it; if it is meant, write it as an escape in double quotes)"
    ),
}


@pytest.mark.parametrize("manifest", ENCODINGS)
def test_bytes_that_are_no_text_are_refused_at_their_place(manifest: bytes) -> None:
    """Other encodings, NUL, control characters and invisible line breaks are told with their place."""
    assert problems(manifest) == [ENCODINGS[manifest]]


STRUCTURE = {
    "": [" the manifest is empty (it needs `jobs:`, a list of jobs, and a `model:`)"],
    "# only a comment\n": [" the manifest is empty (it needs `jobs:`, a list of jobs, and a `model:`)"],
    "- prompt: a\n": ["1:1: a manifest is a mapping, not a list (begin with `jobs:` and put the list below it)"],
    "model: a/b\n": ["1:1: `jobs` is missing (add `jobs:` with a list of jobs below it)"],
    "jobs: []\n": ["1:1: `jobs` is an empty list: nothing to do (each job begins with a dash: `- prompt: …`)"],
    "jobs:\n": ["1:6: `jobs` takes a list of jobs, not nothing (each job begins with a dash: `- prompt: …`)"],
    "jobs: {prompt: a}\n": [
        "1:7: `jobs` takes a list of jobs, not a mapping (each job begins with a dash: `- prompt: …`)"
    ],
    with_jobs("- A mug\n"): ["3:3: a job is a mapping, not `A mug` (write `- prompt: …`)"],
    with_jobs("-\n"): ["3:2: a job is a mapping, not nothing (write `- prompt: …`)"],
    with_jobs("- - prompt: a\n"): [
        "3:3: a job is a mapping, not a list (one dash is enough; a job begins like this: `- prompt: …`)"
    ],
    "jobs: [{prompt: a}]\n": ["1:8: this job names no model (add `model: …` here or at the top)"],
    with_jobs("- {prompt: a, prompt: b}\n"): ["3:15: `prompt` is given twice; the first is at -:3:4 (keep one)"],
    with_jobs("- {prompt: !x a}\n"): [
        "3:12: `!x` is a tag; manifests have none (delete it; if it begins a text, put the text in quotes)"
    ],
    with_jobs("- prompt: a\n  <<: {width: 64}\n"): [
        "4:3: merge keys (`<<`) are not used in manifests (values for every job go under `defaults:`)"
    ],
    with_jobs("- prompt: *bold text\n").replace(" text", ""): [
        ("3:11: `*bold` refers to nothing (if a text is meant, put it in quotes; an alias needs `&bold` before it)")
    ],
    with_jobs("- prompt: {{ name }}\n"): [
        '3:11: an unquoted `{{` is read as a mapping in YAML (put the whole text in quotes: "{{ … }}")'
    ],
    with_jobs("- prompt: a\n  ? [b]\n  : c\n"): ["4:5: a list or mapping cannot be a key (write `key: value`)"],
    with_jobs('- prompt: "a\\0"\n'): ["3:11: the character U+0000 (NUL) cannot stand in a text (delete it)"],
    "x: &a [1]\n" + with_jobs("- {prompt: a}\n"): [
        (
            "1:1: `x` is not a key of a manifest (the keys are name, concurrency, rate, timeout,"
            " retries, on_unknown, on_bad_row, budget, halt, strict_size, max_file, output, trusted_hosts,"
            " model, defaults, jobs; a key of your own begins with x-)"
        )
    ],
    with_setting("concurency: 3"): ["1:1: `concurency` is not a key of a manifest (did you mean `concurrency`?)"],
    with_setting("prompt: a"): [
        ("1:1: `prompt` is not a key of a manifest (it belongs to a job; inputs of every job go under `defaults:`)")
    ],
    with_setting("budget: free"): ["1:9: `budget` takes an amount in USD, not `free` (write 25.00 or 25.00/day)"],
    with_setting("budget: -1"): ["1:9: `budget` takes an amount in USD, not `-1` (write 25.00 or 25.00/day)"],
    with_setting("budget: 25/week"): ["1:9: `budget` takes an amount in USD, not `25/week` (write 25.00 or 25.00/day)"],
    with_setting("halt: 0"): ["1:7: `halt` takes a number of failures or a percentage, not `0` (write 10 or 20%)"],
    with_setting("halt: 0%"): ["1:7: `halt` takes a number of failures or a percentage, not `0%` (write 10 or 20%)"],
    with_setting("halt: 101%"): [
        "1:7: `halt` takes a number of failures or a percentage, not `101%` (write 10 or 20%)"
    ],
    with_setting("on_bad_row: ignore"): ["1:13: `on_bad_row` takes `stop` or `skip`, not `ignore`"],
    with_setting("defaults: [1]"): ["1:11: `defaults` takes a mapping, not a list (write `defaults: {width: 1024}`)"],
}


@pytest.mark.parametrize("manifest", STRUCTURE)
def test_what_a_manifest_is_made_of(manifest: str) -> None:
    """Wrong nesting, keys that are unknown, doubled or not there yet are told with what would be right."""
    assert problems(manifest) == STRUCTURE[manifest]


SETTINGS = {
    "concurrency: 0": "1:14: `concurrency` is 0; it goes from 1 to 1000",
    "concurrency: 1001": "1:14: `concurrency` is 1001; it goes from 1 to 1000",
    "concurrency: auto": (
        "1:14: `concurrency` cannot be `auto`: that is not available in this version yet (write a number: 8)"
    ),
    "retries: 101": "1:10: `retries` is 101; it goes from 0 to 100",
    "retries: 1.5": "1:10: `retries` takes a whole number, not `1.5` (write it without a fraction)",
    "retries: yes": "1:10: `retries` takes a whole number, not `yes`",
    "timeout: 0": "1:10: `timeout` is `0`; it goes from above 0 to 24h",
    "timeout: 25h": "1:10: `timeout` is `25h`; it goes from above 0 to 24h",
    "timeout: 1:30": "1:10: `timeout` takes a duration, not `1:30` (write 90s, 10m or 1h30m)",
    "timeout:": "1:9: `timeout` takes a duration, not nothing (write 90s, 10m or 1h30m)",
    "timeout: [1]": "1:10: `timeout` takes one value, not a list",
    "rate: 5": "1:7: `rate` takes a rate, not `5` (write 5/s, 120/min or 500/h)",
    "rate: 0/s": ("1:7: `rate` is 0, which would never submit anything (leave the key out for no limit)"),
    "max_file: 200": ("1:11: `max_file` is `200` without a unit (write 200MB, or 200B if you mean so few bytes)"),
    "max_file: 2 gigs": "1:11: `max_file` takes a number of bytes, not `2 gigs` (write 200MB or 2GiB)",
    "max_file: 0MB": (
        "1:11: `max_file` is 0, which would refuse every file (write 200MB, or leave the key out for 2GiB)"
    ),
    "on_unknown: resubmitt": (
        "1:13: `on_unknown` takes `hold` or `resubmit`, not `resubmitt` (did you mean `resubmit`?)"
    ),
    "strict_size: yes": "1:14: `strict_size` takes `true` or `false`, not `yes` (write true)",
    "strict_size: 1": "1:14: `strict_size` takes `true` or `false`, not `1`",
    'strict_size: "true"': ('1:14: `strict_size` takes `true` or `false`, not the text "true" (drop the quotes)'),
    "trusted_hosts: a.example.com": (
        "1:16: `trusted_hosts` takes a list of host names, not `a.example.com` (write [cdn.example.com])"
    ),
    "trusted_hosts: ['https://a.b/c']": (
        "1:17: `trusted_hosts` takes host names, not `https://a.b/c`"
        " (write the name alone, without scheme, port or path: cdn.example.com or *.example.com)"
    ),
    "trusted_hosts: [10.0.0.1]": (
        "1:17: `trusted_hosts` names `10.0.0.1`, which is no public address (only public hosts can be trusted)"
    ),
    "trusted_hosts: [localhost]": (
        "1:17: `trusted_hosts` names `localhost`, a host of this machine or network (only public hosts can be trusted)"
    ),
    "name: a/b": ("1:7: `name` has a slash or backslash (the name of the batch is also the name of a folder)"),
    "name: ' '": "1:7: `name` is empty (write a text, or leave the key out)",
    "output: s3://a/b": "1:9: `output` takes a folder, not `s3://a/b` (results go to a disk of this machine)",
    'output: "a\\tb"': "1:9: `output` has a control character",
    "output: ~": ("1:9: `output` takes a text, and `~` is none (quote it if you mean the word, or leave the key out)"),
    "output: ~nobody-has-this-name/x": (
        "1:9: `output` names a home folder that is not there: `~nobody-has-this-name/x` (write the path out)"
    ),
    "x-a: 1\nmodel: 'a b'": ("2:8: `model` takes a model's id, not `a b` (it looks like vendor/family/variant/task)"),
}


@pytest.mark.parametrize("line", SETTINGS)
def test_settings_out_of_range_or_misspelt(line: str) -> None:
    """A setting that cannot be is told with its range or its notation."""
    manifest = f"{line}\njobs: [{{model: {KLEIN}, prompt: a}}]\n"
    assert problems(manifest) == [SETTINGS[line]]


JOBS = {
    "{prompt: a, width: 012}": "`width` takes a whole number, not `012` (write 12)",
    "{prompt: a, width: 0x400}": "`width` takes a whole number, not `0x400` (write 1024)",
    "{prompt: a, width: 1e3}": "`width` takes a whole number, not `1e3` (write 1000)",
    "{prompt: a, width: 1_024}": "`width` takes a whole number, not `1_024` (write 1024)",
    "{prompt: a, width: '1024'}": '`width` takes a whole number, not the text "1024" (drop the quotes)',
    "{prompt: a, width: 1024px}": "`width` takes a whole number, not `1024px` (write 1024)",
    "{prompt: a, width: +64}": "`width` takes a whole number, not `+64` (write 64)",
    "{prompt: a, width: 1:30}": "`width` takes a whole number, not `1:30`",
    "{prompt: a, width: .inf}": "`width` takes a whole number, not `.inf`",
    "{prompt: a, width: no}": "`width` takes a whole number, not `no`",
    "{prompt: a, width: 2026-11-22}": "`width` takes a whole number, not `2026-11-22`",
    "{prompt: a, width: [64]}": "`width` takes a whole number, not a list",
    "{prompt: a, width: ~}": ("`width` takes a whole number, and nothing is there (leave the key out for the default)"),
    "{prompt: a, width: 99999999999999999999}": (
        "`width` holds `99999999999999999999`, which is too large for a number (quote it if it is text)"
    ),
    "{prompt: a, width: 4096}": "`width` is 4096; the model takes 64 to 2048",
    "{prompt: a, width: 63.0}": "`width` is 63; the model takes 64 to 2048",
    "{prompt: a, size: 64x4096}": "`height` is 4096; the model takes 64 to 2048",
    "{prompt: a, size: 64*64}": "`size` takes a size, not `64*64` (write width x height in pixels: 1024x768)",
    "{prompt: a, size: [64, 64]}": (
        "`size` takes one size, not a list (write 1024x768; several sizes go under `sizes:`)"
    ),
    "{prompt: a, sizes: 64x64}": "`sizes` takes a list of sizes, not `64x64` (write [1024x1024, 768x1024])",
    "{prompt: a, sizes: []}": "`sizes` takes a list of sizes, not an empty one (write [1024x1024, 768x1024])",
    "{prompt: a, sizes: [64x64, 64 x 64]}": ("the size 64x64 is given twice; the first is at -:3:23 (keep one)"),
    "{prompt: a, size: 64x64, width: 64}": (
        "`width` stands beside `size`, at -:3:15; that sets it too (keep one of them)"
    ),
    "{prompt: a, sizes: [64x64], inputs: {height: 64}}": (
        "`height` stands beside `sizes`, at -:3:15; that sets it too (keep one of them)"
    ),
    "{prompt: a, size: 64x64, sizes: [64x64]}": ("`sizes` stands beside `size`, at -:3:15 (keep one of them)"),
    "{prompt: a, inputs: {prompt: b}}": "`prompt` is given twice: here and at -:3:4 (keep one)",
    "{prompt: a, inputs: [b]}": (
        "`inputs` takes a mapping of inputs, not a list (write `inputs: {name: value}`, or leave the key out)"
    ),
    "{width: 64}": f"`prompt` is missing (the model {KLEIN} needs it)",
    "{prompt: '  '}": "`prompt` is empty (write a text, or leave the key out)",
    "{prompt: }": "`prompt` is empty (write a text, or leave the key out)",
    "{prompt: false}": (
        "`prompt` takes a text, and `false` is none (quote it if you mean the word, or leave the key out)"
    ),
    "{prompt: [a]}": "`prompt` takes a text, not a list (put the text in quotes)",
    "{promt: a}": (f"`promt` is neither a key of a job nor an input of {KLEIN} (did you mean `prompt`?)"),
    "{prompt: a, zzz: 1}": (
        f"`zzz` is neither a key of a job nor an input of {KLEIN} (the model takes prompt, width, height)"
    ),
    "{prompt: a, concurrency: 1}": (
        f"`concurrency` is neither a key of a job nor an input of {KLEIN} (it belongs at the top of the manifest)"
    ),
    "{prompt: a, id: a/b}": "`id` has a slash or backslash (folders go into `file`)",
    "{prompt: a, id: ''}": "`id` is empty",
    "{prompt: a, id: null}": (
        "`id` takes a text, and `null` is none (quote it if you mean the word, or leave the key out)"
    ),
    "{prompt: a, id: '{{ sku }}'}": (
        "`id` holds a template, and this job has no `from`, `matrix`, `repeat` or `sizes` (write the id out)"
    ),
    "{prompt: a, file: '{{ sku }}.{{ ext }}'}": (
        "`file` uses `sku`, a name that is not known here"
        " (known: job.id, job.model, job.width, job.height, job.size, job.copy)"
    ),
    "{prompt: '{{ sizes }} mug', sizes: [64x64]}": (
        "`prompt` uses `sizes`, a name that is not known here"
        " (known: job.id, job.model, job.width, job.height, job.size, job.copy)"
    ),
    "{prompt: a, file: ../a}": "`file` has the part `..`, which leads elsewhere",
    "{prompt: a, file: .png}": "`file` is empty",
    "{prompt: a, file: con.png}": "`file` has the part `con`, which Windows keeps for a device",
}


@pytest.mark.parametrize("job", JOBS)
def test_what_is_wrong_with_one_job(job: str) -> None:
    """Each fault of a job is one problem that says what would be right."""
    told = problems(with_jobs(f"- {job}\n"))
    assert [line.split(": ", 1)[1] for line in told] == [JOBS[job]]


def test_a_fault_of_a_value_stands_at_the_value() -> None:
    """The place of a wrong value is the value, that of a missing one the job."""
    told = problems(with_jobs("- prompt: a\n  width: 012\n- height: 64\n"))
    assert [line.split(": ")[0] for line in told] == ["4:10", "5:3"]


def test_all_faults_are_told_at_once_in_order_of_place() -> None:
    """One run shows everything that is wrong: settings, defaults, every job; sorted, each once."""
    manifest = """\
        concurrency: 0
        model: blackforestlabs/flux-2-klein/4b/text-to-image
        defaults: {width: 1, steps: 4, model: a/b}
        jobs:
          - {prompt: a, height: 012}
          - {prompt: a, prompt: b, id: x}
          - {id: X, prompt: c}
          - soup
        rate: fast
        """
    assert problems(dedent(manifest)) == [
        "1:14: `concurrency` is 0; it goes from 1 to 1000",
        "3:19: `width` is 1; the model takes 64 to 2048",
        (
            f"3:22: the default `steps` is no input of {KLEIN}, the model of the job at -:5:5"
            " (the model takes prompt, width, height)"
        ),
        "3:32: `model` has no default (write `model: …` at the top)",
        "5:25: `height` takes a whole number, not `012` (write 12)",
        "6:17: `prompt` is given twice; the first is at -:6:6 (keep one)",
        (
            "7:10: the ids `X` and `x`, of the job at -:6:5, differ in case only"
            " (they are one on many disks: choose another)"
        ),
        "8:5: a job is a mapping, not `soup` (write `- prompt: …`)",
        "9:7: `rate` takes a rate, not `fast` (write 5/s, 120/min or 500/h)",
    ]


def test_a_default_that_a_model_does_not_know_names_the_job() -> None:
    """Defaults go to every job: one whose model does not take them is named by its id."""
    told = problems(f"model: {KLEIN}\ndefaults: {{seed: 3}}\njobs: [{{id: mug, prompt: a}}, {{prompt: b}}]\n")
    assert told == [
        (
            f"2:12: the default `seed` is no input of {KLEIN}, the model of job `mug`"
            " (the model takes prompt, width, height)"
        )
    ]


def test_an_alias_bomb_is_refused_before_it_goes_off() -> None:
    """A few bytes of aliases that stand for billions of values cost nothing and are an error."""
    levels = ["x-a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]\n"]
    levels += [f"x-a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)]
    (told,) = problems("".join(levels))
    assert told.endswith("aliases blow this up to over 1,000,000 values (write the jobs out)")


def test_aliases_cannot_nest_deeper_than_a_document_may() -> None:
    """Aliases of aliases reach no depth that written brackets could not."""
    deep = "x-a: &a " + "[" * 40 + "]" * 40 + "\nx-b: &b " + "[" * 40 + "*a" + "]" * 40 + "\n"
    (told,) = problems(deep)
    assert "more than 64 levels" in told


def test_ten_thousand_problems_are_kept_and_the_rest_counted() -> None:
    """A giant that is wrong everywhere does not fill the memory: problems beyond 10,000 are only counted."""
    told = problems(with_jobs("- x\n" * 10_003))
    assert len(told) == 10_001
    assert told[-1] == " 3 more problems"


def test_a_wrong_size_hides_no_other_fault() -> None:
    """A job with a size that cannot be read is checked like any other."""
    assert problems(with_jobs("- {size: big, id: a/b}\n")) == [
        f"3:3: `prompt` is missing (the model {KLEIN} needs it)",
        "3:10: `size` takes a size, not `big` (write width x height in pixels: 1024x768)",
        "3:19: `id` has a slash or backslash (folders go into `file`)",
    ]


def test_more_jobs_than_a_manifest_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest of absurd length is refused with the count, before its jobs are built."""
    monkeypatch.setattr("runner.manifest.loader.MAX_JOBS", 3)
    assert problems(with_jobs("- {prompt: a, sizes: [1x1, 2x2, 3x3]}\n- {prompt: b}\n")) == [
        "2:1: 4 jobs are more than the 3 that one manifest may have (split it)"
    ]


def test_several_wrong_hosts_are_several_problems() -> None:
    """Each item of a list has its own place and its own fault."""
    told = problems(f"trusted_hosts: [localhost, a.b:1]\nmodel: {KLEIN}\njobs: [{{prompt: a}}]\n")
    assert [line.split(": ")[0] for line in told] == ["1:17", "1:28"]
