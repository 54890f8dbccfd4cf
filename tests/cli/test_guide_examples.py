"""Examples of the guide: each is loaded as it stands on its page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
import yaml
from support.guide_examples import GUIDE, KLEIN, Example, examples_of, write_files

import runner
from runner.engine.catalogue import emulated_schema
from runner.manifest import Offer
from runner.manifest.editor_schema.schema import manifest_schema
from runner.manifest.feeds.feed import SUFFIXES
from runner.manifest.feeds.options import DELIMITERS, ENCODINGS, FORMATS
from runner.manifest.templates.sandbox import TESTS
from runner.manifest.templates.template import OF_JOBS, SHORT

PAGES = ("manifest", "feeds", "templates", "inputs", "copies", "money")
_FORMAT: Final = re.compile(r"^\|( `\..+?)\|.+?\|(.+)\|$", re.MULTILINE)
EXAMPLES = [example for page in PAGES for example in examples_of(page)]


def offers(models: object) -> dict[str, Offer]:
    """What the emulator's catalogue has of these models."""
    return {model: Offer(schema=emulated_schema(model)) for model in models}


def load(example: Example, folder: Path) -> runner.Manifest:
    write_files(example.page, folder)
    path = folder / "batch.yaml"
    path.write_text(example.manifest, encoding="utf-8")
    return runner.load(path, offers=offers)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.page}:{example.line}")
def test_each_example_of_the_guide_is_a_manifest(tmp_path: Path, example: Example) -> None:
    """It has no error and no warning, and makes as many jobs as it says."""
    loaded = load(example, tmp_path)
    assert [str(warning) for warning in loaded.warnings] == []
    assert len(loaded.jobs) == (example.jobs or len(loaded.jobs)) > 0
    loaded.jobs.close()


def test_the_examples_use_every_key() -> None:
    """Each key of the top and of a job is shown at least once."""
    found = [yaml.safe_load(example.manifest) for example in EXAMPLES]
    schema = manifest_schema()
    assert set(schema["properties"]) <= set().union(*found)
    jobs = [job for document in found for job in document["jobs"]]
    assert set(schema["definitions"]["job"]["properties"]) <= set().union(*jobs)


def test_the_examples_use_every_format_of_a_feed() -> None:
    """Also photos; a .tsv is a table as a .csv is."""
    feeds = [job["from"] for e in EXAMPLES for job in yaml.safe_load(e.manifest)["jobs"] if "from" in job]
    assert {*SUFFIXES, ".jpg"} - {".tsv"} <= {Path(feed).suffix for feed in feeds}


def test_the_page_of_feeds_has_every_format_with_its_keys() -> None:
    """The table of formats names what `from:` takes, and the keys that stand beside it."""
    page = (GUIDE / "feeds.md").read_text(encoding="utf-8")
    rows = [re.findall(r"`(\.?\w+)`", f"{formats} {keys}") for formats, keys in re.findall(_FORMAT, page)]
    told = {word: set(words) for words in rows for word in words if word.startswith(".")}
    assert set(told) == set(SUFFIXES)
    for suffix, words in told.items():
        assert {word for word in words if not word.startswith(".")} == {k for k in FORMATS if suffix in FORMATS[k]}


def test_the_page_of_feeds_names_encodings_and_separators_that_are_read() -> None:
    """Each value on the page is one that the manifest takes."""
    page = (GUIDE / "feeds.md").read_text(encoding="utf-8").replace("\n", " ")
    listed = page.partition("other values of `encoding:` are ")[2].partition(" and some more")[0]
    assert set(re.findall(r"`([\w-]+)`", listed)) <= set(ENCODINGS)
    signs = page.partition("`delimiter:` is ")[2].partition("; a first")[0]
    assert {sign.strip('"') for sign in re.findall(r"`(.+?)`", signs)} == set(DELIMITERS) - {"\t"}


def test_the_page_of_templates_has_every_test_and_name() -> None:
    """What may stand after `is`, and the names of a job."""
    page = (GUIDE / "templates.md").read_text(encoding="utf-8")
    assert f"`{' '.join(TESTS)}`" in page.replace("\n", " ")
    assert [name for name in OF_JOBS if f"`job.{name}`" not in page] == []
    assert [name for name in SHORT if f"`{name}`" not in page] == []


def test_a_prompt_of_the_page_of_templates_is_what_it_says(tmp_path: Path) -> None:
    """The example's last job has the prompt that the page prints."""
    example = next(examples_of("templates"))
    loaded = load(example, tmp_path)
    prompt = list(loaded.jobs)[-1].inputs["prompt"]
    loaded.jobs.close()
    assert f"`{prompt}`" in (GUIDE / "templates.md").read_text(encoding="utf-8")


def test_the_problem_on_the_page_of_the_manifest_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt key gives the message that the page shows."""
    top = f"name: mugs\nmodel: {KLEIN}\nrate: 120/min\njobs:\n"
    jobs = "  - id: oak\n    prompt: A mug on oak\n  - id: slate\n    size: 512x512\n    promt: A mug on slate\n"
    monkeypatch.chdir(tmp_path)
    Path("mugs.yaml").write_text(top + jobs, encoding="utf-8")
    with pytest.raises(runner.ManifestError) as found:
        runner.load("mugs.yaml")
    assert str(found.value) in (GUIDE / "manifest.md").read_text(encoding="utf-8")
