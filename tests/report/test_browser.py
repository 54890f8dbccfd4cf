"""The report in a real browser: Chromium, headless, without a network. The grid, the search and the safety."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from support.browser import Visit, inventory
from support.results_folder import PAYLOADS, Shelf, changed, picture

from runner.cli.arguments import ids_in
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


ALL = ["mug-front", "mug-side", "cup-front", "cup-side", "tote-1", "tote-2", "tote-3", "glove", "lamp", "pen"]


def test_what_needs_a_person_stands_first_a_row_for_each_cause(opened):
    """With the error, what it means for the money, what to do, and its jobs behind a button."""
    assert opened.page.locator("#needs summary").inner_text() == "Needs you 1 failed, 1 unknown, 1 stuck"
    first = opened.page.locator(".cause").first
    assert "1 job: glove: 422001 (HTTP 422): the prompt was refused" in first.inner_text()
    assert "nothing is paid" in first.inner_text()
    assert "Change its inputs" in first.inner_text()
    commands = opened.page.locator(".cause input").evaluate_all("found => found.map(one => one.value.split(' ')[1])")
    assert commands == ["run", "reconcile", "reconcile"]
    opened.page.locator(".cause").nth(2).get_by_text("Show").click()
    assert opened.shown == ["pen"]


def test_products_stand_together_under_their_names(opened):
    """With what their ids and prompts have in common; what is left of an id is under its picture."""
    assert opened.shown == ALL
    heads = opened.page.locator("#grid h2").all_inner_texts()
    assert heads[:3] == ["mug", "cup", "tote a tote bag"]
    assert opened.page.locator(".caption").all_inner_texts()[:5] == ["front", "side", "front", "side", "1"]
    tops = opened.page.locator(".tile").evaluate_all("found => found.map(one => one.getBoundingClientRect().top)")
    assert tops[0] == tops[1] == tops[2]  # two products share a line


def test_every_picture_has_an_alternative_text_and_is_shown(opened):
    """The id and the prompt; each thumbnail decodes; each button has a name."""
    opened.until("[...document.querySelectorAll('.tile img')].every(one => one.naturalWidth > 0)")
    assert opened.page.locator(".tile img").first.get_attribute("alt") == "mug-front: front of a mug"
    assert opened.page.locator("img:not([alt]), svg:not([aria-label])").count() == 0
    assert opened.page.get_by_role("button", name="lamp, a picture of lamp, unknown").count() == 1


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("SIDE cup", ["cup-side"]),
        ("view:front -sku:mug", ["cup-front"]),
        ("is:failed", ["glove"]),
        ("nothing like it", []),
        pytest.param("tote", ["tote-1", "tote-2", "tote-3"], marks=pytest.mark.slow),
        pytest.param("refused", ["glove"], marks=pytest.mark.slow),
        pytest.param("req-pen", ["pen"], marks=pytest.mark.slow),
        pytest.param('"of a cup" view:side', ["cup-side"], marks=pytest.mark.slow),
        pytest.param("size:64x48 product:mug", ["mug-front", "mug-side"], marks=pytest.mark.slow),
        pytest.param("https://x", [], marks=pytest.mark.slow),
        pytest.param("toString:x", [], marks=pytest.mark.slow),
    ],
)
def test_search_finds_words_and_fields(opened, words, found):
    """All terms, in any order and case; ids, prompts, errors; the count says how many."""
    opened.page.fill("#q", words)
    assert opened.shown == found
    assert opened.page.locator("#count").text_content() == f"{len(found)} of 10"
    assert opened.page.locator("#nothing").is_visible() == (not found)
    if not found:
        opened.page.click("#clear")
        assert opened.shown == ALL


def test_filters_keep_what_they_name(opened):
    """By state and view, together with the search; only where there is a choice."""
    opened.page.click("#filter")
    opened.page.select_option("#state", "unknown")
    assert opened.shown == ["lamp"]
    opened.page.select_option("#state", "done")
    opened.page.select_option("[data-key=view]", "front")
    opened.page.fill("#q", "mug")
    assert opened.shown == ["mug-front"]
    assert opened.page.locator("#filter").inner_text() == "Filter (2)"
    assert opened.page.locator("#model").count() == 0


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("id", "cup-front"),
        *(pytest.param(order, "tote-3", marks=pytest.mark.slow) for order in ("cost", "slow")),
    ],
)
def test_pictures_can_be_sorted(opened, order, first):
    """Then without products; and back."""
    opened.page.click("#filter")
    opened.page.select_option("#order", order)
    assert opened.shown[0] == first
    assert opened.page.locator("#grid h2").count() == 0
    opened.page.select_option("#order", "")
    assert opened.shown == ALL


def test_the_keyboard_goes_from_picture_to_picture(opened):
    """Arrows and hjkl, in both directions; the line above and below by place."""
    opened.press("l")
    assert opened.focused == "mug-front"
    opened.press("ArrowRight", "l")
    assert opened.focused == "cup-front"
    opened.press("j")
    below = opened.focused
    assert below not in ("mug-front", "mug-side", "cup-front", "cup-side")
    opened.press("k")
    assert opened.focused == "cup-front"
    opened.press("h", "ArrowLeft", "ArrowLeft", "ArrowLeft")
    assert opened.focused == "mug-front"
    opened.press("End")
    assert opened.focused == ALL[-1]
    opened.press("Home")
    assert opened.focused == ALL[0]
    opened.press("/")
    opened.page.keyboard.type("tote")
    opened.press("Escape")
    assert opened.focused == "tote-1"


def test_only_what_is_near_the_screen_is_in_the_document(visit, shelf):
    """A batch of any length: few elements at first, after scrolling, and with the smallest pictures."""
    body = picture()
    for number in range(400):
        shelf.done(f"p-{number:03}", body=body, file=f"{number // 4:03}/{number % 4}")
    visit.page.goto(shelf.report("--thumbnails", "beside").as_uri())
    assert visit.page.evaluate("document.querySelectorAll('*').length") < 700
    visit.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    visit.until("[...document.querySelectorAll('.tile')].some(one => one.title === 'p-399')")
    visit.page.locator("#scale").fill("96")
    assert visit.page.evaluate("document.querySelectorAll('*').length") < 1000
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visit.find("p-250")
    assert visit.shown == ["p-250"]


def test_the_first_click_chooses_and_the_second_opens(opened):
    """So that a click is never a mark, and a double click opens."""
    opened.page.locator(".tile[title=cup-side] .open").click()
    assert (opened.current, opened.page.locator("#view").is_visible()) == ("cup-side", False)
    opened.page.locator(".tile[title=cup-side] .open").click()
    assert opened.page.locator("#view").is_visible()


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


def test_the_selection_names_the_very_jobs(visit, shelf):
    """Ids with blanks, quotes, and letters that are patterns: the command that buys again reads them as they are."""
    for number, job_id in enumerate(AWKWARD):
        shelf.done(job_id, file=f"f{number}")
    visit.page.goto(shelf.report().as_uri())
    visit.press(*"x" * len(AWKWARD))
    visit.reload()
    assert set(ids_in(json.dumps(visit.save()))) == set(AWKWARD)


def test_help_and_theme_are_at_hand(opened):
    """`?` lists the keys; the theme goes from the system's to dark to light, and stays."""
    opened.press("?")
    assert opened.page.locator("#help").is_visible()
    opened.press("Escape")
    colours = []
    for _ in range(3):
        opened.page.click("#theme")
        colours.append(opened.page.evaluate("getComputedStyle(document.body).color"))
    assert colours[0] != colours[1] == colours[2]  # dark, light, and the system's, which is light here
    opened.page.click("#theme")
    opened.reload()
    assert opened.page.evaluate("getComputedStyle(document.body).color") == colours[0]


def test_figures_come_on_demand_below_the_pictures(opened):
    """Until then none of their hundreds of elements is in the document. They follow the theme."""
    assert opened.page.locator("svg").count() == 0
    opened.page.click("#figures summary")
    opened.page.locator(".plot-svg").first.wait_for()
    assert opened.page.locator(".plot-svg").count() == 3
    light = opened.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    ink = "getComputedStyle(document.querySelector('.plot-svg text')).fill"
    before = opened.page.evaluate(ink)
    opened.page.emulate_media(color_scheme="dark")
    assert opened.page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != light
    assert opened.page.evaluate(ink) != before


def test_it_prints_without_its_controls(opened):
    """All pictures, not only those near the screen, and a PDF comes out."""
    opened.page.emulate_media(media="print")
    assert not opened.page.locator("#bar").is_visible()
    assert not opened.page.locator("#foot").is_visible()
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


@pytest.mark.slow
def test_files_of_any_name_can_be_opened(visit, shelf):
    """Percent signs, hashes, questions, quotes: the link is the file's."""
    for name in ("100%", "a#b", "c?d", "e&amp;f", "g'h\"i", "ü ñ", "j%2Fk", "l<m>"):
        shelf.done(name, file=name, body=picture(77, 33))
    visit.page.goto(shelf.report().as_uri())
    visit.press("Enter")
    for _ in range(8):
        visit.until("document.querySelector('#stage img').naturalWidth === 77")
        visit.press("ArrowRight")


OWN_STYLES = re.compile(r"(top|height|transform): -?[\d.]+px;|transform: (translate|scale|none)[^<>]*;|--tile: \d+px;|")
"""Inline styles that the page's own script sets."""


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
    visit.find("is:done")
    visit.press("n")
    visit.page.fill("#note-text", payloads[0])
    visit.press("Enter", *"x" * len(payloads))
    visit.find("")
    visit.press("Home", "Enter", *["c", "c", "ArrowRight"] * 3 * len(payloads), "Escape")
    visit.find(payloads[0])
    visit.page.fill("#q", "")
    assert payloads[0] in visit.page.locator(".cause").first.inner_text()
    odd_attributes = visit.page.evaluate(
        "[...document.querySelectorAll('*')].flatMap(one => [...one.attributes])"
        ".filter(one => one.name.startsWith('on') || one.name === 'style').map(one => [one.name, one.value])"
    )
    assert [found for found in odd_attributes if found[0] != "style" or not OWN_STYLES.fullmatch(found[1])] == []
    after = inventory(visit.page)
    assert {name: after[name] for name in ("script", "style", "link", "meta")} == {
        name: before[name] for name in ("script", "style", "link", "meta")
    }
    assert visit.page.locator("#rejected").text_content() == str(len(payloads))


@pytest.mark.slow
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


def test_every_button_of_the_footer_is_on_the_screen(opened):
    """On any window from a tablet to a desk; a telephone has a footer of two lines."""
    edge = "Math.max(...[...document.querySelectorAll('#foot button')].map(b => b.getBoundingClientRect().right))"
    for width in (765, 780, 860, 980, 1020, 1100, 1210, 1400):
        opened.page.set_viewport_size({"width": width, "height": 700})
        assert opened.page.evaluate(edge) <= width
