"""Sound, videos, texts and other files on the page, in a real browser."""

from __future__ import annotations

import pytest
from support.browser import Visit, inventory
from support.results_folder import PAYLOADS, Shelf

from runner.emulator.other_files import OTHER_FILES
from runner.emulator.pictures import Drawing, picture
from runner.emulator.video import still_clip

SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><script>alert(1)</script></svg>"

PLAY = "which => { const it = document.querySelector(which); it.loop = true; return it.play(); }"
"""Without an end, so that only the page stops it."""


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
    opened.page.locator(f'.tile:has(a[href^="./{job_id}."])').scroll_into_view_if_needed()


def look(opened: Visit, job_id: str) -> None:
    """Open its large view."""
    opened.page.locator(f'.tile:has(h3 a[href^="./{job_id}."]) .open').click()


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
    for number in range(60):
        shelf.file(f"sound-{number}", "wav", *OTHER_FILES["wav"])
    visit.page.goto(shelf.report().as_uri())
    visit.until("document.querySelector('.tile audio').readyState > 0")
    assert visit.page.evaluate("[...document.querySelectorAll('.tile audio')].at(-1).readyState") == 0


def test_one_is_played_at_a_time(opened):
    """The next one to be played stops the last."""
    for name in ("clip.mp4", "wav.wav"):
        opened.page.evaluate(PLAY, f".tile [src='./{name}']")
    opened.until("document.querySelector('.tile [src=\"./clip.mp4\"]').paused")
    assert not opened.page.evaluate("document.querySelector('.tile [src=\"./wav.wav\"]').paused")


def test_the_large_view_plays_and_stops_when_it_is_left(opened):
    """Going on to the next and closing both end it."""
    look(opened, "wav")
    opened.until("document.getElementById('view-audio').readyState > 0")
    opened.page.evaluate(
        "() => { const it = document.getElementById('view-audio'); it.loop = true; return it.play(); }"
    )
    opened.press("Escape")
    opened.until("document.getElementById('view-audio').paused")
    look(opened, "clip")
    opened.until("document.getElementById('view-video').readyState > 0")
    assert not opened.page.locator("#view-audio").is_visible()
    assert opened.page.locator("#view-more a").get_attribute("href") == "./clip.mp4"
    opened.page.click("#view-after")
    assert not opened.page.locator("#view-video").is_visible()
    assert opened.page.evaluate("document.getElementById('view-video').paused")


def test_what_the_browser_cannot_play_says_so_and_leads_to_the_file(opened):
    """In its card and in the large view; for a player that can."""
    show(opened, "broken")
    tile = opened.page.locator('.tile:has(h3 a[href="./broken.mp4"])')
    tile.get_by_text("MP4: this browser cannot play it").wait_for()
    look(opened, "broken")
    opened.page.get_by_text("This browser cannot play it.").wait_for()
    assert opened.page.locator("#view-more a").get_attribute("href") == "./broken.mp4"


def test_a_text_is_shown_as_text(opened):
    """Its beginning on the card, more of it in the large view, the rest by a link; it is found by the search."""
    opened.page.fill("#q", "steaming")
    assert opened.shown == ["caption"]
    excerpt = opened.page.locator(".excerpt")
    assert excerpt.text_content().startswith("A mug,\n<b>steaming</b>. And so on.")
    look(opened, "caption")
    text = opened.page.locator("#view-text").text_content()
    assert text.startswith("A mug,\n<b>steaming</b>.")
    assert (len(text), text[-1]) == (4002, "…")
    assert opened.page.locator("#view-more").inner_text() == "The whole file (text/plain, 11,024 bytes)"
    assert opened.page.locator("#view-more a").get_attribute("href") == "./caption.txt"


@pytest.mark.parametrize(
    ("job_id", "label"), [pytest.param("scene", "GLB", marks=pytest.mark.slow), ("drawing", "SVG")]
)
def test_other_files_are_a_card_with_type_size_and_link(opened, job_id, label):
    """A drawing too: it is in no element that would draw it or run its scripts."""
    tile = opened.page.locator(f'.tile:has(h3 a[href^="./{job_id}."])')
    assert tile.locator(".sheet").inner_text() == label
    assert "bytes" in tile.locator(".facts").inner_text()
    assert tile.locator("a").get_attribute("download") == ""
    look(opened, job_id)
    assert opened.page.locator("#view-sheet").inner_text() == label
    assert opened.page.locator("#view-more a").get_attribute("download") == ""
    drawn = "[...document.querySelectorAll('img, object, embed, iframe, video, audio')].map(one => one.src ?? one.data)"
    assert not [address for address in opened.page.evaluate(drawn) if f"/{job_id}." in address]


def test_kinds_can_be_chosen_and_stand_side_by_side(visit, shelf):
    """Players, texts and files beside pictures, and one of them can be rejected."""
    for ending in ("wav", "srt", "glb"):
        shelf.file(f"mug-{ending}", ending, *OTHER_FILES[ending], file=f"mug/{ending}")
    shelf.done("mug-picture", file="mug/picture")
    visit.page.goto(shelf.report().as_uri())
    visit.page.select_option("#kind", "audio")
    assert visit.shown == ["mug-wav"]
    visit.press("l", "v")
    beside = visit.page.locator("#set-pictures")
    assert [beside.locator(one).count() for one in ("audio", "pre", ".sheet", "img")] == [1, 1, 1, 1]
    visit.page.click("#set-pictures .reject >> nth=0")
    visit.press("Escape")
    assert visit.commands[0][-1] == "mug-wav"
    visit.page.locator("#set-pictures audio").wait_for(state="detached")  # with the dialog, in a turn of its own


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
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    for job_id in ("clip", "wav", "caption", "scene"):
        look(opened, job_id)
        stage = "document.querySelector('.stage')"
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
    assert before["audio"] == len(PAYLOADS) + 1
    assert before["img"] == 1
    for number in range(3 * len(PAYLOADS)):
        visit.page.locator(".card .open").nth(number).click()
        visit.press("v", "Escape", "Escape")
    assert [visit.page.locator(".excerpt").nth(number).text_content() for number in range(2)] == list(PAYLOADS[:2])
    after = inventory(visit.page)
    names = ("script", "style", "link", "meta", "img", "audio", "video", "svg")
    assert [after[name] for name in names] == [before[name] for name in names]
    odd = "[...document.querySelectorAll('*')].some(one => [...one.attributes].some(it => it.name.startsWith('on')))"
    assert visit.page.evaluate(odd) is False
