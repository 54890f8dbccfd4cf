"""One entry of ``jobs:`` → its jobs: inputs merged and checked, ids and files named, every fault noted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runner.manifest.findings import FAILED, Wrong, shown
from runner.manifest.fingerprints import fingerprint
from runner.manifest.given import KnownModel, given_inputs, read_size, refuse_beside
from runner.manifest.inputs import is_model_id
from runner.manifest.names import check_file_name, check_id, normal, slug, without_extension
from runner.manifest.nodes import Mapping, Mark, Node, Pair, Sequence
from runner.manifest.scalars import filled_text, kind, text
from runner.model import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.manifest.findings import Failure, Findings
    from runner.manifest.given import Defaults, Given, Inputs, Size
    from runner.manifest.naming import Register
    from runner.model import Json

_LATER: Final = ("from", "matrix", "repeat")
_TEMPLATE: Final = "{{"
_NO_TEMPLATES: Final = "holds `{{`: templates are not available in this version yet"


@dataclass(slots=True)
class _Draft:
    """What all jobs of one entry share."""

    entry: Mapping
    model: KnownModel
    inputs: Inputs
    id: str | Failure | None
    file: str | Failure | None

    def mark(self, key: str) -> Mark:
        return self.entry.items[key][1] if key in self.entry.items else self.entry


class Entries:
    """Reads the entries of one manifest, in order, into its spool."""

    def __init__(self, *, model: Pair | None, defaults: Defaults, register: Register, findings: Findings) -> None:
        self._findings = findings
        self._defaults = defaults
        self._register = register
        self._models: dict[str, KnownModel] = {}
        self._introduced: set[str] = set()
        self._top = self._read_model(model[1]) if model is not None else None

    def read(self, entry: Node) -> None:
        """Spool the jobs of ``entry``, or note why it has none."""
        if not isinstance(entry, Mapping):
            return self._refuse(entry)
        if self._is_for_later(entry):
            return None
        model = self._model(entry)
        given = given_inputs(entry, self._findings)
        job_id, file = self._own(entry, "id", _id), self._own(entry, "file", _file)
        draft = _Draft(entry, model, model.read(given), job_id, file)
        sizes = self._sizes(draft, given)
        if "sizes" in entry.items:
            self._refuse_templates(draft)
        if model.model not in self._introduced:
            self._introduce(draft)
        for size, mark in sizes:
            self._add_job(draft, size, mark)
        return None

    def _refuse(self, entry: Node) -> None:
        advice = "write `- prompt: …`"
        if isinstance(entry, Sequence):
            advice = "one dash is enough; a job begins like this: `- prompt: …`"
        self._findings.error(entry, f"a job is a mapping, not {kind(entry)}", advice)

    def _is_for_later(self, entry: Mapping) -> bool:
        later = [name for name in _LATER if name in entry.items]
        for name in later:
            what = f"`{name}` is not available in this version yet"
            self._findings.error(entry.items[name][0], what, "write each job out")
        return bool(later)

    def _model(self, entry: Mapping) -> KnownModel:
        if "model" in entry.items:
            return self._read_model(entry.items["model"][1])
        if self._top is None:
            self._findings.error(entry, "this job names no model", "add `model: …` here or at the top")
            return self._known("", entry)
        return self._top

    def _read_model(self, node: Node) -> KnownModel:
        name = self._findings.read("model", node, _model_id)
        return self._known("" if name is FAILED else name, node)

    def _known(self, model: str, at: Mark) -> KnownModel:
        """``model``, read once. The empty name stands for a model that is missing or wrong."""
        if model not in self._models:
            self._models[model] = KnownModel(model, at, self._defaults, self._findings)
        return self._models[model]

    def _own(self, entry: Mapping, key: str, convert: Callable[[Node], str]) -> str | Failure | None:
        if key not in entry.items:
            return None
        return self._findings.read(key, entry.items[key][1], convert)

    def _sizes(self, draft: _Draft, given: Given) -> list[tuple[Size | None, Mark]]:
        entry = draft.entry
        pairs = [entry.items[key] for key in ("size", "sizes") if key in entry.items]
        if not pairs:
            return [(None, entry)]
        refuse_beside(given, pairs, self._findings)
        if len(pairs) > 1:
            what = f"`sizes` stands beside `size`, at {self._findings.place(pairs[0][0])}"
            self._findings.error(pairs[1][0], what, "keep one of them")
        node = pairs[-1][1]
        if "sizes" in entry.items:
            return self._several_sizes(node)
        size = self._findings.read("size", node, read_size)
        if size is FAILED:
            draft.inputs.failed |= {"width", "height"}
            return [(None, entry)]
        return [(size, node)]

    def _several_sizes(self, node: Node) -> list[tuple[Size | None, Mark]]:
        if not isinstance(node, Sequence) or not node.items:
            found_instead = "an empty one" if isinstance(node, Sequence) else kind(node)
            what = f"`sizes` takes a list of sizes, not {found_instead}"
            self._findings.error(node, what, "write [1024x1024, 768x1024]")
            return []
        found: dict[Size, Node] = {}
        for item in node.items:
            size = self._findings.read("sizes", item, read_size)
            if size is FAILED:
                continue
            if size in found:
                first = self._findings.place(found[size])
                what = f"the size {size[0]}x{size[1]} is given twice; the first is at {first}"
                self._findings.error(item, what, "keep one")
            found.setdefault(size, item)
        return list(found.items())

    def _refuse_templates(self, draft: _Draft) -> None:
        """In an entry that makes several jobs, braces are templates: none is sent unrendered meanwhile."""
        for name, value in draft.inputs.values.items():
            if isinstance(value, str) and _TEMPLATE in value:
                what = f"`{name}` {_NO_TEMPLATES}"
                self._findings.error(draft.inputs.marks[name], what, "write each job out")

    def _add_job(self, draft: _Draft, size: Size | None, mark: Mark) -> None:
        if size is not None and not draft.model.inputs.takes_size:
            self._findings.error(mark, f"{draft.model.model} takes no width and height", "leave the size out")
        model, entry = draft.model, draft.entry
        values = model.inputs.merged(draft.inputs.values, model.defaults.values)
        if size is not None:
            values["width"], values["height"] = size
        readable = self._check(draft, values, mark if size is not None else None)
        ending = f"-{size[0]}x{size[1]}" if size is not None and "sizes" in entry.items else ""
        if draft.id is FAILED or draft.file is FAILED or (draft.id is None and not readable):
            return
        digest = fingerprint(model.model, values)
        generated = None if draft.id is not None else _generated_id(model, values, digest)
        job_id = f"{draft.id or generated}{ending}"
        file = job_id if draft.file is None else f"{draft.file}{ending}"
        job = Job(id=job_id, model=model.model, inputs=values, fingerprint=digest, file=file,
                  line=entry.line, column=entry.column)  # fmt: skip
        if self._has_good_names(draft, job):
            marks = draft.mark("id"), draft.mark("file")
            self._register.add(job, generated=generated, id_mark=marks[0], file_mark=marks[1])

    def _introduce(self, draft: _Draft) -> None:
        """Hold ``defaults:`` against a model that no job has used before, in the name of this job."""
        self._introduced.add(draft.model.model)
        place = f"the job at {self._findings.place(draft.entry)}"
        job = f"job `{draft.id}`" if isinstance(draft.id, str) else place
        self._defaults.refuse_unknown(draft.model, job)

    def _check(self, draft: _Draft, values: dict[str, Json], size_mark: Mark | None) -> bool:
        """Note what the schema has against ``values``; whether every one of them could be read at all."""
        failed = draft.inputs.failed | (draft.model.defaults.failed - values.keys())
        for name, what, advice in draft.model.inputs.faults(values):
            if name not in failed:
                self._findings.error(self._mark_of(draft, name, size_mark), what, advice)
        return not failed

    def _mark_of(self, draft: _Draft, name: str, size_mark: Mark | None) -> Mark:
        if size_mark is not None and name in ("width", "height"):
            return size_mark
        return draft.inputs.marks.get(name) or draft.model.defaults.marks.get(name) or draft.entry

    def _has_good_names(self, draft: _Draft, job: Job) -> bool:
        """Note an id or file that may not be used once its size stands behind it."""
        if reason := check_id(job.id):
            self._findings.error(draft.mark("id"), f"the id {shown(job.id)} {reason}")
            return False
        if draft.file is not None and (reason := check_file_name(job.file)):
            self._findings.error(draft.mark("file"), f"the file {shown(job.file)} {reason}")
            return False
        return True


def _generated_id(model: KnownModel, inputs: dict[str, Json], digest: str) -> str:
    name = next(model.inputs.text_names(inputs), None)
    source = inputs[name] if name is not None else "-".join(model.model.split("/")[-2:])
    return f"{slug(source) or 'job'}-{digest.removeprefix('sha256:')[:10]}"


def _model_id(node: Node) -> str:
    value = filled_text(node)
    if not is_model_id(value):
        raise Wrong(f"takes a model's id, not {shown(value)}", "it looks like vendor/family/variant/task")
    return value


def _id(node: Node) -> str:
    value = normal(text(node))
    if _TEMPLATE in value:
        raise Wrong(_NO_TEMPLATES, "write each job out")
    if reason := check_id(value):
        raise Wrong(reason, "folders go into `file`" if "slash" in reason else "")
    return value


def _file(node: Node) -> str:
    value = without_extension(normal(text(node)))
    if _TEMPLATE in value:
        raise Wrong(_NO_TEMPLATES, "only `.{{ ext }}` at the end is")
    if reason := check_file_name(value):
        raise Wrong(reason)
    return value
