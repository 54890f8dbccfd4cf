"""Reader of one entry of ``jobs:``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.manifest.jobs.copies import CopiesReader, CopyEntry
from runner.manifest.jobs.entry import MAX_REPEAT, SEVERAL, JobEntry, Stem, read_file, read_id
from runner.manifest.jobs.inputs import given_inputs, read_size, refuse_beside
from runner.manifest.jobs.matrix import NO_MATRIX, SIZE_KEYS, Axis, MatrixReader
from runner.manifest.names import normal
from runner.manifest.nodes import Mapping, Mark, Node, Scalar, Sequence, Style
from runner.manifest.problems import FAILED, Failure, Invalid
from runner.manifest.templates.rendering import Rendered, render
from runner.manifest.templates.template import Template, Templates, is_template, require_printed_output, without_ext
from runner.manifest.yaml.scalars import integer, kind, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.manifest.feeds.feed import Feed
    from runner.manifest.jobs.inputs import Given, KnownModel
    from runner.manifest.problems import Problems

_SEVERAL: Final = frozenset(SEVERAL)
_SIZED: Final = frozenset(("size", "sizes"))


class EntryReader:
    """Reader of entries with a known model and feed. Errors in an entry are noted."""

    def __init__(self, templates: Templates, problems: Problems, top: Mapping) -> None:
        """Prepare to read entries. ``top`` may have copies and a sidecar for those entries that do not say."""
        self._copies = CopiesReader(templates, problems)
        self._top_copies: tuple[CopyEntry, ...] = ()
        self._top_sidecar = False
        self._top_copies, self._top_sidecar = self._read_copies(top)
        self._templates = templates
        self._problems = problems

    def read(self, entry: Mapping, model: KnownModel, feed: Feed | None) -> JobEntry:
        several = not _SEVERAL.isdisjoint(entry.items)
        copies, sidecar = self._read_copies(entry)
        given = given_inputs(entry, self._problems)
        job_entry = self._read_inputs(entry, model, given, several=several)
        job_entry.feed = feed
        job_entry.copies, job_entry.sidecar = copies, sidecar
        job_entry.templates += [template for copy in copies for template in copy.templates]
        job_entry.repeat = self._read_repeat(entry)
        self._read_where(job_entry)
        self._read_size(job_entry, given)
        if several:
            self._read_matrix(job_entry, given)
            self._render_defaults(job_entry, given)
            job_entry.templates = job_entry.find_templates()
        job_entry.rows_as_jobs = "from" in entry.items and not self._sets_required(job_entry, given)
        if job_entry.rows_as_jobs and not all(map(model.inputs.knows, given)):
            # The unknown key may be a misspelt `prompt`: what the columns mean then is not known.
            job_entry.good = False
        return job_entry

    def _read_inputs(self, entry: Mapping, model: KnownModel, given: Given, *, several: bool) -> JobEntry:
        rendered: list[Rendered] = []
        failed: set[str] = set()
        inputs = model.read(self._take_rendered(given, model, rendered, failed) if several else given)
        inputs.failed |= failed
        job_id = self._stem(entry, "id", read_id, several=several)
        file = self._stem(entry, "file", read_file, several=True)
        templates = [file] if isinstance(file, Template) else []
        return JobEntry(entry, model, inputs, rendered, job_id, file, NO_MATRIX, templates)

    def _take_rendered(self, given: Given, model: KnownModel, rendered: list[Rendered], failed: set[str]) -> Given:
        """Add the inputs with templates to ``rendered``, or to ``failed``. Return the other inputs."""
        plain: Given = {}
        for name, pair in given.items():
            found = self._render(name, pair[1], model) if model.inputs.knows(name) else None
            if found is None:
                plain[name] = pair
            elif found is FAILED:
                failed.add(name)
            else:
                rendered.append(found)
        return plain

    def _render(self, name: str, node: Node, model: KnownModel) -> Rendered | Failure | None:
        convert = model.inputs.converter(name)
        found = self._problems.read(name, node, lambda node: render(name, node, convert, self._templates))
        if isinstance(found, Rendered):
            self._problems.warn_of_comments(name, node)
        return found

    def _stem(self, entry: Mapping, key: str, convert: Callable[[str], str], *, several: bool) -> Stem:
        """Return the id or file of the entry. The extension is not part of a file."""
        if key not in entry.items:
            return None

        def read(node: Node) -> str | Template:
            value = normal(text(node))
            stem = without_ext(value) if key == "file" else value
            if not is_template(stem):
                return convert(stem)
            if not several:
                raise Invalid("contains a template, but this job has no `from`, `matrix`, `repeat` or `sizes`",
                            "write the id out")  # fmt: skip
            self._problems.warn_of_comments(key, node)
            template = self._templates.compile(key, node, stem)
            require_printed_output(self._templates, template, stem)
            return template

        return self._problems.read(key, entry.items[key][1], read)

    def _read_copies(self, node: Mapping) -> tuple[tuple[CopyEntry, ...], bool]:
        """Return the copies and the sidecar that an entry asks for, or the top of the manifest in its place."""
        copies, sidecar = self._top_copies, self._top_sidecar
        if "copies" in node.items:
            copies = self._copies.read(node.items["copies"][1])
        if "sidecar" in node.items:
            sidecar = self._copies.read_sidecar(node.items["sidecar"][1])
        return copies, sidecar

    def _read_repeat(self, entry: Mapping) -> int:
        if "repeat" not in entry.items:
            return 1
        found = self._problems.read("repeat", entry.items["repeat"][1], _repeat)
        return 1 if found is FAILED else found

    def _read_where(self, job_entry: JobEntry) -> None:
        if "where" not in job_entry.entry.items or "from" not in job_entry.entry.items:
            return
        found = self._problems.read("where", job_entry.entry.items["where"][1], self._where)
        job_entry.where = None if found is FAILED else found
        job_entry.good = job_entry.good and found is not FAILED

    def _where(self, node: Node) -> Template:
        if not isinstance(node, Scalar) or not is_template(node.text):
            raise Invalid(
                f"takes a template, not {kind(node)}", 'write "{{ name }}": a row without a name makes no job'
            )
        self._problems.warn_of_comments("where", node)
        return self._templates.compile("where", node, node.text)

    def _read_size(self, job_entry: JobEntry, given: Given) -> None:
        """Read ``size`` of the entry, and note the keys that must not stand beside ``size`` or ``sizes``."""
        entry, inputs = job_entry.entry, job_entry.inputs
        if _SIZED.isdisjoint(entry.items):
            return
        pairs = [entry.items[key] for key in ("size", "sizes") if key in entry.items]
        refuse_beside(given, pairs, self._problems)
        if len(pairs) > 1:
            what = f"`sizes` conflicts with `size`, at {self._problems.place(pairs[0][0])}"
            self._problems.error(pairs[1][0], what, "keep one of them")
            job_entry.good = False
        elif "size" in entry.items:
            self._read_one_size(job_entry, pairs[0][1])
        if not job_entry.model.inputs.takes_size:
            self._problems.error(
                pairs[-1][1], f"{job_entry.model.model} takes no width and height", "leave the size out"
            )
            job_entry.good = False
        inputs.failed |= {"width", "height"} if not job_entry.good else set()

    def _read_one_size(self, job_entry: JobEntry, node: Node) -> None:
        several = not _SEVERAL.isdisjoint(job_entry.entry.items)
        if several and isinstance(node, Scalar) and is_template(node.text):
            found = self._problems.read("size", node, lambda _: self._templates.compile("size", node, node.text))
            job_entry.size = None if found is FAILED else found
            job_entry.good = job_entry.good and found is not FAILED
            return
        size = self._problems.read("size", node, read_size)
        if size is FAILED:
            job_entry.inputs.failed |= {"width", "height"}
        elif job_entry.model.inputs.takes_size:
            job_entry.inputs.put_size(size, node)

    def _read_matrix(self, job_entry: JobEntry, given: Given) -> None:
        named = {name for template in job_entry.find_templates() for name in template.names.used}
        matrix = MatrixReader(job_entry.model, self._templates, self._problems, named).read(job_entry.entry)
        if matrix is FAILED:
            job_entry.good = False
        else:
            job_entry.matrix = matrix
            self._check_matrix(job_entry, given)

    def _check_matrix(self, job_entry: JobEntry, given: Given) -> None:
        """Note the keys that must not stand beside the matrix, and matrix keys that an id or file does not name."""
        entry = job_entry.entry
        for axis in job_entry.matrix.axes:
            if axis.name == "size" and "matrix" in entry.items and "sizes" not in entry.items:
                refuse_beside(
                    given, [(Scalar(axis.key.line, axis.key.column, "size", Style.PLAIN), entry)], self._problems
                )
                self._refuse_size_beside(entry, "matrix.size", axis.key)
                if not job_entry.model.inputs.takes_size:
                    self._problems.error(
                        axis.key, f"{job_entry.model.model} takes no width and height", "leave the size out"
                    )
                    job_entry.good = False
            elif axis.name in given:
                what = f"`{axis.name}` is given twice: here and at {self._problems.place(given[axis.name][0])}"
                self._problems.error(axis.key, what, "keep one")
            elif axis.name in ("width", "height"):
                self._refuse_size_beside(entry, f"matrix.{axis.name}", axis.key)
        sized = {axis.name: axis for axis in job_entry.matrix.axes if axis.name in SIZE_KEYS}
        for name in ("width", "height"):
            if "size" in sized and name in sized:
                what = f"`{name}` conflicts with `size`, which sets it too"
                self._problems.error(sized[name].key, what, "keep one of them")
        self._check_id(job_entry)

    def _refuse_size_beside(self, entry: Mapping, called: str, key: Mark) -> None:
        for name in ("size", "sizes"):
            if name in entry.items:
                place = self._problems.place(entry.items[name][0])
                self._problems.error(key, f"`{called}` conflicts with `{name}`, at {place}", "keep one of them")

    def _check_id(self, job_entry: JobEntry) -> None:
        """Note each key of the matrix whose values give several jobs the same id, file or inputs."""
        for axis in job_entry.matrix.axes:
            if axis.name in SIZE_KEYS:
                continue
            stems: list[tuple[str, Stem, Mark]] = [
                ("id", job_entry.id, job_entry.mark("id")),
                ("file", job_entry.file, job_entry.mark("file")),
                *(("copies.file", copy.file, copy.mark) for copy in job_entry.copies),
            ]
            for key, stem, mark in stems:
                if _leaves_out(stem, axis, of_file=key != "id"):
                    what = f"`{key}` leaves out `{axis.name}`, a key of the matrix: its jobs would share one"
                    self._problems.error(mark, what, f"add {{{{ {axis.name} }}}}")
                    job_entry.good = False
            sent = {name for t in job_entry.find_templates() if not t.is_of_files for name in t.names.used}
            if job_entry.id is None and axis.own and axis.name not in sent and len(axis.options) > 1:
                what = f"no input depends on `{axis.name}`, a key of the matrix: its jobs would be the same"
                self._problems.error(axis.key, what, f"use {{{{ {axis.name} }}}} in the prompt or in an `id`")
                job_entry.good = False

    def _render_defaults(self, job_entry: JobEntry, given: Given) -> None:
        """Compile the defaults that are templates: they are filled in for the jobs of this entry."""
        taken = set(given) | job_entry.matrix.inputs
        if job_entry.matrix.sizes() is not None or "size" in job_entry.entry.items:
            taken |= {"width", "height"}
        for name, node in job_entry.model.defaults.marks.items():
            if name not in taken and isinstance(node, (Scalar, Sequence, Mapping)):
                found = self._render(name, node, job_entry.model)
                if isinstance(found, Rendered):
                    job_entry.rendered.append(found)
                elif found is FAILED:
                    job_entry.good = False

    def _sets_required(self, job_entry: JobEntry, given: Given) -> bool:
        """Tell whether the entry itself sets what its model requires. If not, the rows set it."""
        required = job_entry.model.inputs.required
        if job_entry.model.inputs.known is None:
            return "prompt" in given or bool(job_entry.rendered) or "prompt" in job_entry.matrix.inputs
        return any(name in given or name in job_entry.matrix.inputs for name in required) or not required


def _leaves_out(stem: Stem, axis: Axis, *, of_file: bool) -> bool:
    """Tell whether ``stem``, the entry's own id or file, does not depend on a key of the matrix."""
    if stem is None or stem is FAILED:
        return False
    if len(axis.options) < 2 and (of_file or not axis.own):
        return False
    return not isinstance(stem, Template) or not ("id" in stem.jobs_own or axis.name in stem.names.used)


def _repeat(node: Node) -> int:
    value = integer(node)
    if not 1 <= value <= MAX_REPEAT:
        raise Invalid(f"is {value}; the range is 1 to {MAX_REPEAT:,}")
    return value
