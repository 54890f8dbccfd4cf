"""Entry of ``jobs:`` as read: the values that its jobs share, and the templates that are filled in for each job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from runner.manifest.names import check_file_name, check_id, file_advice, id_advice, normal, without_extension
from runner.manifest.problems import Failure, Invalid
from runner.manifest.templates.template import SIZES, Template, Vocabulary

if TYPE_CHECKING:
    from runner.manifest.feeds.feed import Feed
    from runner.manifest.jobs.copies import CopyEntry
    from runner.manifest.jobs.inputs import Inputs, KnownModel
    from runner.manifest.jobs.matrix import Matrix
    from runner.manifest.nodes import Mapping, Mark
    from runner.manifest.templates.rendering import Rendered

SEVERAL: Final = ("from", "matrix", "repeat", "sizes")
"""Keys that make several jobs of one entry. Inputs and ids may be templates only beside one of these keys."""
MAX_REPEAT: Final = 10_000_000
JOB_COLUMNS: Final = ("id", "size", "file")
"""Keys of a job, besides its inputs, that a row may set. The other keys of ``KEYS`` belong to the entry."""

Stem = str | Template | Failure | None


class Suffixes(NamedTuple):
    """Suffixes that are appended to a stem that is the same for several jobs of an entry."""

    size: bool
    copy: bool


NO_ENDING: Final = Suffixes(size=False, copy=False)


class JobEntry(msgspec.Struct):
    """One entry, with the values that all of its jobs share."""

    entry: Mapping
    model: KnownModel
    inputs: Inputs
    rendered: list[Rendered]
    id: Stem
    file: Stem
    matrix: Matrix
    templates: list[Template]
    """All templates of the entry; each name that they use must be known."""
    repeat: int = 1
    copies: tuple[CopyEntry, ...] = ()
    sidecar: bool = False
    feed: Feed | None = None
    where: Template | None = None
    """Template that decides for each row whether jobs are made of it; None: jobs are made of every row."""
    size: Template | None = None
    """Template of ``size``; None: the entry has none, or it is a plain size."""
    rows_as_jobs: bool = False
    good: bool = True
    """True if jobs can be made of the entry. If not, the problem has been noted."""

    def mark(self, key: str) -> Mark:
        """Return the position of the value of ``key``; without a value, the position of the entry."""
        return self.entry.items[key][1] if key in self.entry.items else self.entry

    def count_jobs(self) -> int:
        """Return the number of jobs per row; for an entry without rows, the number of its jobs."""
        if not self.matrix.axes:
            return self.repeat
        combinations = sum(1 for _ in self.matrix) if self.matrix.exclude else len(self.matrix)
        return combinations * self.repeat

    def find_templates(self) -> list[Template]:
        """Return the templates of the entry, as far as it has been read."""
        found = [template for rendered in self.rendered for template in rendered.templates]
        for axis in self.matrix.axes:
            found += [t for option in axis.options if option.rendered for t in option.rendered.templates]
        found += [template for copy in self.copies for template in copy.templates]
        return [*found, *(stem for stem in (self.size, self.id, self.file) if isinstance(stem, Template))]

    @property
    def vocabulary(self) -> Vocabulary:
        own_id = self.id is not None
        return Vocabulary(matrix=self.matrix.names, has_rows=self.feed is not None, own_id=own_id)

    def ending(self, stem: Stem) -> Suffixes:
        """Return the suffixes for ``stem``: none if each row makes one job only."""
        if self.repeat == 1 and not self.matrix.axes:
            return NO_ENDING
        return Suffixes(size=self._completes_size(stem), copy=self._completes_copy(stem))

    def _completes_size(self, stem: Stem) -> bool:
        """Tell whether there are several sizes and ``stem`` is the same for some of them."""
        sizes = self.matrix.sizes()
        if sizes is None:
            return False
        named = stem.jobs_own if isinstance(stem, Template) else frozenset()
        if "id" in named or "size" in named or {"width", "height"} <= named:
            return False
        if named & SIZES:
            place = 0 if "width" in named else 1
            return len({size[place] for size in sizes}) < len(sizes)
        return True

    def _completes_copy(self, stem: Stem) -> bool:
        return not (isinstance(stem, Template) and stem.jobs_own & {"copy", "id"})


def read_id(value: str) -> str:
    """Return the id that an entry or a row gives, in normal form. Raises ``Invalid``."""
    text = normal(value)
    if reason := check_id(text):
        raise Invalid(reason, id_advice(reason))
    return text


def read_file(value: str) -> str:
    """Return the file that an entry or a row gives, without its extension. Raises ``Invalid``."""
    stem = without_extension(normal(value))
    if reason := check_file_name(stem):
        raise Invalid(reason, file_advice(reason))
    return stem
