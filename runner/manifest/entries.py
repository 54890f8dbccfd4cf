"""Reader of the entries of ``jobs:``: the model of each, its feed, then its jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.manifest.feeds.feed import Feed, read_feed
from runner.manifest.feeds.options import read_options
from runner.manifest.jobs.entry_reader import EntryReader
from runner.manifest.jobs.expansion import JobExpansion
from runner.manifest.jobs.inputs import FEED_KEYS, KnownModel
from runner.manifest.jobs.rows import FeedReader
from runner.manifest.models.inputs import Offer, is_model_id
from runner.manifest.nodes import Mapping, Mark, Node, Sequence
from runner.manifest.problems import FAILED, Invalid, shown
from runner.manifest.templates.template import Templates
from runner.manifest.yaml.scalars import filled_text, kind

if TYPE_CHECKING:
    from pathlib import Path

    from runner.manifest.jobs.collector import JobCollector
    from runner.manifest.jobs.entry import JobEntry
    from runner.manifest.jobs.inputs import Defaults
    from runner.manifest.models.local_files import LocalFiles
    from runner.manifest.problems import Failure, Problems


class EntriesReader:
    """Reader of the entries of one manifest, in order; the jobs go to the collector."""

    def __init__(self, *, root: Mapping, folder: Path, files: LocalFiles, defaults: Defaults,
                 collector: JobCollector, problems: Problems, offers: dict[str, Offer]) -> None:  # fmt: skip
        """Prepare to read entries.

        ``root`` is the manifest, with what it sets for all entries. ``folder`` is the folder that relative paths of
        feeds start from. ``files`` checks the files that jobs send.
        ``offers`` has the schemas of models that are not bundled, by model id.
        """
        self._problems = problems
        self._folder = folder
        self._files = files
        self._defaults = defaults
        self._collector = collector
        self._offers = offers
        self._templates = Templates()
        self._recipes = EntryReader(self._templates, problems, root)
        self._models: dict[str, KnownModel] = {}
        self._introduced: set[str] = set()
        self._top = self._read_model(root.items["model"][1]) if "model" in root.items else None

    def read(self, entry: Node) -> None:
        """Pass the jobs of ``entry`` to the collector, or note the problems that prevent it."""
        if not isinstance(entry, Mapping):
            return self._refuse(entry)
        model = self._model(entry)
        feed = self._feed(entry)
        job_entry = self._recipes.read(entry, model, feed if isinstance(feed, Feed) else None)
        if model.model not in self._introduced:
            self._introduce(job_entry)
        if feed is FAILED or not job_entry.good:
            return None
        if isinstance(feed, Feed):
            return FeedReader(feed, job_entry, self._templates, self._files, self._collector, self._problems).read()
        return self._read_alone(job_entry)

    def _refuse(self, entry: Node) -> None:
        advice = "write `- prompt: …`"
        if isinstance(entry, Sequence):
            advice = "one dash is enough; a job begins like this: `- prompt: …`"
        self._problems.error(entry, f"a job is a mapping, not {kind(entry)}", advice)

    def _model(self, entry: Mapping) -> KnownModel:
        if "model" in entry.items:
            return self._read_model(entry.items["model"][1])
        if self._top is None:
            self._problems.error(entry, "this job names no model", "add `model: …` here or at the top")
            return self._known("", entry)
        return self._top

    def _read_model(self, node: Node) -> KnownModel:
        name = self._problems.read("model", node, _model_id)
        return self._known("" if name is FAILED else name, node)

    def _known(self, model: str, at: Mark) -> KnownModel:
        """Return ``model``, read at most once. The empty name stands for a model that is missing or invalid."""
        if model not in self._models:
            offer = self._offers.get(model, Offer())
            self._models[model] = KnownModel(model, at, self._defaults, self._problems, offer)
        return self._models[model]

    def _feed(self, entry: Mapping) -> Feed | Failure | None:
        """Return the feed of ``entry``, if it names one, as its other keys say that it is read."""
        if "from" not in entry.items:
            return self._refuse_feed_keys(entry)
        source, folder = self._problems.source, self._folder
        feed = self._problems.read(
            "from", entry.items["from"][1], lambda node: read_feed(node, folder=folder, source=source)
        )
        options = read_options(entry, None if feed is FAILED else feed.suffix, self._problems)
        if feed is FAILED or options is FAILED:
            return FAILED
        feed.options = options
        return feed

    def _refuse_feed_keys(self, entry: Mapping) -> Failure | None:
        """Note the keys that say how a feed is read, in an entry that has none."""
        misplaced = [entry.items[key][0] for key in FEED_KEYS if key in entry.items]
        for key in misplaced:
            advice = "it belongs to a feed; an input of this name goes under `inputs:`"
            self._problems.error(key, f"`{key.text}` stands without `from`", advice)
        return FAILED if misplaced else None

    def _introduce(self, job_entry: JobEntry) -> None:
        """Check ``defaults:`` against a model that no earlier job used; messages name this job."""
        self._introduced.add(job_entry.model.model)
        place = f"the job at {self._problems.place(job_entry.entry)}"
        job = f"job `{job_entry.id}`" if isinstance(job_entry.id, str) else place
        self._defaults.refuse_unknown(job_entry.model, job)

    def _read_alone(self, job_entry: JobEntry) -> None:
        """Pass the jobs of an entry without a feed to the collector."""
        good = True
        for template in job_entry.templates:
            for wrong in job_entry.vocabulary.faults(template, ()):
                good = False
                self._problems.error(template.mark, f"`{template.field}` {wrong.what}", wrong.advice)
        if good:
            self._collector.take(job_entry, JobExpansion(job_entry, self._templates, self._files, loose=False))


def _model_id(node: Node) -> str:
    value = filled_text(node)
    if not is_model_id(value):
        raise Invalid(f"takes a model's id, not {shown(value)}", "it looks like vendor/family/variant/task")
    return value
