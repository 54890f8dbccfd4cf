"""Products of a batch: which jobs belong together, their order, and what tells them apart.

The jobs of one row of a feed are one product; so are the jobs of an entry without a feed. Without a manifest, folders
and ids tell.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from runner.core.models import Json, Record
from runner.manifest.jobs.store import StoredJob

LARGEST_SET = 24
"""Most jobs in a folder, or of a common name, that are taken for one product without a manifest."""
MOST_VIEWS = 40
"""Most different endings of ids that are taken for views."""
MOST_ABOUT = 120
_SIZE = re.compile(r"[-_ ]?\d{2,5}[x×]\d{2,5}$")
_HASH = re.compile(r"-[0-9a-f]{10}(?=$|-)")
_SEPARATORS = " -_.,;:·/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Place of a job in the batch."""

    group: Hashable
    """Key that the jobs of one product share."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys of the matrix, as ``{"view": "front"}``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Heading of the jobs that belong together. The texts are unescaped; the page escapes them."""

    title: str
    about: str = ""


def places_of_jobs(jobs: Iterable[StoredJob]) -> dict[str, Place]:
    """Return the place of each job of a manifest by id, in manifest order."""
    return {
        stored.job.id: Place(
            group=("row", stored.feed, stored.row) if stored.row else ("entry", stored.job.line, stored.job.column),
            keys={name: as_text(value) for name, value in stored.keys.items()},
        )
        for stored in jobs
    }


def places_of_records(records: Sequence[Record]) -> dict[str, Place]:
    """Return the place of each job by id, in order of first appearance, as its folder, id and prompt tell.

    The first of these that 2 to ``LARGEST_SET`` jobs share makes the product: the folder of the file, the id without
    its last word (if other products have that word), model and prompt. Other jobs are products of their own.
    """
    views = _views(records)
    candidates = {record.id: _candidates(record, views) for record in records}
    sizes = Counter(group for groups in candidates.values() for group, _ in groups)
    alone = Place(group=None)
    places = {}
    for job_id, groups in candidates.items():
        fitting = (Place(group=group, keys=keys) for group, keys in groups if 1 < sizes[group] <= LARGEST_SET)
        chosen = next(fitting, alone)
        places[job_id] = chosen if chosen is not alone else Place(group=("id", job_id))
    return places


def _candidates(record: Record, views: Mapping[str, str]) -> list[tuple[Hashable, dict[str, str]]]:
    """Return the products that ``record`` may belong to, the most telling first, each with the keys of the job."""
    folder, name = PurePosixPath(record.file).parent, PurePosixPath(record.file).name
    found: list[tuple[Hashable, dict[str, str]]] = []
    if str(folder) != ".":
        view = _bare(name).removeprefix(folder.name).strip(_SEPARATORS)
        found.append((("folder", str(folder)), {"view": view} if view else {}))
    if record.id in views:
        view = views[record.id]
        found.append((("stem", _bare(record.id).removesuffix(view).rstrip(_SEPARATORS)), {"view": view}))
    if "prompt" in record.inputs:
        found.append((("prompt", record.model, as_text(record.inputs["prompt"])), {}))
    return found


def _views(records: Iterable[Record]) -> dict[str, str]:
    """Return the last word of each id that has one and whose last word another product has too."""
    stems: dict[str, set[str]] = defaultdict(set)
    split: dict[str, str] = {}
    for record in records:
        stem, word = _split(_bare(record.id))
        if stem and word and not word.isdigit():
            stems[word].add(stem)
            split[record.id] = word
    shared = {word for word, users in stems.items() if len(users) > 1}
    return {job_id: word for job_id, word in split.items() if word in shared} if len(shared) <= MOST_VIEWS else {}


def _split(name: str) -> tuple[str, str]:
    """Return ``mug-1001`` and ``front`` for ``mug-1001-front``."""
    match = re.fullmatch(r"(.*)[-_. ]([^-_. ]+)", name)
    return (match[1], match[2]) if match else ("", "")


def _bare(name: str) -> str:
    """Return an id or file name without a size at its end and without the hash of a made id."""
    return _SIZE.sub("", _HASH.sub("", name))


def arrange(
    records: Sequence[Record], places: Mapping[str, Place]
) -> tuple[list[Record], dict[str, Place], list[Product], dict[str, int]]:
    """Return the records with those of a product together, the place of each id, the products, and each id's product.

    Records in ``places`` come first, in that order; the others follow in their own order. A product stands where its
    first job stands.
    """
    order = {job_id: number for number, job_id in enumerate(places)}
    gone = [record for record in records if record.id not in places]
    whole = {**places_of_records(gone), **{i: places[i] for i in order}}
    ordered = sorted(records, key=lambda record: order.get(record.id, len(order)))
    members: dict[Hashable, list[Record]] = defaultdict(list)
    for record in ordered:
        members[whole[record.id].group].append(record)
    together = [record for group in members.values() for record in group]
    products = [_product(group) for group in members.values()]
    numbers = {record.id: number for number, group in enumerate(members.values()) for record in group}
    return together, {record.id: whole[record.id] for record in together}, products, numbers


def _product(records: Sequence[Record]) -> Product:
    """Return the heading of a product: what its ids and its prompts begin with alike."""
    ids = [record.id for record in records]
    title = ids[0] if len(ids) == 1 else _whole_words(ids, "-_. ")
    folder = PurePosixPath(records[0].file).parent.name
    about = _whole_words([as_text(record.inputs.get("prompt", "")) for record in records], " ,.;:")
    words = " ".join(about.split()).rstrip(_SEPARATORS)
    about = words if len(words) <= MOST_ABOUT else words[: MOST_ABOUT - 1] + "…"
    return Product(title=title or folder or ids[0], about=about)


def _whole_words(texts: Sequence[str], separators: str) -> str:
    """Return the common beginning of ``texts``, cut after a whole word unless it is all of one of them."""
    start = _common_start(min(texts), max(texts))
    if any(len(text) > len(start) and text[len(start)] not in separators for text in texts):
        cut = max(start.rfind(letter) for letter in separators)
        start = start[: cut + 1] if cut >= 0 else ""
    return start.strip(_SEPARATORS)


def _common_start(one: str, other: str) -> str:
    length = next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    return one[:length] if length is not None else min(one, other, key=len)


def as_text(value: Json) -> str:
    return value if isinstance(value, str) else repr(value)
