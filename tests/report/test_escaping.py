"""Nothing that a batch says becomes a part of the page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.results_folder import PAYLOADS, changed, data_of, record

from runner.core.clock import epoch
from runner.core.models import Fault, Output, State
from runner.report.escaping import Thumbs, data_block, link
from runner.report.page import ReportData, render
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
    shown = Look(stand=PictureCondition.ALTERED, thumbnail=b"x", cached=text, width=1, height=1)
    there = Look(stand=PictureCondition.RIGHT)
    read = Look(stand=PictureCondition.RIGHT, text=text, cut=True)
    batch = ReportData(
        name=text,
        root=Path("/out"),
        records=records,
        purchases=records,
        looks={(text, 1): shown, **dict.fromkeys([(text, 3), (text, 4), (text, 6)], there), (text, 5): read},
        untried=0,
        command=text,
        now=0.0,
    )
    return render(batch, Path("/out"), Thumbs.EMBED) + render(batch, Path("/out"), Thumbs.BESIDE)


def is_time(text: str) -> bool:
    """Whether a page on which everything is ``text`` has plots, which differ from time to time."""
    try:
        epoch(text)
    except ValueError:
        return False
    return True


PLAIN = Elements(page_of("plain")).seen
KINDS = ("video.src", "audio.src", "span.dir", "a.download")
"""Of a card of each kind, and nothing else."""


def test_the_page_of_these_tests_has_every_kind_of_file():
    """Twice each, since it is made twice: so that what is said below is said of them, too."""
    assert [PLAIN[name] for name in KINDS] == [2] * len(KINDS)


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
    found = re.findall(r'\b(?:href|src)="([^"]*)"', page_of("javascript:alert(1)"))
    assert [address for address in found if not address.startswith(("./", "#", "data:"))] == []
    assert "./javascript%3Aalert%281%29" in found
