"""Looking at a folder once says the same as looking for each name in it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.planning import conflicts
from runner.planning.conflicts import Listing

STEMS = st.text(st.sampled_from("aAbßẞéÉ\u0301.ıİ-"), min_size=1, max_size=4).filter(lambda text: text.strip("."))


def may_hold(folder: Path, stem: str, seen: Listing | None = None) -> bool:
    return (seen or Listing()).may_hold(str(folder), stem, folder.stat())


@given(stands=st.sets(STEMS), asked=STEMS)
def test_no_file_is_overlooked(stands: set[str], asked: str) -> None:
    """Whatever the names: a file that an exact look would find is never denied, and what is not there mostly is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for stem in stands:
            folder.joinpath(f"{stem}.png").touch()
        if folder.joinpath(f"{asked}.png").exists():
            assert may_hold(folder, asked)
        if normalize("NFKD", asked).casefold() not in {normalize("NFKD", stem).casefold() for stem in stands}:
            assert not may_hold(folder, asked)


@pytest.mark.parametrize(("stands", "asked"), [("MUG", "mug"), ("mug", "Mug"), ("e\u0301", "\u00e9"), ("ẞ", "ss")])
def test_names_that_a_file_system_may_take_for_one_are_one(tmp_path: Path, stands: str, asked: str) -> None:
    """Windows and macOS do not tell case apart, and macOS no composition: then it is looked for exactly."""
    (tmp_path / f"{stands}.png").touch()
    assert may_hold(tmp_path, asked)


def test_a_folder_that_has_changed_is_listed_again(tmp_path: Path) -> None:
    """As its time says; until then it is not asked anything more."""
    seen = Listing()
    assert not may_hold(tmp_path, "mug", seen)
    (tmp_path / "mug.png").touch()
    os.utime(tmp_path, ns=(1, 1))
    assert may_hold(tmp_path, "mug", seen)


def test_a_folder_that_cannot_be_listed_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too full to be remembered, or forbidden: each name is looked for."""
    file = tmp_path / "file"
    file.touch()
    assert may_hold(file, "mug")
    monkeypatch.setattr(conflicts, "MOST_NAMES", 0)
    assert may_hold(tmp_path, "mug")


def test_of_many_folders_not_all_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for each of a million rows must not fill the memory, and is judged right all the same."""
    monkeypatch.setattr(conflicts, "MOST_FOLDERS", 2)
    seen = Listing()
    folders = [tmp_path / str(number) for number in range(5)]
    for folder in folders:
        folder.mkdir()
        folder.joinpath("mug.png").touch()
    for folder in [*folders, *folders]:
        assert may_hold(folder, "mug", seen)
        assert not may_hold(folder, "cup", seen)
        assert len(seen._seen) <= 2
