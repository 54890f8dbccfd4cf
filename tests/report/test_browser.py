"""The report in a real browser: Chromium, headless, without a network."""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec
import pytest
from support.browser import Visit, inventory
from support.results_folder import PAYLOADS, Shelf, changed, picture

from runner.core.models import Fault, State


def fill(shelf: Shelf) -> None:
    """Two products with two views each, three copies of another, and three that went wrong."""
    for sku in ("mug", "cup"):
        for view in ("front", "side"):
            shelf.done(f"{sku}-{view}", file=f"{sku}/{view}", inputs={"prompt": f"{view} of a {sku}"})
    for number in (1, 2, 3):
        inputs = {"prompt": "a tote bag", "seed": number}
        shelf.done(f"tote-{number}", inputs=inputs, cost_usd=0.01 * number, seconds=100 * number)
    shelf.failed("glove", "the prompt was refused")
    shelf.unknown("lamp")
    shelf.add("pen", State.SUBMITTED, request_id="req-pen", error=Fault(code="expired", message="no longer known"))


@pytest.fixture
def opened(visit: Visit, shelf: Shelf) -> Visit:
    fill(shelf)
    visit.page.goto(shelf.report().as_uri())
    return visit


ALL = ["glove", "lamp", "pen", "mug-front", "mug-side", "cup-front", "cup-side", "tote-1", "tote-2", "tote-3"]


def test_failures_and_unknowns_come_first(opened):
    """With the error, what it means for the money and what to do."""
    assert opened.shown == ALL
    first = opened.page.locator(".row").first.inner_text()
    assert "422001 (HTTP 422): the prompt was refused" in first
    assert "nothing is paid" in first
    assert "Change its inputs" in first


def test_every_picture_has_an_alternative_text_and_is_shown(opened):
    """The id and the prompt; each thumbnail decodes."""
    images = opened.page.locator(".tile img")
    opened.until("[...document.querySelectorAll('.tile img')].every(one => one.naturalWidth > 0)")
    assert images.evaluate_all("found => found.map(one => one.alt)")[0] == "mug-front: front of a mug"
    assert opened.page.locator("img:not([alt]), svg:not([aria-label])").count() == 0


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("SIDE cup", ["cup-side"]),
        pytest.param("tote", ["tote-1", "tote-2", "tote-3"], marks=pytest.mark.slow),
        pytest.param("refused", ["glove"], marks=pytest.mark.slow),
        pytest.param("req-pen", ["pen"], marks=pytest.mark.slow),
        ("nothing like it", []),
    ],
)
def test_search_finds_ids_prompts_and_errors(opened, words, found):
    """All words, in any order and case; the count says how many."""
    opened.page.fill("#q", words)
    assert opened.shown == found
    assert opened.page.locator("#count").text_content() == f"{len(found)} of 10"
    assert opened.page.locator("#nothing").is_visible() == (not found)
    if not found:
        opened.page.click("#clear")
        assert opened.shown == ALL


def test_filters_keep_what_they_name(opened):
    """By state, size and model, together with the search."""
    opened.page.select_option("#state", "unknown")
    assert opened.shown == ["lamp"]
    opened.page.select_option("#state", "done")
    opened.page.fill("#q", "front")
    assert opened.shown == ["mug-front", "cup-front"]
    opened.page.select_option("#size", index=1)
    opened.page.select_option("#model", index=1)
    assert opened.shown == ["mug-front", "cup-front"]
    assert not opened.page.locator("#needs").is_visible()


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("id", "cup-front"),
        *(pytest.param(order, "tote-3", marks=pytest.mark.slow) for order in ("cost", "slow", "new")),
    ],
)
def test_pictures_can_be_sorted(opened, order, first):
    """Those without any stay above."""
    opened.page.select_option("#order", order)
    assert set(opened.shown[:3]) == {"glove", "lamp", "pen"}
    assert opened.shown[3] == first
    opened.page.select_option("#order", "")
    assert opened.shown == ALL


def test_the_keyboard_goes_from_picture_to_picture(opened):
    """Arrows and hjkl, in both directions; the line above and below by place."""
    opened.press("l")
    assert opened.focused == "glove"
    opened.press("ArrowDown", "j", "ArrowDown")
    assert opened.focused == "mug-front"
    opened.press("ArrowRight", "l")
    assert opened.focused == "cup-front"
    opened.press("h", "ArrowLeft", "ArrowLeft", "ArrowLeft")
    assert opened.focused == "lamp"
    opened.press("j", "j", "j")
    assert opened.focused.startswith("tote") or opened.focused == "cup-side"
    opened.press("k", "ArrowUp", "k", "k", "k", "k")
    assert opened.focused == "glove"
    opened.press("/")
    opened.page.keyboard.type("mug")
    opened.press("Escape")
    assert opened.focused == "mug-front"


def test_the_large_view_shows_the_file_itself(opened, shelf):
    """Opened by Enter, Space or a click; it goes on by arrows and leaves by Escape, back where it was."""
    view = opened.page.locator("#view")
    opened.page.fill("#q", "tote")
    opened.press("Escape", "Enter")
    assert view.is_visible()
    assert opened.page.locator("#view-title").text_content() == "tote-1"
    assert opened.page.locator("#view-image").get_attribute("src") == "./tote-1.png"
    opened.until("document.getElementById('view-image').naturalWidth === 64")
    facts = opened.page.locator("#view-facts").inner_text()
    assert "seed: 1" in facts
    assert "$0.0100" in facts
    opened.press("ArrowRight")
    assert opened.page.locator("#view-title").text_content() == "tote-2"
    assert opened.page.locator("#view-link").get_attribute("href") == "./tote-2.png"
    opened.press("Escape")
    assert not view.is_visible()
    opened.rests_on("tote-2")
    opened.press(" ")
    assert view.is_visible()
    opened.page.click("#view-close")
    opened.page.click(".card:visible .open")
    assert view.is_visible()


def test_without_its_file_the_large_view_shows_the_thumbnail(visit, shelf):
    """A page that was sent to somebody without the folder."""
    shelf.done("a")
    page = shelf.report()
    (shelf.out / "a.png").unlink()
    visit.page.goto(page.as_uri())
    visit.page.click(".tile .open")
    visit.until("document.getElementById('view-image').src.startsWith('data:image/webp')")
    assert visit.trouble.pop().startswith("error: Failed to load resource")  # the browser's own words for it


def test_the_large_view_of_a_failure_says_all(opened):
    """There is no picture, and nothing to reject."""
    opened.page.locator(".row .open").first.click()
    assert opened.page.locator("#view-none").is_visible()
    assert not opened.page.locator("#view-reject").is_visible()
    assert "refused" in opened.page.locator("#view-why").inner_text()
    opened.press("x")
    assert not opened.page.locator("#redo").is_visible()


def test_variants_stand_side_by_side(opened):
    """The views of a product, the copies of a job; one of them can be rejected there."""
    opened.page.fill("#q", "tote-2")
    opened.press("Escape", "v")
    names = opened.page.locator("#set-pictures a").all_text_contents()
    assert names == ["tote-1", "tote-2", "tote-3"]
    opened.until("[...document.querySelectorAll('#set img')].every(one => one.naturalWidth === 64)")
    opened.page.click("#set-pictures .reject >> nth=2")
    opened.press("Escape")
    assert opened.commands[0][-1] == "tote-3"
    opened.page.fill("#q", "mug-side")
    opened.press("Escape", "Enter", "v")
    assert opened.page.locator("#set-pictures a").all_text_contents() == ["mug-front", "mug-side"]


def test_rejected_pictures_make_the_command_that_buys_them_anew(opened, shelf):
    """One line for each, for any shell; a second x takes one back; the address keeps them."""
    opened.page.fill("#q", "mug-front")
    opened.press("Escape", "x")
    opened.page.fill("#q", "tote-1")
    opened.press("Escape", "x")
    assert [words[:2] for words in opened.commands] == [["runner", "run"]] * 2
    assert [words[-3:] for words in opened.commands] == [
        ["--redo", "--only", "mug-front"],
        ["--redo", "--only", "tote-1"],
    ]
    assert opened.page.locator(".rejected").count() == 2
    opened.reload()
    assert [words[-1] for words in opened.commands] == ["mug-front", "tote-1"]
    opened.page.click("#copy")
    opened.until("document.getElementById('copy').textContent === 'Copied'")
    opened.page.fill("#q", "tote-1")
    opened.press("Escape", "x")
    assert [words[-1] for words in opened.commands] == ["mug-front"]
    opened.page.click("#forget")
    assert not opened.page.locator("#redo").is_visible()
    opened.reload()
    assert not opened.page.locator("#redo").is_visible()


AWKWARD = [
    "it's",
    "*",
    "mug[1]",
    "q?",
    "$(touch x)",
    "`id`",
    "-n",
    "ünï",
    "a;b",
    '"',
    "!!",
    "#",
    "a,b",
    "%41",
    "__proto__",
    "a b",
]


def test_the_command_means_the_very_job(visit, shelf):
    """Ids with blanks, quotes, and letters that are patterns: each line matches its own id and no other."""
    for number, job_id in enumerate(AWKWARD):
        shelf.done(job_id, file=f"f{number}")
    visit.page.goto(shelf.report().as_uri())
    visit.press("l")
    for _ in AWKWARD:
        visit.press("x", "l")
    visit.reload()
    patterns = [words[-1] for words in visit.commands]
    assert [[job_id for job_id in AWKWARD if fnmatchcase(job_id, one)] for one in patterns] == [[i] for i in AWKWARD]


def test_help_and_theme_are_at_hand(opened):
    """`?` lists the keys; the theme goes from the system's to dark to light."""
    opened.press("?")
    assert opened.page.locator("#help").is_visible()
    opened.press("Escape")
    colours = []
    for _ in range(3):
        opened.page.click("#theme")
        colours.append(opened.page.evaluate("getComputedStyle(document.body).color"))
    assert colours[0] != colours[1] == colours[2]  # dark, light, and the system's, which is light here


def test_it_is_dark_where_the_system_is(opened):
    """Light and dark by the system's own setting, plots too."""
    light = opened.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    ink = "getComputedStyle(document.querySelector('.plot-svg text')).fill"
    before = opened.page.evaluate(ink)
    opened.page.emulate_media(color_scheme="dark")
    assert opened.page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != light
    assert opened.page.evaluate(ink) != before


def test_it_prints_without_its_controls(opened):
    """Pictures and figures on paper, and a PDF comes out."""
    opened.page.emulate_media(media="print")
    assert not opened.page.locator(".bar").is_visible()
    assert opened.page.locator(".tile").first.is_visible()
    assert opened.page.pdf().startswith(b"%PDF")


def test_thumbnails_beside_the_page_are_found(visit, shelf):
    """From another folder too."""
    fill(shelf)
    where = shelf.folder / "else where"
    where.mkdir()
    shelf.report("--thumbnails", "beside", "--to", str(where / "page #1.html"))
    visit.page.goto((where / "page #1.html").as_uri())
    visit.until("[...document.querySelectorAll('.tile img')].every(one => one.naturalWidth > 0)")
    assert visit.page.locator(".tile img").first.get_attribute("src").startswith("./../out/.runner/thumbnails/")


def test_files_of_any_name_can_be_opened(visit, shelf):
    """Percent signs, hashes, questions, quotes: the link is the file's."""
    for name in ("100%", "a#b", "c?d", "e&amp;f", "g'h\"i", "ü ñ", "j%2Fk", "l<m>"):
        shelf.done(name, file=name, body=picture(77, 33))
    visit.page.goto(shelf.report().as_uri())
    for number in range(8):
        visit.page.locator(".tile .open").nth(number).click()
        visit.until("document.getElementById('view-image').naturalWidth === 77")
        visit.press("Escape")


@pytest.mark.parametrize(
    "payloads", [pytest.param(PAYLOADS[:2], id="two"), pytest.param(PAYLOADS, id="all", marks=pytest.mark.slow)]
)
def test_payloads_are_shown_as_text(visit, shelf, payloads):
    """Ids, prompts, models, errors, inputs, files, media types, addresses, times: nothing comes of them but text."""
    out = shelf.folder / "out"
    for number, text in enumerate(payloads):
        job_id = text.replace("/", "∕")
        shared = {"inputs": {"prompt": text, text: text}, "model": text, "warning": text, "manifest": text, "api": text}
        made = shelf.done(f"{job_id} d", file=f"{job_id}-{number}", at=text, fingerprint=text, day=text, **shared)
        output = msgspec.structs.replace(made.outputs[0], url=text, media_type=text)
        shelf.records[-1] = changed(made, outputs=(output,), trusted_hosts=(text,))
        shelf.failed(f"{job_id} f", text, **shared)
        shelf.unknown(f"{job_id} u", text, intended_at=text, **shared)
    shelf.save()
    odd = out.rename(shelf.folder / "out<img src=x onerror=alert(1)>")
    out.symlink_to(odd)
    shelf.report("--to", str(odd / "page.html"))
    visit.page.goto((odd / "page.html").as_uri())
    before = inventory(visit.page)
    assert before["script"] == 2
    assert before.get("iframe", 0) + before.get("object", 0) == 0
    assert before["img"] == len(payloads) + 1
    for number in range(3 * len(payloads)):
        visit.page.locator(".card .open").nth(number).click()
        visit.press("x", "v", "Escape", "Escape")
    assert visit.page.locator(".row .prompt").first.text_content() == payloads[0]
    assert (
        visit.page.evaluate(
            "[...document.querySelectorAll('*')].some(one => [...one.attributes].some("
            "attribute => attribute.name.startsWith('on') || attribute.name === 'style'))"
        )
        is False
    )
    after = inventory(visit.page)
    assert {name: after[name] for name in ("script", "style", "link", "meta")} == {
        name: before[name] for name in ("script", "style", "link", "meta")
    }
    lines = visit.commands
    assert len(lines) == len(payloads)


def test_the_policy_stops_what_would_get_through(visit, shelf):
    """Even an element put there by hand runs nothing and asks nobody."""
    shelf.done("a")
    visit.page.goto(shelf.report().as_uri())
    stopped: dict[str, str | None] = {}
    visit.page.on("requestfailed", lambda asked: stopped.update({asked.url: asked.failure}))
    visit.page.evaluate(
        """() => {
          const box = document.createElement("div");
          box.innerHTML = "<img src='https://evil.example/x.png' onerror='window.hit = 1'>"
            + "<iframe src='https://evil.example'></iframe>";
          const script = document.createElement("script");
          script.textContent = "window.hit = 1";
          document.body.append(box, script);
          return new Promise(done => { box.firstChild.addEventListener("error", done); });
        }"""
    )
    assert visit.page.evaluate("window.hit") is None
    assert stopped == {"https://evil.example/x.png": "csp"}
    told = [said for said in visit.trouble if said not in stopped]
    assert len(told) == 4
    assert all("Content Security Policy" in said for said in told)
    visit.trouble.clear()
