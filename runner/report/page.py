"""Page of the report: rendering of ``page.html``, and writing of the file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from runner import __version__
from runner.core.disk import replace_file
from runner.core.errors import OutputError, UsageError
from runner.core.models import Record
from runner.engine.billing.costs import spent
from runner.report.cards import STATE_NAMES, STATES, Card, Kind, interval, make_cards
from runner.report.charts import plots
from runner.report.escaping import Thumbs, content_policy, data_block
from runner.report.model_table import table
from runner.report.needs import causes, count_states, flight, title
from runner.report.page_data import ReportData, page_data
from runner.report.templates import asset, template

SCRIPTS = (
    "data",
    "search",
    "marks",
    "layout",
    "media",
    "grid",
    "selection",
    "zoom",
    "viewer",
    "keys",
    "main",
)
"""Modules of the page's script in ``assets``, in the order in which they need one another."""
MOST_CHOICES = 60
"""Most choices of a filter; a key of the matrix with more values is left to the search."""
MARK = "<!doctype html><!-- made by `runner report`, which writes over it -->"
"""First line of every report. A file that begins otherwise is not overwritten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One list of choices in the bar, each with its number of cards."""

    kind: str
    label: str
    choices: list[tuple[str, int]]
    id: str = ""
    key: str = ""
    """Key of the matrix, if ``kind`` is ``key``."""


def write(batch: ReportData, target: Path, place: Thumbs) -> int:
    """Write the report of ``batch`` to ``target``; return its size in bytes. Raises what ``write_text`` raises."""
    return write_text(render(batch, target.parent, place), target)


def write_text(page: str, target: Path) -> int:
    """Write ``page`` to ``target``, whole or not at all; return its size in bytes.

    Raises ``UsageError`` if ``target`` exists and is no report, ``OutputError`` if the file cannot be written.
    """
    check_target(target)
    body = page.encode("utf-8", "replace")
    try:
        replace_file(target, body)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from error
    return len(body)


def check_target(target: Path) -> None:
    """Raise ``UsageError`` if ``target`` exists and is not a report of this program."""
    if not os.path.lexists(target):
        return
    ours = False
    with suppress(OSError):
        if target.is_file():  # opening a named pipe could block forever
            with target.open("rb") as file:
                ours = file.read(len(MARK)) == MARK.encode()
    if not ours:
        raise UsageError(f"{target} is no report of `runner`: it stays as it is. Name another file with --to.")


def render(batch: ReportData, here: Path, place: Thumbs) -> str:
    """Return the page as HTML, for a file in the folder ``here``."""
    cards = make_cards(batch.records, batch.sources)
    if batch.shared is not None:
        cards = [card for card in cards if (card.id, card.path) in batch.shared.proofs]
    found = causes(cards, batch.target) if batch.shared is None else []
    css, js = asset("style.css"), script()
    return template("page.html").render(
        mark=Markup(MARK),  # noqa: S704 - a constant
        policy=content_policy(css, js),
        css=Markup(css),  # noqa: S704 - a file of this package
        js=Markup(js),  # noqa: S704 - a file of this package
        data=data_block(page_data(batch, cards, found, here, place)),
        version=__version__,
        name=batch.name,
        written=moment(batch.now),
        span=_span(batch.purchases),
        kinds=_kinds(cards),
        untried=batch.untried,
        spent_usd=sum(map(spent, batch.purchases)),
        states=_counted((card.state for card in cards), STATES.index),
        filters=_filters(cards),
        state_names=STATE_NAMES,
        needs=found,
        needs_title=title(found),
        needs_count=count_states(found, cards),
        flight=flight(cards) if batch.shared is None else "",
        commands=_commands(batch.target),
        redo=f"runner run {batch.target} --redo --only-from selection.json",
        shared=batch.shared is not None,
        plots=plots(batch.purchases) if batch.shared is None else [],
        rows=table(batch.records, batch.purchases),
    )


@cache
def script() -> str:
    """Return the script of the page: the modules of ``SCRIPTS`` in one function, so that they share their names."""
    return '"use strict";\n(() => {\n' + "\n".join(asset(f"{name}.js") for name in SCRIPTS) + "})();\n"


def _commands(target: str) -> list[tuple[str, str, str]]:
    """Return the commands that go on from a selection: label, name of the field, and command."""
    report, export, chosen = f"runner report {target}", f"runner export {target}", "--selection selection.json"
    return [
        ("A printable sheet of the picked ones:", "sheet-line", f"{report} {chosen} --contact-sheet"),
        ("One file to send to somebody who shall choose:", "share-line", f"{report} --share"),
        ("The receipts, with marks and notes:", "export-line", f"{export} {chosen}"),
    ]


def _filters(cards: Sequence[Card]) -> list[Filter]:
    """Return the filters that leave a choice."""
    kinds = _counted((card.kind for card in cards if card.pictured), lambda kind: list(Kind).index(Kind(kind)))
    names = dict.fromkeys(name for card in cards for name in card.keys)
    values = [(name, _counted((c.keys[name] for c in cards if name in c.keys), str)) for name in names]
    states, models = _counted((c.state for c in cards), STATES.index), _counted((c.model for c in cards), str)
    sizes = _counted((c.size for c in cards if c.size), _by_numbers)
    found = [
        Filter(kind="kind", id="kind", label="All kinds", choices=kinds),
        Filter(kind="state", id="state", label="All states", choices=states),
        *(Filter(kind="key", key=name, label=f"{name}: all", choices=choices) for name, choices in values),
        Filter(kind="size", id="size", label="All sizes", choices=sizes),
        Filter(kind="model", id="model", label="All models", choices=models),
    ]
    return [filter_ for filter_ in found if 1 < len(filter_.choices) <= MOST_CHOICES]


def _kinds(cards: Sequence[Card]) -> list[tuple[str, int]]:
    """Return the number of files of each kind, with the kind in words; zero pictures if there are no files."""
    counts = Counter(card.kind for card in cards if card.pictured)
    return [(_PLURALS[kind], counts[kind]) for kind in Kind if counts[kind]] or [(_PLURALS[Kind.PICTURE], 0)]


_PLURALS = {
    Kind.PICTURE: "pictures",
    Kind.VIDEO: "videos",
    Kind.AUDIO: "sounds",
    Kind.TEXT: "texts",
    Kind.FILE: "other files",
}


def _counted(values: Iterable[str], key: Callable[[str], Any]) -> list[tuple[str, int]]:
    return sorted(Counter(values).items(), key=lambda item: key(item[0]))


def _by_numbers(size: str) -> list[int]:
    return [int(number) for number in size.split("×")]


def _span(purchases: Iterable[Record]) -> str:
    """Return the time from the first acceptance to the last end in words; empty if no times are known."""
    spans = [times for record in purchases if (times := interval(record)) is not None]
    if not spans:
        return ""
    return f"{moment(min(start for start, _ in spans))} to {moment(max(end for _, end in spans))}"


def moment(epoch_seconds: float) -> str:
    return f"{datetime.fromtimestamp(epoch_seconds, tz=UTC):%d %b %Y %H:%M} UTC"
