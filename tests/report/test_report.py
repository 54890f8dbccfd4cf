"""`runner report` as a person meets it: where the page goes, what it never touches, what it says of a batch."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
import subprocess
import sys

import pytest
from PIL import Image
from support.results_folder import Shelf, data_of, picture

from runner.cli.commands.report import command
from runner.core.errors import OutputError, UsageError
from runner.core.models import State
from runner.engine.maintenance.verify import check
from runner.ledger import run_lock
from runner.report.page import MARK, script


def tree(shelf: Shelf) -> dict[str, bytes]:
    """Every file but the report and its thumbnails."""
    files = (path for path in shelf.out.rglob("*") if path.is_file())
    ours = (shelf.out / "report.html", shelf.out / ".runner/thumbnails")
    return {str(path): path.read_bytes() for path in files if path not in ours and path.parent not in ours}


@pytest.fixture
def batch(shelf: Shelf) -> Shelf:
    """Three pictures, a failure and an unknown."""
    for job_id in ("mug", "cup", "pot"):
        shelf.done(job_id)
    shelf.failed("bad", "the prompt was refused")
    shelf.unknown("lost")
    shelf.save()
    return shelf


def test_one_file_holds_the_report_and_nothing_else_is_touched(batch, capsys):
    """It lies beside the pictures, and says where and how large it is."""
    before = tree(batch)
    path = batch.report()
    assert tree(batch) == before
    assert capsys.readouterr().out == f"{path}: 5 jobs, 0.1 MB\n"
    page = path.read_text(encoding="utf-8")
    assert page.startswith(MARK)
    assert page.count("data:image/webp;base64,") == 3
    assert {card["id"]: card["state"] for card in data_of(page)["cards"]} == {
        "bad": "failed",
        "lost": "unknown",
        "mug": "done",
        "cup": "done",
        "pot": "done",
    }


def test_a_second_report_takes_the_place_of_the_first(batch):
    """As the batch stands then."""
    batch.report()
    batch.done("new")
    assert "new" in [card["id"] for card in data_of(batch.report().read_text())["cards"]]


@pytest.mark.parametrize("body", [b"", b"<!doctype html><h1>my own</h1>", b"\xff\xfe"])
def test_somebody_elses_file_stays(batch, body):
    """Only what begins as a report of ours is written over."""
    target = batch.out / "report.html"
    target.write_bytes(body)
    with pytest.raises(UsageError, match="--to"):
        batch.report()
    assert target.read_bytes() == body


def test_a_folder_or_a_loose_link_in_the_way_is_said(batch):
    """No error of Python's."""
    (batch.out / "report.html").symlink_to("nowhere")
    with pytest.raises(UsageError):
        batch.report()
    (batch.out / "report.html").unlink()
    (batch.out / "report.html").mkdir()
    with pytest.raises(UsageError):
        batch.report()


def test_elsewhere_its_links_still_lead_to_the_files(batch):
    """Relative to where the page is."""
    where = batch.folder / "reports" / "today.html"
    where.parent.mkdir()
    batch.report("--to", str(where))
    assert not (batch.out / "report.html").exists()
    links = [card["link"] for card in data_of(where.read_text())["cards"] if card["pictured"]]
    assert links == ["./../out/mug.png", "./../out/cup.png", "./../out/pot.png"]
    assert all((where.parent / link).is_file() for link in links)


def test_a_place_that_cannot_be_written_is_said(batch):
    """With the path, and nothing is left half."""
    with pytest.raises(OutputError, match="cannot be written"):
        batch.report("--to", str(batch.folder / "no/such/folder.html"))


def test_thumbnails_beside_the_page_make_it_small(batch):
    """They are files of `.runner/thumbnails`, which `verify` does not take for pictures."""
    page = batch.report("--thumbnails", "beside").read_text()
    sources = [card["thumb"] for card in data_of(page)["cards"] if card["thumb"]]
    assert len(sources) == 3
    assert all((batch.out / source).is_file() for source in sources)
    assert "data:image" not in page


def test_verify_still_finds_all_in_order(batch):
    """Neither page nor thumbnails are foreign to it."""
    from runner.files.output_folder import Folder
    from runner.ledger import open_reader

    batch.report()
    folder = Folder(batch.out)
    with open_reader(folder.root) as ledger:
        assert check(ledger, folder).wrong == ()


def test_it_needs_no_lock(batch):
    """It works while a run holds the folder."""
    with run_lock(batch.out, "2026-11-22T10:00:00.000Z"):
        batch.report()


def test_missing_and_altered_pictures_are_named(batch):
    """Found by looking at each file, not taken from the record."""
    (batch.out / "mug.png").unlink()
    (batch.out / "cup.png").write_bytes(b"painted over")
    cards = data_of(batch.report().read_text())["cards"]
    assert {card["id"]: card["state"] for card in cards if card["state"] != "done"} == {
        "bad": "failed",
        "lost": "unknown",
        "mug": "missing",
        "cup": "altered",
    }


def test_of_a_job_bought_again_the_one_in_force_is_shown_and_all_are_paid(batch):
    """A redo that failed leaves the old picture in force; what it cost counts."""
    batch.failed("mug", purchase=2, cost_usd=1.0, request_id="r2")
    page = batch.report().read_text()
    assert [card["state"] for card in data_of(page)["cards"] if card["id"] == "mug"] == ["done"]
    assert "<dd>1.02</dd>" in page


def test_an_open_question_is_shown_before_the_picture_in_force(batch):
    """As `status` counts it: a person must see it."""
    batch.unknown("mug", purchase=2)
    cards = data_of(batch.report().read_text())["cards"]
    assert [card["state"] for card in cards if card["id"] == "mug"] == ["unknown"]


MANIFEST = """\
model: blackforestlabs/flux-2-klein/4b/text-to-image
output: out
defaults: {width: 64, height: 64}
jobs: [{id: mug, prompt: a}, {id: brandnew, prompt: b}]
"""


def test_the_manifest_tells_what_was_not_tried_and_how_to_run_again(batch):
    """The command is the one the person would type."""
    manifest = batch.folder / "my batch.yaml"
    manifest.write_text(MANIFEST)
    command.main([str(manifest)], standalone_mode=False)
    page = (batch.out / "report.html").read_text()
    assert re.search(r"not tried yet</dt><dd>1<", page)
    assert shlex.split(data_of(page)["target"]) == [str(manifest)]
    command.main([str(manifest), "--output", str(batch.out)], standalone_mode=False)
    page = (batch.out / "report.html").read_text()
    assert shlex.split(data_of(page)["target"])[1:] == ["--output", str(batch.out)]


def test_from_the_folder_alone_the_records_name_the_manifest(batch, monkeypatch):
    """Seen from where the person stands; with the emulator where that made them."""
    monkeypatch.chdir(batch.folder)
    assert data_of(batch.report().read_text())["target"] == "batch.yaml --output out"
    batch.done("e", api="emulator")
    assert data_of(batch.report().read_text())["target"] == "batch.yaml --output out --emulator"
    batch.done("f", manifest="-")
    assert "runner run MANIFEST --output" in batch.report().read_text()


def test_a_batch_without_any_picture_has_a_report(shelf):
    """Nothing delivered, no times: no plots, and no error."""
    shelf.add("a", State.SUBMITTING)
    page = shelf.report().read_text()
    assert "<svg" not in page
    assert data_of(page)["cards"][0]["state"] == "unknown"


def test_an_empty_batch_has_a_report(shelf):
    """A run that was refused at once leaves an empty record."""
    assert data_of(shelf.report().read_text())["cards"] == []


def test_without_results_it_says_so(tmp_path):
    """Nothing was run there yet."""
    with pytest.raises(UsageError, match="no run has used this folder"):
        command.main([str(tmp_path)], standalone_mode=False)


def test_the_command_line_warns_of_nothing(batch):
    """With every warning an error, in a process of its own."""
    arguments = [sys.executable, "-W", "error", "-m", "runner", "report", str(batch.out)]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_video_has_a_card_that_leads_to_it(shelf):
    """No preview is made of it."""
    shelf.file("clip", "mp4", "video/mp4", b"\0\0\0\x18ftypmp42")
    (card,) = data_of(shelf.report().read_text())["cards"]
    assert (card["state"], card["kind"], card["link"], card["thumb"]) == ("done", "video", "./clip.mp4", "")


def test_a_text_is_on_the_page_in_bounds_and_leads_to_the_whole(shelf):
    """Escaped like all else; a book is not copied into a page that is to open quickly."""
    shelf.file("short", "txt", "text/plain", b"<b>bold</b>\n& more")
    shelf.file("long", "json", "application/json", b'{"words": "' + b"mug " * 100_000 + b'"}')
    page = shelf.report().read_text()
    assert "<b>bold" not in page
    short, long = data_of(page)["cards"]
    assert (short["text"], short["cut"], short["link"]) == ("<b>bold</b>\n& more", False, "./short.txt")
    assert (len(long["text"]), long["cut"], long["link"]) == (4000, True, "./long.json")
    assert long["other"] == "application/json, 400,013 bytes"


def test_kinds_are_counted_and_can_be_chosen(shelf):
    """Only where there is more than one."""
    shelf.done("a")
    assert "All kinds" not in shelf.report().read_text()
    shelf.file("b", "wav", "audio/wav", b"RIFF")
    shelf.file("c", "zip", "application/zip", b"PK")
    page = shelf.report().read_text()
    assert '<option value="audio">audio (1)</option>' in page
    for words in ("pictures", "sounds", "other files"):
        assert f"<div><dt>{words}</dt><dd>1</dd></div>" in page


def chosen(shelf: Shelf, **marks: str) -> str:
    """A selection as the page saves it."""
    of = {made.id: made.outputs[0] for made in shelf.records if made.outputs}
    pictures = [
        {"id": i, "file": of[i].path, "sha256": of[i].sha256, "mark": mark, "reason": "", "note": f"note on {i}"}
        for i, mark in marks.items()
    ]
    path = shelf.folder / "selection.json"
    path.write_text(json.dumps({"version": 1, "batch": "out", "pictures": pictures}))
    return str(path)


def test_a_contact_sheet_has_the_picked_pictures_with_their_notes(batch, capsys):
    """A page to print, without a script; the report stays as it is."""
    selection = chosen(batch, mug="pick", cup="reject")
    batch.save()
    command.main([str(batch.out), "--selection", selection, "--contact-sheet"], standalone_mode=False)
    page = (batch.out / "contact-sheet.html").read_text()
    assert re.findall(r"<h2>(.*)</h2>", page) == ["mug"]
    assert "note on mug" in page
    assert page.count("data:image/webp;base64,") == 1
    assert "<script" not in page
    assert not (batch.out / "report.html").exists()
    assert "1 picture," in capsys.readouterr().out


@pytest.mark.parametrize("prompts", [False, True])
def test_a_shared_page_has_proofs_and_no_addresses(shelf, prompts):
    """It needs nothing beside it: no links, ids of requests, costs or failures; prompts only if asked for."""
    shelf.done("large", body=picture(1600, 1200), inputs={"prompt": "secret words", "style": "hidden style"})
    shelf.done("small", file="inner-folder/small")
    shelf.failed("bad")
    shelf.file("sound", "wav", "audio/wav", b"RIFF")
    shelf.save()
    command.main([str(shelf.out), "--share", *(["--with-prompts"] if prompts else [])], standalone_mode=False)
    page = (shelf.out / "share.html").read_text()
    cards = data_of(page)["cards"]
    assert [card["id"] for card in cards] == ["large", "small"]
    assert all(card["link"].startswith("data:image/webp;base64,") for card in cards)
    with Image.open(io.BytesIO(base64.b64decode(cards[0]["link"].partition(",")[2]))) as proof:
        assert proof.size == (800, 600)
    assert ("secret words" in page) == prompts
    for hidden in ("hidden style", "./", "req-", "runcomfy.com", "0.0045", str(shelf.folder), "runner run"):
        assert hidden not in page.replace("<script>" + script(), "")


def test_a_selection_limits_what_is_shared(batch):
    """To the picked ones; those that are gone are counted."""
    selection = chosen(batch, mug="reject", pot="pick")
    batch.save()
    command.main([str(batch.out), "--selection", selection, "--share"], standalone_mode=False)
    assert [card["id"] for card in data_of((batch.out / "share.html").read_text())["cards"]] == ["pot"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--contact-sheet"], "name the selection"),
        (["--contact-sheet", "--share"], "one at a time"),
        (["--selection", "{}"], "goes with --contact-sheet or --share"),
        (["--with-prompts"], "goes with --share"),
        (["--selection", "nosuch.json", "--share"], "cannot be read"),
        (["--selection", "{}", "--share"], "none of them is in"),
    ],
)
def test_options_that_do_not_go_together_are_said(batch, options, said):
    """Nothing is written."""
    selection = chosen(batch)
    batch.save()
    with pytest.raises(UsageError, match=said):
        command.main([str(batch.out), *(one.format(selection) for one in options)], standalone_mode=False)
    assert list(batch.out.glob("*.html")) == []


def test_what_a_run_works_on_is_in_flight(shelf):
    """While it holds the folder; afterwards it is what the next run fetches."""
    shelf.add("a", State.SUBMITTED, request_id="r")
    shelf.save()
    with run_lock(shelf.out, "2026-11-22T10:00:00.000Z"):  # held by this process, so that another must look
        subprocess.run([sys.executable, "-m", "runner", "report", str(shelf.out)], check=True, capture_output=True)
    page = (shelf.out / "report.html").read_text()
    assert data_of(page)["cards"][0]["state"] == "running"
    assert "1 job is in flight" in page
    assert "Needs you" not in page
    page = shelf.report().read_text()
    assert data_of(page)["cards"][0]["state"] == "owed"
    assert "For the next run" in page
