"""Data of a report: what the page is made of, and what its script reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from runner.core.models import Record
from runner.report.cards import STATE_NAMES, Card, CardSources
from runner.report.escaping import Thumbs, embedded, link, source
from runner.report.needs import Cause
from runner.report.products import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Proofs of a page for other people: it has no addresses and no costs, and no prompts unless they are asked for."""

    proofs: Mapping[tuple[str, str], bytes]
    """WebP of each picture that is shared, by job id and path."""
    prompts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Data of a report."""

    name: str
    root: Path
    """The output folder."""
    records: Sequence[Record]
    """One purchase of each job: the one in force, or the one that the user has to resolve. Products stay together."""
    products: Sequence[Product]
    purchases: Sequence[Record]
    """All purchases, for cost and times."""
    sources: CardSources
    untried: int
    """Number of jobs of the manifest without a purchase."""
    target: str
    """Arguments that name this batch to a command, quoted for a shell."""
    now: float
    shared: Sharing | None = None
    """Limits of a page for other people; None: the page is for people with the folder."""


def page_data(
    batch: ReportData, cards: Sequence[Card], causes: Sequence[Cause], here: Path, place: Thumbs
) -> dict[str, object]:
    """Return the data for the script of a page in the folder ``here``. Empty values of a card are left out."""
    models = {model: number for number, model in enumerate(dict.fromkeys(card.model for card in cards))}
    cause_of = {number: cause.number for cause in causes for number in cause.cards}
    shared = batch.shared
    return {
        "name": batch.name,
        "target": batch.target if shared is None else "",
        "shared": shared is not None,
        "stateNames": STATE_NAMES,
        "models": list(models),
        "groups": _headings(batch.products, cards, shared),
        "cards": [
            _lean(
                {
                    **_card(card, models),
                    **(_addresses(card, batch.root, here, place) if shared is None else _proof(card, shared)),
                },
                cause_of.get(number),
            )
            for number, card in enumerate(cards)
        ],
    }


def _lean(card: dict[str, object], cause: int | None) -> dict[str, object]:
    found = {name: value for name, value in card.items() if value not in ("", None, False) and value not in ([], {})}
    return found if cause is None else {**found, "cause": cause}


def _headings(products: Sequence[Product], cards: Sequence[Card], shared: Sharing | None) -> list[dict[str, str]]:
    """Return the headings of all products; on a shared page, without prompts, and empty where no card is shared."""
    if shared is None:
        return [asdict(product) for product in products]
    used = {card.group for card in cards}
    return [
        {"title": product.title, "about": product.about if shared.prompts else ""}
        if number in used
        else {"title": "", "about": ""}
        for number, product in enumerate(products)
    ]


def _card(card: Card, models: Mapping[str, int]) -> dict[str, object]:
    """Return what everybody may see of a card."""
    return {
        "id": card.id,
        "part": card.part,
        "state": card.state if card.state != "done" else "",
        "kind": card.kind if card.pictured else "",
        "label": card.label if card.pictured else "",
        "other": card.other,
        "model": models[card.model],
        "size": card.size,
        "pixels": card.pixels,
        "sha256": card.sha256,
        "warning": card.warning,
        "group": card.group,
        "keys": dict(card.keys),
    }


def _addresses(card: Card, root: Path, here: Path, place: Thumbs) -> dict[str, object]:
    """Return the fields that only people with the folder see: prompts, costs and addresses."""
    return {
        "text": card.look.text,
        "cut": card.look.cut,
        "prompt": card.prompt,
        "inputs": card.inputs,
        "usd": card.cost_usd,
        "cost": card.cost,
        "seconds": card.seconds,
        "at": card.at,
        "path": card.path,
        "link": link(root, here, card.path) if card.pictured else "",
        "thumb": source(card.look, root, here, place) if card.pictured else "",
        "request": card.request_id,
        "why": card.why,
        "means": card.means,
        "advice": card.advice,
        "copies": [{"name": path, "link": link(root, here, path)} for path in card.copies],
        "older": [{"purchase": old.purchase, "link": link(root, here, old.path)} for old in card.older],
    }


def _proof(card: Card, shared: Sharing) -> dict[str, object]:
    """Return the proof of a picture, and its prompt if prompts are shared."""
    proof = shared.proofs.get((card.id, card.path))
    return {
        "link": embedded(proof) if proof is not None else "",
        "prompt": card.prompt if shared.prompts else "",
    }
