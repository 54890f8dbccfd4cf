"""Output folders: where results go, and which folder an argument names."""

from __future__ import annotations

from pathlib import Path

from runner.ledger.records import LEDGER


def output_folder(manifest: Path | None, name: str, chosen: Path | None, *, emulator: bool) -> Path:
    """Where results go, whatever the current folder is.

    ``chosen`` (``--output``, else the manifest's ``output:``) as it is; else ``output/<name>`` in the manifest's folder
    or the one above: the first that has results, so that nothing which is made later leads away from them; else the
    first whose ``output/`` exists; else a new one beside the manifest.
    """
    if chosen is not None:
        return chosen.absolute()
    home = manifest.absolute().parent if manifest is not None else Path.cwd()
    folders = [root / "output" / (f"{name}-emulator" if emulator else name) for root in (home, home.parent)]
    begun = (folder for folder in folders if _has_results(folder))
    likely = (folder for folder in folders if folder.parent.is_dir())
    return next(begun, None) or next(likely, folders[0])


def output_parents(manifest: Path) -> tuple[Path, ...]:
    """The folders in which results go to a folder of their manifest's name, where nothing says otherwise."""
    home = manifest.absolute().parent
    return tuple(root / "output" for root in (home, home.parent))


def _has_results(folder: Path) -> bool:
    """Tell whether a run has written down anything there."""
    try:
        return any(LEDGER.fullmatch(path.name) for path in folder.iterdir())
    except OSError:
        return False


def results_folder(target: Path) -> Path | None:
    """The folder that ``target`` names by itself: a folder, or the results manifest in one; else None."""
    if target.is_dir():
        return target.absolute()
    return target.absolute().parent if LEDGER.fullmatch(target.name) else None
