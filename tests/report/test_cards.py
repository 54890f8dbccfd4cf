"""What is said of each job: its state, its money, what to do, and what it is a variant of."""

from __future__ import annotations

import pytest
from support.results_folder import changed, record

from runner.core.copies import CopyFile
from runner.core.models import Fault, Output, State
from runner.report.cards import CardSources, make_cards
from runner.report.model_table import table
from runner.report.thumbnails import Look, PictureCondition

RIGHT = Look(stand=PictureCondition.RIGHT)
OUTPUT = Output(url="https://x/1", path="a.png", sha256="0" * 64, bytes=9, width=1024, height=768)


def card(made, look=RIGHT):
    (only,) = make_cards([made], CardSources(looks={(made.id, 1): look}))
    return only


STUCK = Fault(code="expired", message="gone")
CASES = {
    "failed": record("a", State.FAILED),
    "unknown": record("a", State.UNKNOWN),
    "an intent": record("a", State.SUBMITTING),
    "stuck": record("a", State.SUBMITTED, request_id="r", error=STUCK),
    "owed": record("a", State.GENERATED, request_id="r", outputs=(OUTPUT,)),
    "cancelled": record("a", State.CANCELLED),
    "refused": record("a", State.RELEASED),
    "passed over": record("a", State.SUBMITTED, request_id="r", error=STUCK, rebuy=True),
}
STATES_OF_CASES = ["failed", "unknown", "unknown", "stuck", "owed", "cancelled", "left", "left"]


@pytest.mark.parametrize(
    ("made", "state"),
    list(zip(CASES.values(), STATES_OF_CASES, strict=True)),
    ids=CASES,
)
def test_what_is_not_done_says_what_it_costs_and_what_to_do(made, state):
    """No picture, the state as `status` counts it, and words for both."""
    shown = card(made)
    assert (shown.state, shown.pictured, shown.path) == (state, False, "")
    assert shown.means
    assert shown.advice


def test_a_card_names_the_copies_of_its_file():
    """Those that were made of its bytes, for the links in the large view."""
    copies = tuple(
        CopyFile(path=path, bytes=1, sha256="1" * 64, recipe="0", of=of * 64, media_type="image/jpeg")
        for path, of in (("web/a.jpg", "0"), ("web/b.jpg", "f"))
    )
    assert list(card(record("a", outputs=(OUTPUT,), copies=copies)).copies) == ["web/a.jpg"]


@pytest.mark.parametrize(("stand", "state"), [("right", "done"), ("altered", "altered"), ("missing", "missing")])
def test_a_done_job_is_as_its_file_is(stand, state):
    """Altered pictures are still shown, missing ones told with the failures."""
    shown = card(record("a", outputs=(OUTPUT,)), Look(stand=PictureCondition(stand)))
    assert (shown.state, shown.pictured) == (state, stand != "missing")


def test_what_a_run_works_on_is_in_flight_and_not_in_doubt():
    """While it works; a stuck one still needs a person, and afterwards everything is told as it stands."""
    for name in ("an intent", "owed"):
        (shown,) = make_cards([CASES[name]], CardSources(busy=True))
        assert (shown.state, shown.why) == ("running", "")
    for name in ("stuck", "unknown", "failed", "refused"):
        assert make_cards([CASES[name]], CardSources(busy=True)) == make_cards([CASES[name]], CardSources())


def test_a_refusal_cost_nothing_and_a_failure_what_is_billed():
    """The word for the money depends on whether a request was made."""
    fault = Fault(code="422001", message="no", http_status=422)
    refused = card(record("a", State.FAILED, error=fault))
    assert (refused.cost, refused.why) == ("$0.0000", "422001 (HTTP 422): no")
    assert "nothing is paid" in refused.means
    failed = card(record("a", State.FAILED, error=fault, request_id="r"))
    assert (failed.cost, failed.cost_usd) == ("≤ $0.0090", 0.009)
    healing = card(record("a", State.FAILED, error=Fault(code="5", message="x", retryable=True), request_id="r"))
    assert "next run buys it again" in healing.advice
    assert "Change its inputs" in failed.advice


def test_a_request_with_several_files_has_a_card_each_and_is_paid_once():
    """The first bears the cost."""
    made = record("a", outputs=(OUTPUT, changed(OUTPUT, path="a-2.png")), cost_usd=0.02, request_id="r")
    shown = make_cards([made], CardSources(looks={("a", 1): RIGHT, ("a", 2): RIGHT}))
    assert [(one.part, one.path, one.cost, one.cost_usd) for one in shown] == [
        ("1 of 2", "a.png", "$0.0200", 0.02),
        ("2 of 2", "a-2.png", "with the first", 0.0),
    ]


def test_the_size_is_the_files_else_what_was_asked_for():
    """Services round sizes; a warning says so."""
    done = card(record("a", outputs=(OUTPUT,), warning="size"))
    assert (done.size, done.warning) == ("1024×768", "another size than requested")
    assert card(record("a", State.FAILED)).size == "64×48"
    assert card(record("a", State.FAILED, inputs={"width": "wide"})).size == ""


@pytest.mark.parametrize("inputs", [{}, {"prompt": None}, {"prompt": {"scene": [1]}}, {"prompt": 7, "seed": 1.5}])
def test_inputs_of_any_shape_are_shown(inputs):
    """Some models take no prompt, or one that is no text."""
    assert isinstance(card(record("a", State.FAILED, inputs=inputs)).prompt, str)


def test_the_table_counts_jobs_and_bills_all_purchases():
    """Older purchases of a job were paid too."""
    now = [record("a", purchase=2, cost_usd=0.5, outputs=(OUTPUT,)), record("b", State.UNKNOWN)]
    (row,) = table(now, [record("a", cost_usd=0.25), *now])
    assert (row.jobs, row.done, row.open, row.failed) == (2, 1, 1, 0)
    assert row.usd == pytest.approx(0.759)
    assert row.median_seconds is None


def test_a_file_that_is_no_picture_is_shown_by_its_kind_and_length():
    """And an output that could not be had says why, on a card of its own."""
    sound = changed(OUTPUT, path="a.wav", media_type="audio/wav", bytes=16044, width=None, height=None)
    gone = Output(url="https://a/2", error=Fault(code="storage", message="the storage answers HTTP 404"))
    made = record("a", outputs=(sound, gone), request_id="r", warning="partial")
    shown, missing = sorted(make_cards([made], CardSources(looks={("a", 1): RIGHT})), key=lambda one: one.part)
    assert (shown.other, shown.state, shown.kind) == ("audio/wav, 16,044 bytes", "done", "audio")
    assert (missing.state, missing.why) == ("missing", "the storage answers HTTP 404")
    assert shown.warning == "unavailable outputs"
    assert card(record("a", outputs=(OUTPUT,))).other == ""


@pytest.mark.parametrize(
    ("path", "media_type", "found", "kind"),
    [
        ("a.png", "image/png", {"thumbnail": b"x"}, "picture"),
        ("a.avif", "image/avif", {}, "picture"),
        ("a.mp4", "video/mp4", {}, "video"),
        ("a.mp3", "Audio/mpeg", {}, "audio"),
        ("a.txt", "text/plain", {"text": "words"}, "text"),
        ("a.txt", "text/plain", {}, "file"),
        ("a.html", "text/html", {}, "file"),
        ("a.svg", "image/svg+xml", {}, "file"),
        ("a.SVG", "image/png", {"thumbnail": b"x"}, "file"),
        ("a.svgz", "image/webp", {}, "file"),
        ("a.heic", "image/heic", {}, "file"),
        ("a.glb", "model/gltf-binary", {}, "file"),
        ("a", "<script>", {}, "file"),
    ],
)
def test_a_file_is_shown_by_what_it_is(path, media_type, found, kind):
    """A drawing never as a picture, whatever its record says: a browser goes by the name and it could hold scripts."""
    output = changed(OUTPUT, path=path, media_type=media_type)
    look = Look(stand=PictureCondition.RIGHT, **found)
    (shown,) = make_cards([record("a", outputs=(output,), request_id="r")], CardSources(looks={("a", 1): look}))
    assert shown.kind == kind


@pytest.mark.parametrize(
    ("path", "label"), [("a.glb", "GLB"), ("a", "FILE"), ("a.<b>", "FILE"), ("a.safetensors", "FILE"), ("b/a.7z", "7Z")]
)
def test_a_label_is_a_short_ending_or_none(path, label):
    """Other endings could be anything."""
    made = record("a", outputs=(changed(OUTPUT, path=path),), request_id="r")
    (shown,) = make_cards([made], CardSources(looks={("a", 1): RIGHT}))
    assert shown.label == label
