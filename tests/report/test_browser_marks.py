"""Choosing in a real browser: marks, undo, notes, and the selection as a file."""

from __future__ import annotations

import json

import pytest
from support.browser import Visit
from support.results_folder import Shelf, picture
from support.sampling import sampled

NAMES = [f"kit-{sku}-{view}" for sku in (1001, 1002, 1003) for view in ("front", "side")]


def fill(shelf: Shelf, names: list[str] = NAMES) -> None:
    """Pictures, no two alike."""
    for number, name in enumerate(names):
        shelf.done(name, body=picture(40 + number, 30))


@pytest.fixture
def opened(visit: Visit, shelf: Shelf) -> Visit:
    fill(shelf)
    visit.page.goto(shelf.report().as_uri())
    return visit


def marks(visit: Visit) -> dict[str, str]:
    return {one["id"]: one["mark"] for one in visit.save()["pictures"]}


def test_keys_mark_the_current_picture_and_go_on(opened):
    """A second press takes the mark back and stays; undo goes back, any number of steps."""
    opened.press("p", "x", "p")
    assert (opened.counts, opened.current) == ((2, 1), "kit-1002-side")
    opened.press("ArrowLeft", "p")
    assert (opened.counts, opened.current) == ((1, 1), "kit-1002-front")
    opened.press("u", "u", "u")
    assert (opened.counts, opened.current) == ((1, 0), "kit-1001-side")
    opened.press("u", "u", "u")
    assert opened.counts == (0, 0)
    assert "Nothing to undo" in opened.page.locator("#said").inner_text()


@pytest.mark.slow
def test_a_picture_off_the_screen_is_not_marked(visit, shelf):
    """The key makes the first one on the screen the current one, says so, and marks nothing."""
    fill(shelf, [f"{number:03}" for number in range(120)])
    visit.page.goto(shelf.report().as_uri())
    visit.press("l")
    visit.page.evaluate("scrollTo(0, 1500)")
    visit.until("[...document.querySelectorAll('.tile')].some(one => one.getBoundingClientRect().top > 50)")
    visit.press("x")
    assert visit.counts == (0, 0)
    assert visit.current != "000"
    now = visit.current
    assert f"Now at {now}" in visit.page.locator("#said").inner_text()
    visit.press("x")
    assert marks(visit) == {now: "reject"}


@pytest.mark.slow
def test_reasons_and_notes_are_kept_with_the_mark(opened):
    """`1` to `3` reject with a reason; a note stands by itself or beside a mark; the file has all."""
    opened.press("2", "n")
    opened.page.fill("#note-text", "ask Anna\nfor the handle")
    opened.press("Enter")
    saved = opened.save()
    assert saved["version"] == 1
    first, second = saved["pictures"]
    assert (first["id"], first["mark"], first["reason"], first["note"]) == ("kit-1001-front", "reject", "flaw", "")
    assert (second["mark"], second["note"], second["file"]) == ("", "ask Anna\nfor the handle", "kit-1001-side.png")
    assert len(first["sha256"]) == 64
    opened.find("note:anna")
    assert opened.shown == ["kit-1001-side"]
    opened.find("is:rejected reason:flaw")
    assert opened.shown == ["kit-1001-front"]


def test_a_reason_can_be_given_without_a_keyboard(opened):
    """By buttons beside the note, and the note is kept."""
    opened.page.click("#foot [data-act=note]")
    opened.page.fill("#note-text", "blurred")
    opened.page.get_by_role("button", name="flaw").click()
    (saved,) = opened.save()["pictures"]
    assert (saved["mark"], saved["reason"], saved["note"]) == ("reject", "flaw", "blurred")


def test_marks_stay_with_the_picture_and_a_new_one_begins_without(opened, shelf):
    """Over a reload, a new report, a renamed job; a picture that was bought anew is unmarked."""
    opened.press("p", "x")
    opened.reload()
    assert opened.counts == (1, 1)
    _, second, *rest = shelf.records
    shelf.records = [*rest]
    shelf.done("renamed", body=picture(40, 30))
    shelf.done(second.id, body=picture(99, 30), purchase=2)
    opened.page.goto(shelf.report().as_uri())
    assert marks(opened) == {"renamed": "pick"}


def test_the_rejected_ones_make_the_command_that_buys_them_again(opened):
    """It can be copied; without a rejected picture there is none."""
    assert opened.commands == []
    opened.press("x", "p", "x")
    (command,) = opened.commands
    assert command[:2] == ["runner", "run"]
    assert command[-3:] == ["--redo", "--only-from", "selection.json"]
    opened.page.click("#foot [data-act=work]")
    opened.page.click("#copy")
    opened.until("document.getElementById('copy').textContent === 'Copied'")
    assert "2 rejected pictures: 2 jobs" in opened.page.locator("#redo-count").inner_text()


def test_what_was_not_on_the_screen_is_counted_as_not_seen(visit, shelf):
    """Once it was, it counts as seen, also after a reload."""
    fill(shelf, [f"{number:03}" for number in range(120)])
    visit.page.goto(shelf.report().as_uri())
    visit.until("Number(document.getElementById('unseen').textContent) < 120")
    left = int(visit.page.locator("#unseen").inner_text())
    assert 60 < left < 120
    visit.find("is:unseen")
    assert visit.page.locator("#count").text_content() == f"{left} of 120"
    visit.reload()
    assert int(visit.page.locator("#unseen").inner_text()) <= left


@pytest.mark.slow
def test_a_page_that_has_not_heard_of_a_mark_does_not_delete_it(visit, shelf):
    """Another window's mark, or one from just before a reload, comes late: that a picture was seen does not cost it."""
    fill(shelf, [f"{number:03}" for number in range(120)])
    page = shelf.report().as_uri()
    late = visit.page.context.new_page()
    late.add_init_script("addEventListener('storage', event => event.stopImmediatePropagation(), true)")
    late.goto(page)
    visit.page.goto(page)
    visit.find("119")
    visit.press("x")
    assert visit.counts == (0, 1)
    before = late.locator("#unseen").text_content()
    late.evaluate("scrollTo(0, document.body.scrollHeight)")
    late.wait_for_function(f"() => document.getElementById('unseen').textContent !== '{before}'")
    assert late.locator("#rejected").text_content() == "0"
    visit.reload()
    assert visit.counts == (0, 1)


def test_undo_goes_on_after_a_reload_and_in_another_window(opened):
    """Any number of steps; what was marked otherwise in another window since is left as it is."""
    opened.press("p", "x", "1", "p")
    opened.reload()
    opened.press("u", "u")
    assert opened.counts == (1, 1)
    assert opened.current == "kit-1002-front"
    second = Visit(opened.page.context.new_page())
    second.page.goto(opened.page.url)
    second.press("u")
    opened.until("document.getElementById('rejected').textContent === '0'")
    opened.press("u", "u")
    assert opened.counts == (0, 0)
    assert "Nothing to undo" in opened.page.locator("#said").inner_text()


def test_undo_leaves_what_another_window_has_changed_since(opened):
    """A step is taken back only where its mark still stands."""
    opened.press("p", "x")
    opened.page.evaluate(
        """() => {
          const name = Object.keys(localStorage).find(key => (localStorage.getItem(key) ?? "").includes('"reject"')
                                                             && key.startsWith("runner.mark."));
          localStorage.setItem(name, JSON.stringify({mark: "pick"}));
          dispatchEvent(new StorageEvent("storage", {key: name}));
        }"""
    )
    assert opened.counts == (2, 0)
    opened.press("u")
    assert marks(opened) == {"kit-1001-side": "pick"}


def test_two_selections_merge_and_what_differs_is_shown(opened):
    """What is unmarked here takes their mark; what is marked otherwise keeps its own until `Take theirs`; one undo."""
    opened.press("p", "x", "n")
    opened.page.fill("#note-text", "mine")
    opened.press("Enter")
    mine = opened.save()
    theirs = {"version": 1, "pictures": [dict(one) for one in mine["pictures"]]}
    theirs["pictures"][0].update(mark="reject", reason="flaw", note="too dark")
    theirs["pictures"][2].update(mark="pick", note="theirs")
    theirs["pictures"].append({"id": "gone", "sha256": "0" * 64, "mark": "reject"})
    said = opened.open(theirs)
    assert "2 marks taken over" in said
    assert "1 picture marked otherwise here: search is:disputed" in said
    assert "1 picture of it not on this page" in said
    assert opened.counts == (2, 1)
    opened.find("is:disputed")
    assert opened.shown == ["kit-1001-front"]
    opened.page.click("#theirs")
    assert opened.counts == (1, 2)
    assert opened.save()["pictures"][2]["note"] == "mine\ntheirs"
    opened.press("u", "u")
    assert opened.counts == (1, 1)


@sampled(
    ("text", "said"),
    [
        ("no json", "it is not JSON"),
        ('{"version": 2, "pictures": []}', "newer version"),
        ("[1]", "no selection"),
        ('{"version": 1, "pictures": [null, 7, {"sha256": "<b>", "mark": "<img src=x>", "note": 7}]}', "0 marks"),
    ],
    quick=1,
)
def test_a_file_that_is_no_selection_is_said(opened, text, said):
    """Nothing changes."""
    body = {"name": "x.json", "mimeType": "application/json", "buffer": text.encode()}
    opened.page.set_input_files("#file", body)
    opened.until("document.getElementById('said').textContent !== ''")
    assert said in (opened.page.locator("#said").text_content() or "")
    assert opened.counts == (0, 0)


@pytest.mark.slow
def test_a_selection_can_be_dropped_on_the_page(opened):
    """Like one that is opened by the button."""
    opened.press("x")
    saved = opened.save()
    opened.press("u")
    opened.page.evaluate(
        """text => {
          const data = new DataTransfer();
          data.items.add(new File([text], "selection.json"));
          document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
        }""",
        json.dumps(saved),
    )
    opened.until("document.getElementById('rejected').textContent === '1'")


@pytest.mark.slow
def test_pictures_with_the_same_bytes_are_marked_one_by_one(visit, shelf):
    """A mark belongs to what is shown of one job, also in the file."""
    shelf.done("one", body=picture())
    shelf.done("two", body=picture())
    visit.page.goto(shelf.report().as_uri())
    visit.press("x")
    saved = visit.save()
    assert [one["id"] for one in saved["pictures"]] == ["one"]
    visit.press("u")
    visit.open(saved)
    assert marks(visit) == {"one": "reject"}


@pytest.mark.slow
def test_a_morning_of_choosing_ends_in_exactly_the_chosen_pictures(visit, shelf):
    """Pick 30, reject 20, undo 3, two notes, reload, reopen, merge with a second person's file."""
    names = [f"kit-{1000 + number // 4}-{'abcd'[number % 4]}" for number in range(200)]
    fill(shelf, names)
    page = shelf.report().as_uri()
    visit.page.goto(page)
    visit.press(*"p" * 30)
    visit.press(*"x" * 18)
    visit.press("u", "u", "u")
    visit.press("1", "2")
    visit.press("n")
    visit.page.fill("#note-text", "crooked handle")
    visit.press("Enter", "ArrowRight", "n")
    visit.page.fill("#note-text", "nice light")
    visit.press("Enter")
    visit.reload()
    assert visit.counts == (30, 17)
    visit.page.goto("about:blank")
    visit.page.goto(page)
    visit.until("document.getElementById('rejected').textContent === '17'")  # perhaps from another process's store
    assert visit.counts == (30, 17)
    mine = visit.save()
    second = {"version": 1, "pictures": []}
    for number in (100, 101, 102):
        sha256 = shelf.records[number].outputs[0].sha256
        second["pictures"].append({"id": names[number], "sha256": sha256, "mark": "reject", "reason": "flaw"})
    second["pictures"] += [{**mine["pictures"][40], "note": "I agree"}]
    visit.open(second)
    saved = visit.save()["pictures"]
    assert [one["id"] for one in saved if one["mark"] == "pick"] == names[:30]
    rejected = [one["id"] for one in saved if one["mark"] == "reject"]
    assert rejected == names[30:47] + names[100:103]
    assert len(rejected) == 20
    assert {one["id"]: one["note"] for one in saved if one["note"]} == {
        names[40]: "I agree",
        names[47]: "crooked handle",
        names[48]: "nice light",
    }
