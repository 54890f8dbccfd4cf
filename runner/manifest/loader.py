"""Loader of a manifest, in one pass: bytes, text, nodes, settings and entries, jobs in a store."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runner.core.errors import OutputError
from runner.manifest.entries import EntriesReader
from runner.manifest.jobs.collector import JobCollector
from runner.manifest.jobs.inputs import Defaults
from runner.manifest.jobs.matrix import least_jobs
from runner.manifest.jobs.store import JobStore
from runner.manifest.jobs.uniqueness import UniqueNames
from runner.manifest.models.inputs import ask
from runner.manifest.models.local_files import LocalFiles
from runner.manifest.nodes import WHOLE_FILE, Mapping, Node, Scalar, Sequence
from runner.manifest.problems import Invalid, Problems
from runner.manifest.settings import OnBadRow, Settings, check_keys, read_settings
from runner.manifest.yaml.document import Document
from runner.manifest.yaml.encoding import decode
from runner.manifest.yaml.scalars import kind

if TYPE_CHECKING:
    from runner.core.models import Problem
    from runner.manifest.models.inputs import Offer, Offers
    from runner.manifest.models.local_files import InspectFile

MAX_JOBS: Final = 10_000_000
MAX_BYTES: Final = 256 << 20
"""Largest manifest in bytes: a million jobs and more. Each of its values is held in memory; feeds are not."""
STDIN: Final = "-"
_STDIN_STEM: Final = "stdin"
_DASH: Final = "each job begins with a dash: `- prompt: …`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest without errors, and its jobs."""

    path: Path | None
    """Absolute path; None: the manifest came from standard input."""
    folder: Path
    """Folder that relative paths start at, absolute: that of the manifest, or the current one for standard input."""
    source: str
    """Name in messages: the path as the user wrote it, or ``-``."""
    settings: Settings
    jobs: JobStore
    """Jobs in manifest order. They can be read any number of times; the caller closes the store."""
    skipped_rows: int
    """Rows of feeds that were left out because of ``on_bad_row: skip``."""
    left_out_rows: int
    """Rows of feeds that were left out by ``where``."""
    warnings: tuple[Problem, ...]
    """Values that are probably not intended, ordered by position."""


def load(
    path: str | Path,
    *,
    text: bytes | None = None,
    offers: Offers | None = None,
    inspect_file: InspectFile | None = None,
    keep_rows: bool = False,
) -> Manifest:
    """Read and check the manifest at ``path``, or ``text``, which came from standard input.

    ``offers`` is called at most once, with the models whose schemas are not bundled, and returns what is known of them.
    Without ``offers`` nothing is known of these models, and nothing is looked up. ``inspect_file`` reads the files of
    this machine that the jobs send; without it, inputs that are files take addresses only.
    ``keep_rows``: the store keeps the columns of each row with its jobs.

    Raises ``ManifestError`` with all errors at once, ordered by position (a file that cannot be read is one error),
    and ``OutputError`` if the temporary folder is full.
    """
    problems = Problems(str(path) if text is None else STDIN)
    store = JobStore()
    try:
        folder = Path(path).absolute().parent if text is None else Path.cwd()
        settings, collector = _load(
            Path(path), text, folder, store, problems, offers, inspect_file, keep_rows=keep_rows
        )
        store.flush()
    except OSError as error:
        store.close()
        raise OutputError(f"the jobs do not fit into the temporary folder: {error.strerror}") from error
    except BaseException:
        store.close()
        raise
    return Manifest(
        path=Path(path).absolute() if text is None else None,
        folder=folder,
        source=problems.source,
        settings=settings,
        jobs=store,
        skipped_rows=collector.skipped,
        left_out_rows=collector.left_out,
        warnings=problems.warnings,
    )


def salvage_settings(path: str | Path) -> tuple[str, Path | None]:
    """Return the name and the output folder of a manifest with errors, as far as they can be read.

    If the name cannot be read, the file's stem stands for it; an unreadable folder is None. Never raises.
    """
    file = Path(path)
    problems = Problems(str(path))
    document = None
    with suppress(Invalid):
        document = Document(decode(_read(file)), problems)
        document.read()
    if document is None or not isinstance(document.root, Mapping):
        return file.stem, None
    settings = read_settings(document.root, stem=file.stem, folder=file.absolute().parent, problems=problems)
    return settings.name, settings.output


def _load(
    path: Path,
    text: bytes | None,
    folder: Path,
    store: JobStore,
    problems: Problems,
    offers: Offers | None,
    inspect_file: InspectFile | None,
    *,
    keep_rows: bool,
) -> tuple[Settings, JobCollector]:
    stem = path.stem if text is None else _STDIN_STEM
    try:
        document = Document(decode(_bounded(_read(path) if text is None else text)), problems)
        document.read()
    except Invalid as wrong:
        problems.error(wrong.mark or WHOLE_FILE, wrong.what, wrong.advice)
        raise problems.failure() from None
    root = _root(document.root, problems)
    check_keys(root, problems)
    settings = read_settings(root, stem=stem, folder=folder, problems=problems)
    collector = JobCollector(
        UniqueNames(store, problems),
        problems,
        skip=settings.on_bad_row is OnBadRow.SKIP,
        most=MAX_JOBS,
        keep_rows=keep_rows,
    )
    files = LocalFiles(folder, inspect_file, settings.max_inline)
    _read_jobs(root, folder, files, collector, problems, ask(root, offers))
    if problems.count:
        raise problems.failure()
    return settings, collector


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise Invalid("the file does not exist", "give the path of a manifest") from None
    except IsADirectoryError:
        raise Invalid("this is a folder", "give the path of a manifest, a YAML file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise Invalid(f"this file cannot be read: {reason or error}", "give a file that you may read") from None


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise Invalid(f"the manifest has over {MAX_BYTES:,} bytes", "give the jobs as a feed: `from: products.csv`")
    return data


def _root(root: Node | None, problems: Problems) -> Mapping:
    if isinstance(root, Mapping):
        return root
    if root is None or (isinstance(root, Scalar) and not root.text):
        problems.error(WHOLE_FILE, "the manifest is empty", "it needs `jobs:`, a list of jobs, and a `model:`")
    else:
        what = f"a manifest is a mapping, not {kind(root)}"
        problems.error(root, what, "begin with `jobs:` and put the list below it")
    raise problems.failure()


def _read_jobs(
    root: Mapping,
    folder: Path,
    files: LocalFiles,
    collector: JobCollector,
    problems: Problems,
    known: dict[str, Offer],
) -> None:
    entries = EntriesReader(
        root=root,
        folder=folder,
        files=files,
        defaults=Defaults(_mapping(root, "defaults", problems), problems),
        collector=collector,
        problems=problems,
        offers=known,
    )
    for entry in _entries(root, problems):
        entries.read(entry)
    jobs_mark, policy_mark = (root.items[key][0] if key in root.items else root for key in ("jobs", "on_bad_row"))
    collector.finish(jobs_mark, policy_mark)


def _mapping(root: Mapping, key: str, problems: Problems) -> Mapping | None:
    if key not in root.items:
        return None
    node = root.items[key][1]
    if isinstance(node, Mapping):
        return node
    problems.error(node, f"`{key}` takes a mapping, not {kind(node)}", f"write `{key}: {{width: 1024}}`")
    return None


def _entries(root: Mapping, problems: Problems) -> list[Node]:
    if "jobs" not in root.items:
        problems.error(root, "`jobs` is missing", "add `jobs:` with a list of jobs below it")
        return []
    key, node = root.items["jobs"]
    if not isinstance(node, Sequence):
        problems.error(node, f"`jobs` takes a list of jobs, not {kind(node)}", _DASH)
        return []
    if not node.items:
        problems.error(key, "`jobs` is an empty list: nothing to do", _DASH)
    count = sum(least_jobs(entry) for entry in node.items)
    if count > MAX_JOBS:
        what = f"{count:,} jobs are more than the {MAX_JOBS:,} that one manifest may have"
        problems.error(key, what, "split it")
        return []
    return node.items
