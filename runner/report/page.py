"""Page of the report: rendering of ``page.html``, and writing of the file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from runner import __version__
from runner.core.disk import replace_file
from runner.core.errors import OutputError, UsageError
from runner.core.models import Record
from runner.engine.billing.costs import spent
from runner.report.cards import STATES, Card, Kind, interval, make_cards, table
from runner.report.charts import plots
from runner.report.escaping import Thumbs, content_policy, data_block, link, source
from runner.report.thumbnails import Look

MARK = "<!doctype html><!-- made by `runner report`, which writes over it -->"
"""First line of every report. A file that begins otherwise is not overwritten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Data of a report."""

    name: str
    root: Path
    """The output folder."""
    records: Sequence[Record]
    """One purchase of each job: the one in force, or the one that the user has to resolve."""
    purchases: Sequence[Record]
    """All purchases, for cost and times."""
    looks: dict[tuple[str, int], Look]
    untried: int
    """Number of jobs of the manifest without a purchase."""
    command: str
    """Command that runs this batch, quoted for a shell."""
    now: float


def write(batch: ReportData, target: Path, place: Thumbs) -> int:
    """Write the report of ``batch`` to ``target``, whole or not at all; return its size in bytes.

    Raises ``UsageError`` if ``target`` exists and is no report, ``OutputError`` if the file cannot be written.
    """
    check_target(target)
    body = render(batch, target.parent, place).encode("utf-8", "replace")
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
    cards = make_cards(batch.records, batch.looks)
    css, js = _part("page.css"), _part("page.js")
    numbers = {id(card): number for number, card in enumerate(cards)}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(_part("page.html"))
    return template.render(
        mark=Markup(MARK),  # noqa: S704 - a constant
        policy=content_policy(css, js),
        css=Markup(css),  # noqa: S704 - a file of this package
        js=Markup(js),  # noqa: S704 - a file of this package
        data=data_block({"command": batch.command, "cards": _told(cards, batch.root, here)}),
        version=__version__,
        name=batch.name,
        written=_moment(batch.now),
        span=_span(batch.purchases),
        kinds=_kinds(cards),
        untried=batch.untried,
        spent_usd=sum(map(spent, batch.purchases)),
        states=_counted((card.state for card in cards), STATES.index),
        filters=_filters(cards),
        cards=cards,
        loop_number=lambda card: numbers[id(card)],
        source=lambda card: source(card, batch.root, here, place),
        link=lambda card: link(batch.root, here, card.path),
        plots=plots(batch.purchases),
        rows=table(batch.records, batch.purchases),
    )


def _part(name: str) -> str:
    return files("runner.report").joinpath(name).read_text(encoding="utf-8")


def _told(cards: Sequence[Card], root: Path, here: Path) -> list[dict[str, object]]:
    """Return the data of each card for the script."""
    families = {family: number for number, family in enumerate(dict.fromkeys(card.family for card in cards))}
    return [
        {
            "id": card.id,
            "number": card.number,
            "state": card.state,
            "pictured": card.pictured,
            "kind": card.kind if card.pictured else "",
            "label": card.label,
            "other": card.other,
            "text": card.look.text,
            "cut": card.look.cut,
            "prompt": card.prompt,
            "inputs": card.inputs,
            "model": card.model,
            "size": card.size,
            "pixels": card.pixels,
            "usd": card.cost_usd,
            "cost": card.cost,
            "seconds": card.seconds,
            "at": card.at,
            "path": card.path,
            "link": link(root, here, card.path) if card.pictured else "",
            "request": card.request_id,
            "why": card.why,
            "means": card.means,
            "advice": card.advice,
            "warning": card.warning,
            "family": families[card.family],
        }
        for card in cards
    ]


def _filters(cards: Sequence[Card]) -> list[tuple[str, str, list[tuple[str, int]]]]:
    """Return the filters: name, label, and the choices with the number of cards of each."""
    kinds = _counted((card.kind for card in cards if card.pictured), lambda kind: list(Kind).index(Kind(kind)))
    return [
        *([("kind", "All kinds", kinds)] if len(kinds) > 1 else []),
        ("state", "All states", _counted((card.state for card in cards), STATES.index)),
        ("size", "All sizes", _counted((card.size for card in cards if card.size), _by_numbers)),
        ("model", "All models", _counted((card.model for card in cards), str)),
    ]


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
    return f"{_moment(min(start for start, _ in spans))} to {_moment(max(end for _, end in spans))}"


def _moment(epoch_seconds: float) -> str:
    return f"{datetime.fromtimestamp(epoch_seconds, tz=UTC):%d %b %Y %H:%M} UTC"
