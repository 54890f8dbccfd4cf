"""Looking in a real browser: the large view, 1:1, comparison, old against new, and fingers."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser
from support.browser import Visit, open_window
from support.results_folder import Shelf, changed, picture

from runner.core.copies import CopyFile

pytestmark = pytest.mark.slow

SIZE = (1800, 1200)


def fill(shelf: Shelf) -> None:
    """Three views of a mug, one of a cup, larger than the screen; and a failure."""
    for number, view in enumerate(("front", "side", "back")):
        shelf.done(f"mug-{view}", file=f"mug/{view}", body=picture(*SIZE, shade=number), inputs={"seed": number})
    shelf.done("cup", body=picture(*SIZE, shade=9))
    shelf.failed("glove", "the prompt was refused")


@pytest.fixture
def opened(visit: Visit, shelf: Shelf) -> Visit:
    fill(shelf)
    visit.page.goto(shelf.report().as_uri())
    return visit


LOADED = "document.querySelector('#stage img')?.naturalWidth === 1800"
PAINTED = """async () => {
  await document.querySelector('#stage img').decode();
  for (let left = 3; left; left--) await new Promise(requestAnimationFrame);
}"""
SCALES = "[...document.querySelectorAll('#stage img')].map(one => one.style.transform)"


def title(visit: Visit) -> str:
    return visit.page.locator("#view-title").inner_text()


def test_the_large_view_links_the_copies(visit, shelf):
    """Each opens by its name; what could run scripts is downloaded instead; the next picture has none."""
    mug = shelf.done("mug", body=picture(*SIZE))
    copies = tuple(
        CopyFile(
            path=path, bytes=1, sha256="1" * 64, recipe="0", of=mug.outputs[0].sha256 or "", media_type="image/jpeg"
        )
        for path in ("web/a mug.jpg", "mug.png.json", "x.svg")
    )
    shelf.records[-1] = changed(mug, copies=copies)
    shelf.done("cup", body=picture(*SIZE, shade=9))
    visit.page.goto(shelf.report().as_uri())
    visit.press("Enter")
    links = visit.page.locator("#view-copies a")
    assert links.all_inner_texts() == ["web/a mug.jpg", "mug.png.json", "x.svg"]
    assert [one.get_attribute("href") for one in links.all()] == ["./web/a%20mug.jpg", "./mug.png.json", "./x.svg"]
    assert [one.get_attribute("download") for one in links.all()] == [None, None, ""]
    visit.press("ArrowRight")
    assert links.count() == 0


def test_the_large_view_shows_the_file_itself(opened):
    """Opened by Enter or Space; it goes on by arrows and leaves by Escape, back where it was."""
    view = opened.page.locator("#view")
    opened.press("Enter")
    assert (view.is_visible(), title(opened)) == (True, "mug-front")
    assert opened.page.locator("#stage img").get_attribute("src") == "./mug/front.png"
    opened.until(LOADED)
    facts = opened.page.locator("#view-facts").inner_text()
    assert "seed: 0" in facts
    assert "$0.0045" in facts
    opened.press("ArrowRight")
    assert title(opened) == "mug-side"
    assert opened.page.locator("#view-file").get_attribute("href") == "./mug/side.png"
    opened.press("Escape")
    assert not view.is_visible()
    opened.rests_on("mug-side")
    opened.press(" ")
    assert view.is_visible()
    opened.page.click("#view-close")
    assert not view.is_visible()


def test_back_closes_the_large_view_and_stays_on_the_page(opened):
    """As on a telephone."""
    opened.press("Enter")
    opened.page.evaluate("history.back()")
    opened.until("!document.getElementById('view').open")
    assert opened.shown


def test_marks_can_be_made_in_the_large_view(opened):
    """It goes on to the next; undo comes back; a failure has nothing to mark."""
    opened.press("Enter", "p", "x")
    assert (opened.counts, title(opened)) == ((1, 1), "mug-back")
    opened.press("u")
    assert (opened.counts, title(opened)) == ((1, 0), "mug-side")
    opened.press("ArrowRight", "ArrowRight", "ArrowRight")
    assert title(opened) == "glove"
    assert opened.page.get_by_text("There is no picture.").is_visible()
    assert not opened.page.locator("#do-reject").is_visible()
    assert "refused" in opened.page.locator("#view-why").inner_text()
    opened.press("x")
    assert opened.counts == (1, 0)


def test_one_to_one_and_back_with_moving(opened):
    """A pixel of the picture is a pixel of the screen; the picture stays within its frame."""
    opened.press("Enter")
    opened.until(LOADED)
    opened.press("z")
    image = "document.querySelector('#stage img')"
    width = opened.page.evaluate(f"{image}.getBoundingClientRect().width / {image}.clientWidth")
    fit = opened.page.evaluate(f"Math.min({image}.clientWidth / 1800, {image}.clientHeight / 1200)")
    assert width * fit == pytest.approx(1, abs=0.01)
    before = opened.page.evaluate(SCALES)
    for _ in range(30):
        opened.press("Shift+ArrowLeft")
    at_edge = opened.page.evaluate(SCALES)
    opened.press("Shift+ArrowLeft")
    assert before != at_edge == opened.page.evaluate(SCALES)
    opened.press("z")
    assert opened.page.evaluate(SCALES) == [""]


def test_wheel_and_mouse_zoom_and_move(opened):
    """The place under the mouse stays there."""
    opened.press("Enter")
    opened.until(LOADED)
    opened.page.mouse.move(300, 300)
    opened.page.mouse.wheel(0, -600)
    opened.until("document.querySelector('#stage.zoomed')")
    before = opened.page.evaluate(SCALES)
    opened.page.mouse.down()
    opened.page.mouse.move(340, 300)
    opened.page.mouse.up()
    assert opened.page.evaluate(SCALES) != before
    assert title(opened) == "mug-front"


def test_a_product_is_compared_with_one_zoom_for_all(opened):
    """`c` sets its views side by side; marks go to the framed one; a second `c` goes back."""
    opened.press("c")
    names = opened.page.locator(".pane .name")
    assert names.all_inner_texts() == ["mug-front", "mug-side", "mug-back"]
    opened.until("[...document.querySelectorAll('#stage img')].every(one => one.naturalWidth === 1800)")
    opened.press("z")
    transforms = opened.page.evaluate(SCALES)
    assert len(transforms) == 3
    assert len(set(transforms)) == 1
    assert "scale" in transforms[0]
    opened.press("ArrowRight", "x")
    opened.page.locator(".pane .pick").nth(2).click()
    opened.press("c")
    assert title(opened) == "mug-side"
    opened.press("Escape")
    found = {one["id"]: one["mark"] for one in opened.save()["pictures"]}
    assert found == {"mug-side": "reject", "mug-back": "pick"}


def test_chosen_pictures_are_compared(opened):
    """Whatever products they are of, two to four."""
    opened.press("s")
    opened.page.locator(".tile[title=cup] .open").click(modifiers=["Shift"])
    opened.page.click("#foot [data-act=compare]")
    assert opened.page.locator(".pane .name").all_inner_texts() == ["mug-front", "cup"]


def test_old_and_new_take_each_others_place(visit, shelf):
    """A picture that was bought again, against the one that it replaced, with the zoom kept."""
    shelf.done("mug", body=picture(*SIZE, shade=1))
    archive = shelf.out / ".replaced/mug/1"
    archive.mkdir(parents=True)
    (shelf.out / "mug.png").rename(archive / "mug.png")
    shelf.done("mug", body=picture(*SIZE, shade=2), purchase=2)
    shelf.done("cup")
    visit.page.goto(shelf.report().as_uri())
    visit.find("is:replaced")
    assert visit.shown == ["mug"]
    visit.press("o")
    assert title(visit) == "mug, before: purchase 1"
    assert visit.page.locator("#stage img").get_attribute("src") == "./.replaced/mug/1/mug.png"
    visit.until(LOADED)
    visit.press("x", "1")
    assert visit.counts == (0, 0)  # what is on the screen cannot be bought again
    visit.page.click("#do-old")
    assert title(visit) == "mug"
    assert visit.page.locator("#stage img").get_attribute("src") == "./mug.png"


def test_without_its_file_the_large_view_shows_the_thumbnail(visit, shelf):
    """A page that was sent to somebody without the folder."""
    shelf.done("a")
    page = shelf.report()
    (shelf.out / "a.png").unlink()
    visit.page.goto(page.as_uri())
    visit.press("Enter")
    visit.until("document.querySelector('#stage img').src.startsWith('data:image/webp')")
    assert visit.trouble.pop().startswith("error: Failed to load resource")  # the browser's own words for it


def touch(visit: Visit, *moments: list[tuple[int, int]]) -> None:
    """Put fingers on the screen, move them from moment to moment, and take them off."""
    session = visit.page.context.new_cdp_session(visit.page)
    for number, points in enumerate([*moments, []]):
        kind = "touchStart" if not number else "touchMove" if points else "touchEnd"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_a_telephone_opens_by_a_tap_and_goes_on_by_a_swipe(browser: Browser, shelf, scheme):
    """Nothing stands out to the side; the buttons are there; a picture can be picked without a keyboard."""
    fill(shelf)
    with open_window(browser, width=390, height=844, color_scheme=scheme, has_touch=True, is_mobile=True) as visit:
        visit.page.goto(shelf.report().as_uri())
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
        visit.page.locator(".tile[title=mug-front] .open").tap()
        visit.until(LOADED)
        touch(visit, [(300, 300)], [(200, 300)], [(100, 305)])
        visit.until("document.getElementById('view-title').textContent === 'mug-side'")
        visit.page.evaluate(PAINTED)
        visit.page.locator("#do-pick").tap()
        visit.until("document.getElementById('view-title').textContent === 'mug-back'")
        assert visit.page.evaluate("document.getElementById('view').scrollWidth") <= 390
        visit.page.locator("#view-close").click()
        visit.until("!document.getElementById('view').open")
        assert visit.counts == (1, 0)


def test_a_tap_before_the_next_picture_is_on_the_screen_marks_nothing(browser: Browser, shelf):
    """The finger was quicker than the screen: what was seen is the picture before; a later tap counts."""
    fill(shelf)
    with open_window(browser, width=390, height=844, has_touch=True, is_mobile=True) as visit:
        visit.page.goto(shelf.report().as_uri())
        visit.page.locator(".tile[title=mug-front] .open").tap()
        visit.until(LOADED)
        said = visit.page.evaluate(
            """() => {
              const tap = (it, kind) => it.dispatchEvent(new PointerEvent(kind, {bubbles: true, pointerType: "touch"}));
              tap(document.getElementById("do-after"), "click");
              tap(document.getElementById("do-pick"), "click");
              return document.querySelector("#view .said").textContent;
            }"""
        )
        assert "the next picture was not on the screen yet" in said
        assert (title(visit), visit.counts) == ("mug-side", (0, 0))
        visit.page.evaluate(PAINTED)
        visit.page.locator("#do-pick").tap()
        visit.until("document.getElementById('picked').textContent === '1'")


def test_two_fingers_zoom(browser: Browser, shelf):
    """Without leaving the picture."""
    fill(shelf)
    with open_window(browser, width=390, height=844, has_touch=True, is_mobile=True) as visit:
        visit.page.goto(shelf.report().as_uri())
        visit.page.locator(".tile[title=mug-front] .open").tap()
        visit.until(LOADED)
        touch(visit, [(180, 300), (220, 300)], [(120, 300), (280, 300)])
        visit.until("document.querySelector('#stage.zoomed')")
        assert title(visit) == "mug-front"
