"""All that is read and was written elsewhere: each reader takes it or refuses it in its own words, never otherwise."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import strategies as st
from PIL import Image
from support.fuzzing import fuzz
from support.media import inspect_bytes
from support.results_folder import PAYLOADS, record
from yarl import URL

import runner
from runner.api.fields import Answer
from runner.api.outputs import find_outputs, read_data
from runner.api.responses import Accepted, read_cancel, read_entry, read_progress, read_submission
from runner.core.errors import LedgerCorrupt
from runner.core.models import Fault, Output, Record, State
from runner.engine.billing.costs import basis_of, spent
from runner.engine.billing.receipts import receipts
from runner.engine.steps.poll import after_end
from runner.files.containers import BadMedia
from runner.files.urls import STORAGE, RefusedUrl, UrlPolicy
from runner.ledger import Log
from runner.ledger.records import BadLine, decode, encode, follow, is_inside, line_of
from runner.ledger.repair import salvage
from runner.manifest import check_file_name, check_id
from runner.report.escaping import Thumbs
from runner.report.page import ReportData, render

ROOT = Path(__file__).parents[2]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(PAYLOADS)


def broken(sound: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of ``sound``, with stretches cut out, doubled, or replaced by others or by anything."""
    piece = st.binary(max_size=6) | st.sampled_from([b"{{", b"}}", b"\x00", b"\xff", b"*a", b"&a ", b"9" * 30, b"../"])
    change = st.tuples(st.floats(0, 1), st.integers(0, 12), piece)

    def spoil(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
        for where, length, put in changes:
            at = int(where * len(data))
            data = data[:at] + put + data[at + length :]
        return data

    return st.builds(spoil, st.sampled_from(sound), st.lists(change, max_size=6))


def joined(tokens: list[str], size: int = 30) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(tokens) | TEXT, max_size=size).map("".join)


# Manifests, feeds, templates

MANIFESTS = [path.read_bytes() for path in sorted((ROOT / "jobs").glob("*.yaml"))]
MANIFESTS += [path.read_bytes() for path in sorted((ROOT / "tests/manifest/broken").rglob("*.yaml"))]
YAML = ["\n", "\n  ", "\n- ", ": ", "? ", "[", "]", "{", "}", ",", "&a ", "*a", "<<", "!!int ", "|", ">", '"', "'", "#",
        " #", "---", "%YAML 1.1", "\t", "jobs", "id", "prompt", "size", "64x64", "matrix", "from", "repeat", "file",
        "x-a", "model", "0", "1e3", "~", "true", "{{ ", " }}", "sizes", "budget", "exclude"]  # fmt: skip
TEMPLATE = [
    *("{{ ", " }}", "{% if ", "%}", "{% endif %}", "{% for x in row %}", "{% set a=1 %}", "{#", "row", "sku", "job.id"),
    *("|", "upper", "slug", "int", "round", "replace", "truncate", "join", "split", "tojson", "default", "(", ")", ","),
    *("[", "]", ":", "'", '"', ".", "__class__", "mro", "*", "**", "%", "//", "/", "~", "+", "-", "9" * 50, "1e9", " "),
    *("not ", " is ", "defined", "if ", "else ", "range", "[0]", "{'a': sku}"),
]
START = b"model: blackforestlabs/flux-2-klein/4b/text-to-image\njobs:\n"


def load(folder: Path, text: bytes) -> None:
    """What is let in can be bought and delivered; what is not says where and what."""
    path = folder / "batch.yaml"
    path.write_bytes(text)
    try:
        manifest = runner.load(path)
    except runner.ManifestError as refusal:
        problems = refusal.problems
        assert problems
        assert all(problem.what and "\n" not in str(problem) for problem in problems)
        return
    for job in manifest.jobs:
        assert check_id(job.id) is None
        assert check_file_name(job.file) is None
        assert is_inside(job.file)
        line_of(record(job.id, State.SUBMITTING, inputs=job.inputs, file=job.file, numbered_at=job.numbered_at))
    manifest.jobs.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@fuzz(text=broken(MANIFESTS))
def test_a_spoiled_manifest(folder: Path, text: bytes) -> None:
    """Bytes changed at random."""
    load(folder, text)


@fuzz(text=joined(YAML))
def test_a_manifest_of_yamls_own_signs(folder: Path, text: str) -> None:
    """What only a grammar finds."""
    load(folder, START + b"- " + text.encode())


@fuzz(prompt=joined(TEMPLATE, 14), key=st.sampled_from(["prompt", "id", "file", "width"]))
def test_a_template(folder: Path, prompt: str, key: str) -> None:
    """Bounded, whatever it says; no code, no attribute of an object."""
    (folder / "feed.csv").write_text("sku,name\nmug,Mug\n" + "x" * 5000 + ",=1\n")
    entry = {"from": "feed.csv", "prompt": "{{ name }}", "id": "{{ sku|truncate(20) }}", key: prompt}
    load(folder, START + b"- " + msgspec.json.encode(entry))


FEEDS = [b'sku,name\nmug,Mug\n"a ""b""",c\n', b"sku\tname\nmug\tMug\n", b'{"sku": "mug", "name": "\\ud83d\\ude00"}\n']


@fuzz(text=broken(FEEDS), kind=st.sampled_from(["csv", "tsv", "jsonl"]))
def test_a_feed(folder: Path, text: bytes, kind: str) -> None:
    """As data for templates, and as jobs."""
    (folder / f"feed.{kind}").write_bytes(text)
    load(folder, START + b'- {from: feed.%b, id: "{{ sku }}", prompt: "{{ name }}"}' % kind.encode())
    load(folder, START + b"- {from: feed.%b}" % kind.encode())


# What the API and the storage say

DONE = {"images": ["https://a.runcomfy.net/1.png"]}
TIMED = {"created_at": "2026-11-22T01:02:03Z", "finished_at": "2026-11-22T01:02:04Z"}
WRONG = [{"loc": ["body", "width"], "msg": "too large"}]
ANSWERS: list[dict[str, Any]] = [
    {"request_id": "r-1", "status": "completed", "output": DONE, "cost": 0.0045, **TIMED},
    {"request_id": "r-1", "status_url": "https://x/y", "result_url": "", "cancel_url": ""},
    {"request_id": "r-1", "status": "failed", "error": {"code": 500001, "message": "worker lost"}, "cost": 1e308},
    {"error_code": "400002", "error_message": "no balance left", "detail": WRONG},
    {"status": "in_queue", "queue_position": 3, "request_id": "r-1", "outcome": "cancelled"},
    {"model_id": "a/b", "base_price_usd": 0.1, "price_unit": "output", "input_schema": {"type": "object"}},
]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT


def holders(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)


VALUES = st.recursive(SCALARS, holders, max_leaves=8)
NAMES = sorted({name for answer in ANSWERS for name in answer} | {"message", "error_message", "pricing_note"})
MADE = st.dictionaries(st.sampled_from(NAMES), VALUES | st.sampled_from(["completed", "failed", "r-1"]))
BODIES = (
    broken([msgspec.json.encode(answer) for answer in ANSWERS]) | MADE.map(msgspec.json.encode) | st.binary(max_size=30)
)
HEADERS = st.none() | st.sampled_from(["1", "-1", "1e99", "Wed, 21 Oct 2099 07:28:00 GMT", "\x00", "9" * 400]) | TEXT


@fuzz(status=st.integers(100, 599), body=BODIES, retry_after=HEADERS, date=HEADERS)
def test_an_answer(status: int, body: bytes, retry_after: str | None, date: str | None) -> None:
    """Whatever it says, what follows can be recorded: no request in hand is lost to a line that cannot be written."""
    answer = Answer(status=status, body=body, retry_after=retry_after, date=date)
    accepted = read_submission(answer)
    owed = record("mug", State.SUBMITTED, request_id="r-1")
    if isinstance(accepted, Accepted):
        line_of(follow(owed, State.SUBMITTED, "now", request_id=accepted.request_id))
    elif (fault := getattr(accepted, "fault", None)) is not None:
        line_of(follow(owed, State.UNKNOWN, "now", error=fault))
    for from_status in (False, True):
        progress = read_progress(answer, "r-1", from_status=from_status)
        following = after_end(owed, progress, "now")
        if following is not None:
            line_of(following)
        assert float("inf") > (getattr(progress, "retry_after", None) or 0.0) >= 0
    read_cancel(answer, "r-1")
    read_entry(answer, "a/b")


URLS = [
    *("https://", "http://", "HTTPS:", "//", "/", "\\", "@", ":", "#", "?", "%", "%2e", "%40", ".", "[", "]", "::1"),
    *("127.0.0.1", "0x7f.1", "2130706433", "localhost", "a.runcomfy.net", "runcomfy.com", "evil.example"),
    *(
        ".runcomfy.net",
        "①",
        "。",
        "\t",
        "\n",
        "\u00ad",
        "\u200b",
        "ﬀ",
        "xn--",
        ":443",
        ":0",
        ":99999",
        "//evil.example",
    ),
]


@fuzz(url=joined(URLS, 8), api=st.sampled_from(["https", "http"]))
def test_an_address(url: str, api: str) -> None:
    """What is let through is, for the library that connects as well, one of the hosts that files may come from."""
    origin = (api, "127.0.0.1" if api == "http" else "api.example", 8080)
    try:
        UrlPolicy(api=origin, trusted_hosts=()).check(url)
    except RefusedUrl:
        return
    try:
        seen = URL(url)
    except ValueError:
        return  # the library refuses it by itself
    host = (seen.raw_host or "").removesuffix(".")
    stored = seen.scheme == "https" and any(host.endswith(name[1:]) for name in STORAGE)
    assert stored or (seen.scheme, host, seen.port) == origin, (url, seen)
    assert seen.raw_user is None
    assert urlsplit(url).scheme in ("http", "https")


@fuzz(output=VALUES)
def test_an_output(output: Any) -> None:
    """The addresses in it are texts, without repeats."""
    found = find_outputs(output)
    assert len(set(found)) == len(found)
    assert all(url.startswith(("http://", "https://", "data:", "/")) for url in map(str.lower, found))
    assert all(read_data(url, 1 << 20) is not None for url in found if url.startswith(("data:text/", "data:appl")))


def picture(kind: str) -> bytes:
    body = io.BytesIO()
    Image.new("RGB", (9, 7), (90, 40, 160)).save(body, kind)
    return body.getvalue()


@fuzz(body=broken([picture(kind) for kind in ("PNG", "JPEG", "WEBP", "GIF")]))
def test_a_picture(body: bytes) -> None:
    """Whole or refused, and no size that nobody could look at."""
    try:
        media = inspect_bytes(body)
    except BadMedia:
        return
    assert media.bytes == len(body)
    assert media.width is None or 0 < media.width * (media.height or 1) < 10**9


# Results manifests

LINES = [
    encode(record(name, state, request_id=f"r-{name}", outputs=(Output(url="https://a/1", path=f"{name}.png"),)))
    for name, state in zip("abcd", (State.DONE, State.SUBMITTED, State.UNKNOWN, State.GENERATED), strict=True)
]
LOGS = [b"".join(LINES), b"".join(LINES * 2), LINES[1]]


@fuzz(data=broken(LOGS))
def test_a_log(folder: Path, data: bytes) -> None:
    """It opens, or is refused and mended; what was mended opens, and nothing that was owed is bought anew."""
    path = folder / "log/results.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    try:
        records = list(_latest(path))
    except LedgerCorrupt:
        mended = salvage(io.BytesIO(data), at="2026-11-22T01:02:03.456Z", api="api")
        path.write_bytes(b"".join(mended.written()))
        records = list(_latest(path))
    for found in records:
        assert decode(encode(found)) == found


def _latest(path: Path) -> list[Record]:
    log = Log(path, writable=False)
    try:
        return list(log.latest())
    finally:
        log.close()


NUMBERS = st.none() | st.integers(-(10**30), 10**30) | st.sampled_from([0, 1, 64, 10**4000])
TIMES = (
    st.none() | TEXT | st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-22T00:00Z"])
)
MONEY = st.none() | st.floats(0, 1e9)
RECORDS = st.builds(
    record,
    TEXT.filter(bool),
    st.sampled_from(State),
    inputs=st.dictionaries(st.sampled_from(["prompt", "width", "height"]) | TEXT, VALUES | NUMBERS),
    model=TEXT,
    file=TEXT.filter(bool),
    at=TIMES.filter(lambda value: value is not None),
    submitted_at=TIMES,
    completed_at=TIMES,
    cost_usd=MONEY,
    reserved_usd=MONEY,
    request_id=st.none() | TEXT,
    error=st.none() | st.builds(Fault, code=TEXT, message=TEXT, http_status=NUMBERS),
    warning=st.none() | TEXT,
    outputs=st.lists(
        st.builds(Output, url=TEXT, path=st.none() | TEXT.filter(bool), media_type=st.none() | TEXT, width=NUMBERS,
                  height=NUMBERS, bytes=NUMBERS), max_size=3).map(tuple),
)  # fmt: skip


@fuzz(records=st.lists(RECORDS, max_size=4))
def test_a_page(records: list[Record]) -> None:
    """Any records make a page, and rows of receipts, to a billionth of a dollar."""
    batch = ReportData(
        name="x", root=Path("/out"), records=records, purchases=records, looks={}, untried=0, command="", now=0.0
    )
    assert render(batch, Path("/out"), Thumbs.EMBED).count("<script") == 2
    for one in records:
        assert spent(one) >= 0
        assert basis_of(one)
        rows = list(receipts(one, in_force=False, path_of=lambda output: output.path))
        assert sum(row.spent_usd or 0 for row in rows) == pytest.approx(spent(one), abs=1e-9)


@fuzz(data=broken(LINES) | st.binary(max_size=60))
def test_a_line(data: bytes) -> None:
    """A record or a refusal."""
    read: Callable[[bytes], Record] = decode
    try:
        found = read(data)
    except BadLine as refusal:
        words = str(refusal)
        assert len(words) < 1000
        return
    assert is_inside(found.file)
