"""Loading of a manifest whose jobs may send files of this machine: each file is read and checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runner.manifest import FileFacts, Manifest
from runner.manifest import load as load_manifest
from runner.manifest.problems import Invalid

if TYPE_CHECKING:
    from runner.manifest.models.inputs import Offers


def load(
    path: str | Path, *, text: bytes | None = None, offers: Offers | None = None, keep_rows: bool = False
) -> Manifest:
    """Read and check the manifest at ``path``, or ``text``, which came from standard input.

    ``offers`` is called at most once, with the models whose schemas are not bundled, and returns what is known of them.
    Without ``offers`` nothing is known of these models, and nothing is looked up. Files of this machine that the jobs
    send are read to their ends. ``keep_rows``: the jobs keep the columns of their rows.

    Raises ``ManifestError`` with all errors at once, ordered by position (a file that cannot be read is one error),
    and ``OutputError`` if the temporary folder is full.
    """
    return load_manifest(path, text=text, offers=offers, inspect_file=inspect_file, keep_rows=keep_rows)


def inspect_file(path: Path, max_pixels: int) -> FileFacts:
    """Read a file to its end and return its properties.

    Raises ``Invalid``, with what is wrong, for a file that is damaged, has more than ``max_pixels`` pixels or is of a
    format that cannot be checked, or ``OSError``.
    """
    from runner.files.containers import BadMedia, TooManyPixels  # noqa: PLC0415 - most manifests send no files
    from runner.files.media import inspect  # noqa: PLC0415 - it loads Pillow, and most manifests send no files

    try:
        with path.open("rb") as file:
            found = inspect(file, max_pixels=max_pixels)
    except TooManyPixels as error:
        size = str(error).partition(" pixels")[0]
        remedy = "make it smaller, or put it at a public https address and write the address"
        raise Invalid(f"{size} pixels, and at most {max_pixels:,} are sent", remedy) from None
    except BadMedia as error:
        raise Invalid(str(error), "give a whole picture, video or sound") from None
    return FileFacts(
        media_type=found.media_type, bytes=found.bytes, sha256=found.sha256, width=found.width, height=found.height
    )
