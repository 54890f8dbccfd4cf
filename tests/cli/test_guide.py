"""``runner guide``: the manual offline."""

from __future__ import annotations

from pathlib import Path

import pytest

import runner

PAGES = {path.stem: path for path in (Path(runner.__file__).parent / "guide").glob("*.md")}


def test_without_a_topic_every_page_is_listed_with_its_title(desk):
    """The list names each page that is shipped."""
    lines = desk("guide").stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines] == sorted(PAGES)
    assert all(len(line.split()) > 1 for line in lines)


@pytest.mark.parametrize("topic", sorted(PAGES))
def test_a_page_is_printed_as_it_is_into_a_pipe(desk, topic):
    """Markdown, for grep and for other tools."""
    assert desk("guide", topic).stdout == PAGES[topic].read_text(encoding="utf-8")


def test_a_misspelt_topic_names_the_nearest(desk):
    """The topics are suggested or listed, and the exit code is that of usage."""
    near, far = desk("guide", "concurency"), desk("guide", "zebra")
    assert (near.returncode, far.returncode) == (64, 64)
    assert "did you mean `concurrency`?" in near.stderr
    assert all(topic in far.stderr for topic in PAGES)
