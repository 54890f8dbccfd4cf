"""Selections, as the page saves them."""

from __future__ import annotations

import pytest

from runner.core.errors import UsageError
from runner.report.selection import MarkedPicture, Marks, read_selection


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 1, "pictures": [{}]}',
        '{"version": 1, "pictures": [{"id": "a", "sha256": "b", "mark": "x"}]}',
    ],
)
def test_what_is_no_selection_is_refused_with_the_file_and_the_place(tmp_path, text):
    """A typing error in a file edited by hand never loses a mark in silence."""
    path = tmp_path / "selection.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"selection\.json is no selection"):
        read_selection(path)


def test_a_newer_version_is_refused(tmp_path):
    """It may mean something else."""
    (tmp_path / "s.json").write_text('{"version": 2, "pictures": []}')
    with pytest.raises(UsageError, match="version 2"):
        read_selection(tmp_path / "s.json")


def test_marks_are_found_by_the_bytes_and_then_by_the_id():
    """A renamed job keeps its mark; of two with the same bytes each has its own."""
    marks = Marks([MarkedPicture(id="a", sha256="1"), MarkedPicture(id="b", sha256="2", mark="pick"),
                   MarkedPicture(id="c", sha256="2", mark="reject")])  # fmt: skip
    assert marks.find("1", "renamed") == MarkedPicture(id="a", sha256="1")
    assert [marks.find("2", one).mark for one in "bc"] == ["pick", "reject"]
    assert (marks.find("2", "d"), marks.find(None, "a"), marks.find("", "a")) == (None, None, None)
