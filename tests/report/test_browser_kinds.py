"""Sound, videos, texts and other files on the page, in a real browser."""

from __future__ import annotations

import pytest
from support.browser import Visit, inventory
from support.results_folder import PAYLOADS, Shelf

from runner.emulator.other_files import OTHER_FILES
from runner.emulator.pictures import Drawing, picture
from runner.emulator.video import still_clip

pytestmark = pytest.mark.slow

SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><script>alert(1)</script></svg>"

PLAY = "which => { const it = document.querySelector(which); it.loop = true; return it.play(); }"
"""Without an end, so that only the page stops it."""
STOPPED = "it => it.paused && !it.isConnected && !it.hasAttribute('src')"


def fill(shelf: Shelf) -> None:
    """One of each kind, and a video that is none."""
    shelf.done("mug")
    video = still_clip(picture(Drawing(prompt="a mug", width=64, height=64), "avif"), 2, 64, 64)
    shelf.file("clip", "mp4", "video/mp4", video)
    for ending in ("wav", "mp3", "ogg"):
        shelf.file(ending, ending, *OTHER_FILES[ending])
    shelf.file("caption", "txt", "text/plain", b"A mug,\n<b>steaming</b>. " + b"And so on. " * 1000)
    shelf.file("scene", "glb", *OTHER_FILES["glb"])
    shelf.file("drawing", "svg", "image/svg+xml", SVG)
    shelf.file("broken", "mp4", "video/mp4", b"\0\0\0\x18ftypmp42 and no more")


@pytest.fixture
def opened(visit: Visit, shelf: Shelf) -> Visit:
    fill(shelf)
    visit.page.goto(shelf.report().as_uri())
    return visit


def show(opened: Visit, job_id: str) -> None:
    """Bring its card onto the screen."""
    opened.find(f"id:{job_id}")
    opened.page.locator(f".tile[title={job_id}]").wait_for()


def look(opened: Visit, job_id: str) -> None:
    """Open its large view."""
    show(opened, job_id)
    opened.press("Enter")


@pytest.mark.parametrize(
    ("job_id", "seconds"),
    [("clip", 2), ("wav", 1), *(pytest.param(kind, 1, marks=pytest.mark.slow) for kind in ("mp3", "ogg"))],
)
def test_sound_and_videos_can_be_played_in_their_cards(opened, job_id, seconds):
    """The length is known once a card is on the screen, and playing begins."""
    show(opened, job_id)
    player = f"document.querySelector('.tile [src^=\"./{job_id}.\"]')"
    opened.until(f"{player}.readyState > 0")
    assert opened.page.evaluate(f"{player}.duration") == pytest.approx(seconds, abs=0.1)
    opened.page.evaluate(f"{player}.play()")
    opened.until(f"{player}.currentTime > 0")


def test_what_is_not_on_the_screen_is_not_read(visit, shelf):
    """A batch of hundreds of sounds opens quickly, and no browser keeps so many players."""
    for number in range(120):
        shelf.file(f"sound-{number}", "wav", *OTHER_FILES["wav"])
    visit.page.goto(shelf.report().as_uri())
    visit.until("document.querySelector('.tile audio').readyState > 0")
    assert visit.page.locator("audio").count() < 120
    assert "sound-119" not in visit.shown


def test_one_is_played_at_a_time(opened):
    """The next one to be played stops the last."""
    for name in ("clip.mp4", "wav.wav"):
        opened.page.evaluate(PLAY, f".tile [src='./{name}']")
    opened.until("document.querySelector('.tile [src=\"./clip.mp4\"]').paused")
    assert not opened.page.evaluate("document.querySelector('.tile [src=\"./wav.wav\"]').paused")


def test_the_large_view_plays_and_stops_when_it_is_left(opened):
    """Going on to the next and closing both end it."""
    look(opened, "wav")
    opened.until("document.querySelector('#stage audio').readyState > 0")
    opened.page.evaluate(PLAY, "#stage audio")
    player = opened.page.locator("#stage audio").element_handle()
    opened.press("Escape")
    opened.page.wait_for_function(STOPPED, arg=player)
    look(opened, "clip")
    opened.until("document.querySelector('#stage video').readyState > 0")
    assert opened.page.locator("#stage audio").count() == 0
    assert opened.page.locator("#view-file").get_attribute("href") == "./clip.mp4"
    player = opened.page.locator("#stage video").element_handle()
    opened.press("Escape")
    opened.find("")
    opened.press("Enter", "ArrowRight")
    opened.page.wait_for_function(STOPPED, arg=player)


def test_what_the_browser_cannot_play_says_so_and_leads_to_the_file(opened):
    """In its card and in the large view; for a player that can."""
    show(opened, "broken")
    opened.page.locator(".tile").get_by_text("MP4: this browser cannot play it").wait_for()
    look(opened, "broken")
    opened.page.locator("#stage").get_by_text("MP4: this browser cannot play it").wait_for()
    assert opened.page.locator("#view-file").get_attribute("href") == "./broken.mp4"


def test_a_text_is_shown_as_text(opened):
    """Its beginning on the card, more of it in the large view, the rest by a link; it is found by the search."""
    opened.page.fill("#q", "steaming")
    assert opened.shown == ["caption"]
    excerpt = opened.page.locator(".excerpt")
    assert excerpt.text_content().startswith("A mug,\n<b>steaming</b>. And so on.")
    look(opened, "caption")
    text = opened.page.locator("#stage pre").text_content()
    assert text.startswith("A mug,\n<b>steaming</b>.")
    assert (len(text), text[-1]) == (4002, "…")
    assert opened.page.locator("#view-file").inner_text() == "The whole file (text/plain, 11,024 bytes)"
    assert opened.page.locator("#view-file").get_attribute("href") == "./caption.txt"


@pytest.mark.parametrize(
    ("job_id", "label"), [pytest.param("scene", "GLB", marks=pytest.mark.slow), ("drawing", "SVG")]
)
def test_other_files_are_a_card_with_type_size_and_link(opened, job_id, label):
    """A drawing too: it is in no element that would draw it or run its scripts."""
    assert opened.page.locator(f".tile[title={job_id}] .sheet").inner_text() == label
    look(opened, job_id)
    assert opened.page.locator("#stage .sheet").inner_text() == label
    assert "bytes" in opened.page.locator("#view-facts").inner_text()
    assert opened.page.locator("#view-file").get_attribute("download") == ""
    drawn = "[...document.querySelectorAll('img, object, embed, iframe, video, audio')].map(one => one.src ?? one.data)"
    assert not [address for address in opened.page.evaluate(drawn) if f"/{job_id}." in address]


def test_kinds_can_be_chosen_and_stand_side_by_side(visit, shelf):
    """Players, texts and files beside pictures, and one of them can be rejected."""
    for ending in ("wav", "srt", "glb"):
        shelf.file(f"mug-{ending}", ending, *OTHER_FILES[ending], file=f"mug/{ending}")
    shelf.done("mug-picture", file="mug/picture")
    visit.page.goto(shelf.report().as_uri())
    visit.page.click("#filter")
    visit.page.select_option("#kind", "audio")
    assert visit.shown == ["mug-wav"]
    visit.page.select_option("#kind", "")
    visit.press("c")
    beside = visit.page.locator("#stage")
    assert [beside.locator(one).count() for one in ("audio", "pre", ".sheet", "img")] == [1, 1, 1, 1]
    visit.page.click("#stage .reject >> nth=0")
    visit.press("Escape")
    assert [one["id"] for one in visit.save()["pictures"]] == ["mug-wav"]
    visit.page.locator("#stage audio").wait_for(state="detached")  # with the dialog, in a turn of its own


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (390, "dark"),
        (1440, "light"),
        pytest.param(390, "light", marks=pytest.mark.slow),
        pytest.param(1440, "dark", marks=pytest.mark.slow),
    ],
)
def test_every_kind_fits_the_screen(opened, width, scheme):
    """Nothing stands out to the side, on a telephone or a desk, and a text keeps its contrast."""
    opened.page.set_viewport_size({"width": width, "height": 800})
    opened.page.emulate_media(color_scheme=scheme)
    opened.until("document.documentElement.scrollWidth <= innerWidth")
    for job_id in ("clip", "wav", "caption", "scene"):
        look(opened, job_id)
        stage = "document.getElementById('stage')"
        assert opened.page.evaluate(f"{stage}.scrollWidth <= {stage}.clientWidth")
        opened.press("Escape")


@pytest.mark.slow
def test_payloads_in_files_of_every_kind_stay_text(visit, shelf):
    """Names, types and contents: nothing comes of them but text."""
    for number, text in enumerate(PAYLOADS):
        name = f"{text.replace('/', '∕')} {number}"
        shelf.file(f"{name} t", "txt", "text/plain", text.encode())
        shelf.file(f"{name} a", "wav", f"audio/{text}", OTHER_FILES["wav"][1])
        shelf.file(f"{name} o", "bin", text, b"\0")
    visit.page.goto(shelf.report().as_uri())
    before = inventory(visit.page)
    assert before["script"] == 2
    assert before["audio"] > 0
    assert "img" not in before
    assert [visit.page.locator(".excerpt").nth(number).text_content() for number in range(2)] == list(PAYLOADS[:2])
    visit.press("l", "Enter", *["c", "c", "ArrowRight"] * 3 * len(PAYLOADS), "Escape")
    after = inventory(visit.page)
    names = ("script", "style", "link", "meta", "img", "video", "svg")
    assert [after.get(name) for name in names] == [before.get(name) for name in names]
    odd = "[...document.querySelectorAll('*')].some(one => [...one.attributes].some(it => it.name.startsWith('on')))"
    assert visit.page.evaluate(odd) is False
