"""Pages made of a selection: a contact sheet to print, and proofs to share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from markupsafe import Markup

from runner import __version__
from runner.report.cards import Card, Kind
from runner.report.escaping import embedded, sheet_policy
from runner.report.page_data import ReportData
from runner.report.selection import MarkedPicture, Marks
from runner.report.templates import asset, template
from runner.report.thumbnails import make_thumbnail

PROOF_EDGE = 800
"""Longer side of a shared proof in pixels."""
PROOF_QUALITY = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One picture of the sheet. The texts are unescaped; the sheet escapes them."""

    title: str
    about: str
    note: str
    image: str
    """``data:`` address; empty if there is no picture to show."""


def find_marks(cards: Sequence[Card], marks: Marks) -> dict[int, MarkedPicture]:
    """Return the mark of each card that has one, by its place in ``cards``."""
    found = ((number, marks.find(card.sha256, card.id)) for number, card in enumerate(cards) if card.pictured)
    return {number: mark for number, mark in found if mark is not None}


def make_proofs(batch: ReportData, cards: Sequence[Card]) -> dict[tuple[str, str], bytes]:
    """Return a proof of each picture of ``cards`` by job id and path. Files that are no pictures have none."""
    pictures = [card for card in cards if card.pictured and card.kind is Kind.PICTURE]
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="proofs") as threads:
        bodies = threads.map(lambda card: make_thumbnail(batch.root / card.path, PROOF_EDGE, PROOF_QUALITY), pictures)
        found = zip(pictures, bodies, strict=True)
        return {(card.id, card.path): body for card, body in found if body is not None}


def proofs(cards: Sequence[Card], marks: Mapping[int, MarkedPicture]) -> list[Proof]:
    """Return the picked ones of ``cards``. ``marks`` has the mark of a card by its place in ``cards``."""
    return [
        Proof(
            title=card.id + (f" ({card.part})" if card.part else ""),
            about=card.size,
            note=marks[number].note,
            image=embedded(card.look.thumbnail) if card.look.thumbnail else "",
        )
        for number, card in enumerate(cards)
        if number in marks and marks[number].mark == "pick"
    ]


def render_sheet(batch: ReportData, pictures: Sequence[Proof], mark: str, written: str) -> str:
    """Return the sheet as HTML. ``mark`` is the first line of every report."""
    css = asset("sheet.css")
    return template("sheet.html").render(
        mark=Markup(mark),  # noqa: S704 - a constant
        policy=sheet_policy(css),
        css=Markup(css),  # noqa: S704 - a file of this package
        version=__version__,
        name=batch.name,
        written=written,
        pictures=pictures,
    )
