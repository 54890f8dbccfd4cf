"""Nothing that a batch says becomes a part of the page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.results_folder import PAYLOADS, changed, data_of, record

from runner.core.clock import epoch
from runner.core.models import Fault, Output, State
from runner.report.cards import CardSources, OlderFile, make_cards
from runner.report.contact_sheet import proofs, render_sheet
from runner.report.escaping import Thumbs, data_block, link
from runner.report.page import MARK, render, script
from runner.report.page_data import ReportData, Sharing
from runner.report.products import Place, Product
from runner.report.selection import MarkedPicture
from runner.report.thumbnails import Look, PictureCondition

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(PAYLOADS)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


class Elements(HTMLParser):
    """Counts elements and the names of their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.update([tag, *(f"{tag}.{name}" for name, _ in attrs)])

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(text: str) -> str:
    """A page on which everything that can be is ``text``."""
    fault = Fault(code=text, message=text, http_status=500)
    inputs = {"prompt": text, text: text}
    told = {"inputs": inputs, "model": text, "file": text, "request_id": text, "warning": text, "manifest": text}
    times = dict.fromkeys(("at", "submitted_at", "completed_at", "day", "fingerprint", "api"), text)
    output = Output(url=text, path=text, media_type=text, sha256=text, moved_from=text, width=1, height=1)
    others = [changed(output, media_type=kind) for kind in ("video/mp4", "audio/wav", "text/plain", f"model/{text}")]
    done = record(
        text, State.DONE, outputs=(output, output, *others), renamed_from=text, trusted_hosts=(text,), **told, **times
    )
    records = [
        done,
        record(text, State.FAILED, error=fault, inputs=inputs, model=text, file=text, request_id=text, warning=text),
        record(text, State.UNKNOWN, error=fault, inputs=inputs, model=text, file=text, intended_at=text),
    ]
    shown = Look(stand=PictureCondition.ALTERED, thumbnail=b"x", cached=text, width=1, height=1, sha256=text)
    there = Look(stand=PictureCondition.RIGHT)
    read = Look(stand=PictureCondition.RIGHT, text=text, cut=True)
    batch = ReportData(
        name=text,
        root=Path("/out"),
        records=records,
        purchases=records,
        products=[Product(title=text, about=text)],
        sources=CardSources(
            looks={(text, 1): shown, **dict.fromkeys([(text, 3), (text, 4), (text, 6)], there), (text, 5): read},
            places={text: Place(group=text, keys={text: text, f"{text}2": text})},
            older={(text, 1): [OlderFile(purchase=1, path=text)]},
        ),
        untried=0,
        target=text,
        now=0.0,
    )
    pages = [render(batch, Path("/out"), thumbs) for thumbs in Thumbs]
    shared = replace(batch, shared=Sharing(proofs={(text, text): b"x"}, prompts=True))
    cards = make_cards(records, batch.sources)
    picked = dict.fromkeys(range(len(cards)), MarkedPicture(id=text, sha256=text, mark="pick", note=text))
    sheet = render_sheet(batch, proofs(cards, picked), MARK, text)
    return "".join([*pages, render(shared, Path("/out"), Thumbs.EMBED), sheet])


def is_time(text: str) -> bool:
    """Whether a page on which everything is ``text`` has plots, which differ from time to time."""
    try:
        epoch(text)
    except ValueError:
        return False
    return True


PLAIN = Elements(page_of("plain")).seen


def test_the_page_of_these_tests_has_every_kind_of_file():
    """So that what is said below is said of them, too."""
    kinds = {card["kind"] for card in data_of(page_of("plain"))["cards"]}
    assert kinds == {"picture", "video", "audio", "text", "file", ""}


@given(TEXTS.filter(lambda text: text and not is_time(text)))
@settings(max_examples=examples(150), deadline=None)
def test_no_text_makes_an_element_or_an_attribute(text):
    """Prompts, ids, models, error texts and the folder's name: the page keeps its elements, and shows the text."""
    page = page_of(text)
    found = Elements(page)
    assert found.seen == PLAIN
    assert {card["prompt"] for card in data_of(page)["cards"]} == {text}
    if text.strip() and "\r" not in text and "\x00" not in text:
        assert text in found.text


@given(VALUES)
def test_data_is_read_as_it_was_and_cannot_end_its_block(value):
    """JSON without any letter that means something to HTML or ends a line in a script."""
    block = data_block(value)
    assert json.loads(block) == value
    assert not re.search("[<>&\u2028\u2029]", block)


PATHS = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=12).filter(
        lambda part: part not in (".", "..")
    ),
    min_size=1,
    max_size=3,
).map("/".join)


@given(PATHS | st.sampled_from(["javascript:alert(1)", "a?b#c", "100%", "C:x"]))
def test_a_link_leads_to_the_file_and_nowhere_else(path):
    """No scheme, no host, no query; a browser that decodes it finds the path."""
    address = urlsplit(link(Path("/srv/out"), Path("/srv"), path))
    assert (address.scheme, address.netloc, address.query, address.fragment) == ("", "", "", "")
    assert address.path.startswith("./")
    found = Path("/srv") / unquote(address.path)
    assert Path(*found.parts) == Path("/srv/out") / path


def test_the_page_allows_itself_only_its_own_script_and_style():
    """The policy names the very texts by their hashes, and no source but files and embedded pictures."""
    page = page_of("plain")
    policy = re.search('Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    said = policy[1].replace("&#39;", "'")
    assert said.startswith("default-src 'none'; ")
    assert not re.search(r"https?:|\*|unsafe", said)
    for tag in ("style", "script"):
        text = page.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in said


def test_the_page_names_no_address_elsewhere():
    """What it needs is in it: nothing is loaded from any network, and no library's address is left in it."""
    assert not re.search(r"(?:https?:)?//[a-z]", page_of("plain").replace("// ", ""))


def test_a_lone_surrogate_does_not_stop_the_report(shelf):
    """A name of the disk that is no text is shown with a question mark."""
    shelf.done("a")
    odd = shelf.out.rename(shelf.folder / "out\udcff")
    shelf.folder.joinpath("out").symlink_to(odd)
    assert b"<h1>out" in shelf.report().read_bytes()


def test_numbers_of_the_data_are_numbers():
    """msgspec writes no NaN: a page whose data cannot be parsed would show nothing."""
    assert json.loads(data_block({"a": float("nan")})) == {"a": None}


def test_every_address_in_the_page_is_one_of_its_own():
    """A file that is called like a script's address is a file beside the page."""
    page = page_of("javascript:alert(1)")
    found = re.findall(r'\b(?:href|src)="([^"]*)"', page)
    assert [address for address in found if not address.startswith(("./", "#", "data:"))] == []
    cards = data_of(page)["cards"]
    addresses = [card[name] for card in cards for name in ("link", "thumb") if card[name]]
    addresses += [older["link"] for card in cards for older in card.get("older", [])]
    assert [address for address in addresses if not address.startswith(("./", "data:image/webp;base64,"))] == []
    assert "./javascript%3Aalert%281%29" in addresses


def test_the_script_makes_no_element_from_text():
    """What a batch says is set as text, and nothing is ever read as HTML or as a script."""
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(", script())
