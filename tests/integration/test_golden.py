"""Folders of earlier versions are read, and gone on with, as they were then; ``data/golden`` says what is in them."""

from __future__ import annotations

import json

import pytest
from support.golden import EXPECTED, GOLDEN, differences, hashes, look, names_in, opened, work

FOLDERS = sorted(path.parent.name for path in GOLDEN.glob(f"*/{EXPECTED}"))


QUICK = ("damaged-tail",)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FOLDERS]
)
def test_an_older_folder_says_what_it_said(name, tmp_path):
    """Status, plan, export, verify and reconcile say of it what they said, and change nothing in it."""
    expected = json.loads((GOLDEN / name / EXPECTED).read_bytes())
    with opened(name, tmp_path) as told:
        before = hashes(told.folder)
        assert differences(expected["look"], look(told), names_in(expected)) == []
        assert hashes(told.folder) == before
        found = work(told, name)
    assert differences(expected["work"], found, names_in(expected)) == []


def test_every_golden_folder_is_held():
    """None is left out because nobody wrote down what is said of it."""
    assert sorted(path.name for path in GOLDEN.iterdir() if path.is_dir()) == FOLDERS
    assert {"whole", "damaged-tail", "damaged", "shards", "merged"} <= set(FOLDERS)
