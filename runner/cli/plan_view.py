"""Text of ``runner plan``: a table at a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from runner.cli.console import echo, printable, say
from runner.core.models import Job, Json
from runner.core.text import usd
from runner.engine.billing.costs import Prices
from runner.engine.billing.prices import DURATION_ADVICE, WithoutDuration, extent_of
from runner.engine.catalogue import Quote
from runner.engine.forecast import KEYS
from runner.engine.model_info import output_words
from runner.engine.replacements import range_words, replaced_words
from runner.planning.rules import Action

MAX_VALUE = 600
"""Characters of an input that are shown. ``--json`` has the whole inputs."""
LABELS = {Action.COLLECT: "download", Action.DELIVER: "download again", Action.HOLD: "on hold"}
"""Actions in words for people, where the key of ``--json`` is not plain."""
MEANING = {
    Action.REUSE: "done; nothing to do",
    Action.COLLECT: "paid, not downloaded yet; no further cost",
    Action.DELIVER: "files are missing; no further cost",
    Action.BUY: "submitted and charged",
    Action.HOLD: "may have been bought; resolve with `runner reconcile`",
    Action.FAILED: "failed with these inputs; change them to try again",
}
OR_BOUGHT = ", or bought again if they are unavailable"


class Row(NamedTuple):
    """One line of the overview."""

    jobs: int
    label: str
    meaning: str
    details: tuple[str, ...] = ()


class Sent(NamedTuple):
    """One job to be bought, and what would be sent for it."""

    job: Job
    reason: str
    changed: tuple[str, ...]
    """Inputs that have changed since the picture that is replaced; empty: none is replaced."""
    prices: Prices | None
    """Prices by model; None: nothing is charged."""

    def as_json(self) -> dict[str, Json]:
        """Return what is sent, where the result goes, and the price; without a price if nothing is charged."""
        low, high = self._range()
        money = {} if self.prices is None else {"from_usd": low, "up_to_usd": high}
        return {"model": self.job.model, "inputs": self.job.inputs, "file": self.job.file, **self._replaced(), **money}

    def price_words(self) -> str:
        low, high = self._range()
        if self.prices is None:
            return ""
        if low is None or high is None:
            return "price unknown"
        return f"from {usd(low)}" if low == high else f"from {usd(low)}, reserved {usd(high)}"

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield the names and values of the model, the inputs (the prompt first), the file and the price."""
        yield "model", self.job.model
        for name in sorted(self.job.inputs, key=lambda name: name != "prompt"):
            yield name, _shortened(self.job.inputs[name])
        yield "file", f"{self.job.file}.*"
        if price := self.price_words():
            yield "price", price

    def _replaced(self) -> dict[str, Json]:
        return {"replaces": list(self.changed)} if self.changed else {}

    def title(self) -> str:
        """Return the id and the reason, with the inputs that have changed."""
        return f"{self.job.id} ({self.reason}{': ' if self.changed else ''}{', '.join(self.changed)})"

    def _range(self) -> tuple[float | None, float | None]:
        price, extent = (self.prices or {}).get(self.job.model), extent_of(self.job.inputs)
        return (price.least(extent), price.most(extent)) if price is not None else (None, None)


def _shortened(value: Json) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}… ({len(text):,} characters)"


def show_job(action: Action, job_id: str, reason: str, sent: Sent | None) -> None:
    """Print the decision about one job, and what is sent for it."""
    say(f"{LABELS.get(action, action.value):<14} {job_id}: {reason}")
    for name, value in sent.lines() if sent is not None else ():
        say(f"  {name:<12} {value}")


def show_overview(found: Mapping[str, Any], quote: Quote | None, sample: list[Sent], *, missing: bool) -> None:
    """Print the ``--json`` object ``found`` for people. ``quote`` of None: nothing is charged.

    ``missing``: whether pictures that are gone also at the API are bought again.
    """
    rows = list(_rows(found, quote or Quote(), missing=missing))
    head = f"{'1 job' if found['total'] == 1 else format(found['total'], ',') + ' jobs'} → {found['output']}"
    if sys.stdout is not None and sys.stdout.isatty():
        _show_tables(head, rows, found, sample)
    else:
        _show_lines(head, rows, found, sample)


def _rows(found: Mapping[str, Any], quote: Quote, *, missing: bool) -> Iterator[Row]:
    for action, key in KEYS.items():
        if found[key]:
            meaning = MEANING[action] + (OR_BOUGHT if missing and action is Action.DELIVER else "")
            yield Row(found[key], LABELS.get(action, action.value), meaning, tuple(_details(action, found, quote)))
    if found["owed_by_others"]:
        yield Row(found["owed_by_others"], "download", "paid results of jobs that are not selected")


def _details(action: Action, found: Mapping[str, Any], quote: Quote) -> Iterator[str]:
    if action is Action.REUSE and found["moves"]:
        moves = found["moves"]
        yield f"{'1 moves' if moves == 1 else f'{moves:,} move'}: the files get another name"
    if action is Action.BUY:
        yield from _purchases(found, quote)


def _purchases(found: Mapping[str, Any], quote: Quote) -> Iterator[str]:
    yield from _sorts(found)
    priced = {part["model"]: _model_words(part) for part in found.get("models", [])}
    for model, kinds in found["makes"].items():
        makes = f"makes {output_words(kinds)}" if kinds else ""
        words = f"{priced[model]}{makes and f'; {makes}'}" if model in priced else f"{model} {makes}"
        if makes or model in priced:
            yield words
    for one in found.get("without_duration", []):
        lacking = str(WithoutDuration(one["model"], one["jobs"], one["example"]))
        if lacking not in (found["not_now"] or ""):
            yield f"{lacking}; {DURATION_ADVICE}"
    if "from_usd" in found:
        yield f"{_price_words(found, quote)}{_cap_words(found) if found['budget'] else ''}"
    if found.get("balance_usd") is not None:
        yield f"balance of the account {usd(found['balance_usd'])}{_enough(found, 'balance_pays_for')}"
    if found["after_collecting"]:
        yield f"{found['after_collecting']:,} of them after the download of an older purchase of the job"


def _sorts(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield how many of the jobs to be bought are new, replace a picture, or are bought once more."""
    new, replaced = found["new"], found["replaces"]
    again = found["buy"] - new - replaced["jobs"]
    if new:
        yield f"{new:,} new"
    if replaced["jobs"]:
        low, high = replaced.get("from_usd"), replaced.get("up_to_usd")
        cost = "" if low is None or high is None else range_words(low, high)
        yield replaced_words(replaced["jobs"], replaced["changed"], cost)
    if again:
        yield f"{again:,} bought once more: a redo, or not delivered before"


def _price_words(found: Mapping[str, Any], quote: Quote) -> str:
    """Return in words what the purchases may cost according to the live catalogue."""
    lacking = {one["model"]: one["jobs"] for one in found["without_duration"]}
    if found["from_usd"] is None:
        why = "" if lacking else f" ({quote.why or 'the catalogue has none'})"
        return f"total price unknown{why}"
    unpriced = [model for model in found["unpriced"] if model not in lacking]
    price = f"from ${found['from_usd']:.4f}, reserved up to ${found['up_to_usd']:.4f}"
    why = f" ({quote.why})" if quote.why else ""
    price += f", without {', '.join(unpriced)}, whose price is unknown{why}" if unpriced else ""
    return price + (f", without {sum(lacking.values()):,} whose duration is unknown" if lacking else "")


def _cap_words(found: Mapping[str, Any]) -> str:
    return f"; budget {found['budget']}, of which ${found['budget_left_usd']:.4f} is left{_enough(found, 'affordable')}"


def _enough(found: Mapping[str, Any], key: str) -> str:
    """Return in words for how many of the purchases an amount is enough; ``key`` has their number."""
    count = found[key]
    if count is None:
        return ""
    if count >= found["buy"]:
        return ": enough for all of these"
    if not count:
        return ": too little for any"
    return f": enough for {'the first job' if count == 1 else f'the first {count:,} jobs'} at these reserves"


def _model_words(part: Mapping[str, Any]) -> str:
    cost = part["base_price_usd"]
    if cost is None:
        return f"{part['model']}: {part['buy']:,}, price unknown"
    if part["price_unit"] == "second":
        return f"{part['model']}: {part['buy']:,}, {part['seconds']:,} s in total, from ${cost:g} a second"
    return f"{part['model']}: {part['buy']:,}, from ${cost:g} each"


def _ending(found: Mapping[str, Any]) -> str:
    if not found["buy"]:
        return "A run would buy nothing."
    return f"The next run would buy nothing yet: {found['not_now']}." if found["not_now"] else ""


def _sample_title(found: Mapping[str, Any], sample: list[Sent]) -> str:
    if len(sample) == found["buy"]:
        return "What is sent:"
    first = "the first" if len(sample) == 1 else f"the first {len(sample):,}"
    return f"What is sent, {first} of {found['buy']:,} (--sample N shows N, --jobs all):"


def _show_lines(head: str, rows: list[Row], found: Mapping[str, Any], sample: list[Sent]) -> None:
    say(head)
    if found["left_out"]:
        say(f"left out by where: {found['left_out']:,}")
    for row in rows:
        say(f"  {row.jobs:>7,}  {row.label}: {row.meaning}")
        for line in row.details:
            say(f"           {line}")
    if sample:
        say(_sample_title(found, sample))
    for sent in sample:
        say(f"  {sent.title()}")
        for name, value in sent.lines():
            say(f"    {name:<12} {value}")
    if ending := _ending(found):
        say(ending)


def _show_tables(head: str, rows: list[Row], found: Mapping[str, Any], sample: list[Sent]) -> None:
    from rich.console import Console  # noqa: PLC0415 - importing rich takes 0.1 s, and a pipe needs none
    from rich.table import Table  # noqa: PLC0415 - a part of rich
    from rich.text import Text  # noqa: PLC0415 - a part of rich

    overview = Table.grid(padding=(0, 2, 0, 0))
    overview.add_column(justify="right")
    overview.add_column()
    overview.add_column(overflow="fold")
    for row in rows:
        overview.add_row(Text(f"{row.jobs:,}", style="bold"), Text(row.label, style="bold"), Text(row.meaning))
        for line in row.details:
            overview.add_row("", "", Text(printable(line), style="bold yellow" if "replace" in line else "dim"))
    if found["left_out"]:
        overview.add_row(Text(f"{found['left_out']:,}"), Text("left out"), Text("rows of feeds, by `where`"))
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, highlight=False, no_color=bool(os.environ.get("NO_COLOR")))
    console.print(Text(printable(head)), overview, sep="\n")
    if sample:
        inputs = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
        inputs.add_column(style="dim")
        inputs.add_column(overflow="fold")
        for sent in sample:
            inputs.add_row(Text(" "), "")
            inputs.add_row(Text("job"), Text(printable(sent.title()), style="bold"))
            for name, value in sent.lines():
                inputs.add_row(Text(printable(name)), Text(printable(value)))
        console.print(Text(f"\n{_sample_title(found, sample)}"), inputs, sep="\n")
    if ending := _ending(found):
        console.print(Text(f"\n{printable(ending)}"))
    echo(file.getvalue(), nl=False)
