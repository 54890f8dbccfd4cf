"""Output folders: the place of the results, and the folder that an argument names."""

from __future__ import annotations

from pathlib import Path

from runner.ledger.records import LEDGER


def output_folder(manifest: Path | None, name: str, chosen: Path | None, *, emulator: bool) -> Path:
    """Return the folder for the results, independent of the current folder.

    ``chosen`` (``--output``, else the manifest's ``output:``) is used as it is. Otherwise the folder is
    ``output/<name>`` in the manifest's folder or the folder above, in this order: the first that has results, so that a
    folder made later does not hide them; the first whose ``output/`` exists; a new one beside the manifest.
    """
    if chosen is not None:
        return chosen.absolute()
    home = manifest.absolute().parent if manifest is not None else Path.cwd()
    folders = [root / "output" / (f"{name}-emulator" if emulator else name) for root in (home, home.parent)]
    begun = (folder for folder in folders if _has_results(folder))
    likely = (folder for folder in folders if folder.parent.is_dir())
    return next(begun, None) or next(likely, folders[0])


def output_parents(manifest: Path) -> tuple[Path, ...]:
    """Return the folders in which results go to a folder named after the manifest, unless another place is given."""
    home = manifest.absolute().parent
    return tuple(root / "output" for root in (home, home.parent))


def _has_results(folder: Path) -> bool:
    """Tell whether the folder has a results log."""
    try:
        return any(LEDGER.fullmatch(path.name) for path in folder.iterdir())
    except OSError:
        return False


def results_folder(target: Path) -> Path | None:
    """Return the folder that ``target`` names by itself: a folder, or that of a results log; None: neither."""
    if target.is_dir():
        return target.absolute()
    return target.absolute().parent if LEDGER.fullmatch(target.name) else None
