"""The manual: true to the code, short enough to be read, and found from the README."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from PIL import Image
from support.reference import key_table

import runner
from runner.api.config import ACCOUNT_VARIABLE, DEFAULT_ACCOUNT
from runner.cli.commands.emulator import command as emulator_command
from runner.core.disk import RESERVE_BYTES, RESERVE_SHARE
from runner.emulator.faults import COMMON, KINDS, OPERATIONS
from runner.engine.summary import COUNTS
from runner.files.body import SLOWEST, SUSTAINED, WHOLE_SECONDS
from runner.manifest import bundled_models
from runner.manifest.editor_schema.schema import schema_text
from runner.manifest.templates.filters import FILTERS

ROOT = Path(runner.__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "runner" / "guide").glob("*.md")}


def test_the_readme_is_short_and_links_every_page() -> None:
    """Five minutes to read, and each page of the manual is found from it."""
    assert len(README.split()) <= 1200
    assert set(re.findall(r"\(runner/guide/([\w-]+)\.md\)", README)) == set(PAGES)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_read_in_one_go(name: str) -> None:
    """Fewer than 1,500 words."""
    assert len(PAGES[name].split()) < 1500


@pytest.mark.parametrize("name", sorted(PAGES))
def test_links_between_pages_lead_somewhere(name: str) -> None:
    """Each relative link of a page names a file of the repository."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", PAGES[name])
    assert [link for link in links if not (ROOT / "runner" / "guide" / link).exists()] == []


def test_the_page_of_the_manifest_has_every_key() -> None:
    """The tables are those that the schema for editors gives."""
    found = json.loads(schema_text())
    assert key_table(found["properties"]) in PAGES["manifest"]
    assert key_table(found["definitions"]["job"]["properties"]) in PAGES["manifest"]


def test_each_filter_has_an_example_that_prints_what_the_page_says(tmp_path: Path) -> None:
    """Every filter of templates is listed, and its example is rendered with the page's row."""
    page = PAGES["templates"].partition("## Filters")[2]
    row = json.loads(re.findall(r"```json\n(.*?)```", page, flags=re.DOTALL)[0])
    examples = re.findall(r"^\| `(\w+)` \| `(.+)` \| `(.+)` \|$", page.replace("\\|", "¦"), flags=re.MULTILINE)
    assert {name for name, _, _ in examples} == set(FILTERS)
    (tmp_path / "row.jsonl").write_text(json.dumps(row), encoding="utf-8")
    for _, template, printed in examples:
        job = {"from": "row.jsonl", "id": "a", "prompt": template.replace("¦", "|") + " on wood"}
        manifest = tmp_path / "m.json"
        manifest.write_text(json.dumps({"model": bundled_models()[0], "jobs": [job]}), encoding="utf-8")
        loaded = runner.load(manifest)
        assert next(iter(loaded.jobs)).inputs["prompt"] == f"{printed.replace('¦', '|')} on wood"
        loaded.jobs.close()


def test_the_limits_on_the_page_of_security_are_those_of_the_code() -> None:
    """Numbers of downloads and of the disk, and the address of the account service."""
    page = " ".join(PAGES["security"].split())
    assert f"must reach {SLOWEST >> 10} KiB a second" in page
    assert f"at most {WHOLE_SECONDS / 60:.0f} minutes, and a second more for each {SUSTAINED >> 10} KiB" in page
    assert f"{RESERVE_BYTES >> 20} MiB of the disk stay free, or {100 // RESERVE_SHARE} % of a small one" in page
    assert f"`{DEFAULT_ACCOUNT.partition('/prod')[0]}`, or the address in `{ACCOUNT_VARIABLE}`" in page


@pytest.mark.parametrize("name", sorted(PAGES))
def test_paths_of_the_repository_exist(name: str) -> None:
    """`tests/crash` or `.ci/run` on a page is a file or a folder."""
    paths = re.findall(r"`((?:tests|jobs|runner|\.ci)/[\w./-]+)`", PAGES[name])
    made = {"jobs/photos-done.csv"}  # by the command on the page
    assert [path for path in paths if path not in made and not (ROOT / path).exists()] == []


def test_the_page_for_contributors_names_each_folder_and_marker_of_the_tests() -> None:
    """No folder is without an explanation, and no marker without its command."""
    page = PAGES["contributing"]
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()} - {"__pycache__", "data"}
    mirrored = set(re.findall(r"mirrors the packages: `([\w ]+)`", page)[0].split())
    assert mirrored | set(re.findall(r"`tests/(\w+)`", page)) == folders
    markers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"][
        "markers"
    ]
    assert [marker for marker in markers if f"-m {marker.partition(':')[0]}" not in page] == []


def test_the_pictures_of_the_readme_are_there_and_light() -> None:
    """`tests/pictures.py` makes them; a page of the web shall not wait for them."""
    named = re.findall(r"!\[[^\]]+\]\((runner/guide/pictures/[\w.]+)\)", README)
    assert len(named) == 2
    for name in named:
        with Image.open(ROOT / name) as picture:
            assert (picture.format, 900 <= picture.width <= 2400) == ("PNG", True)
        assert (ROOT / name).stat().st_size < 300_000


def test_the_page_of_the_emulator_has_every_fault() -> None:
    """Each kind, each operation and each common parameter is in its table."""
    rows = re.findall(r"^\| (`.+?) \|", PAGES["emulator"], flags=re.MULTILINE)
    told = [word for cell in rows for word in re.findall(r"`(\w+)`", cell)]
    assert sorted(told) == sorted([*OPERATIONS, *COMMON, "when", *KINDS])


def test_the_page_of_the_emulator_names_only_options_that_it_has() -> None:
    """And the help, which the page points to, has all of them."""
    told = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", PAGES["emulator"]))
    known = {name for option in emulator_command.params for name in option.opts}
    assert told <= known | {"--help", "--emulator"}


def test_the_page_of_the_library_has_every_name_and_option() -> None:
    """The public names, and the fields of `RunOptions` and `Report`."""
    told = set(re.findall(r"`(\w+)`", PAGES["library"]))
    assert set(runner.__all__) <= told
    assert {field.name for field in fields(runner.RunOptions)} <= told
    assert {field.name for field in fields(runner.Report)} | set(COUNTS) <= told


def test_the_page_of_the_report_has_every_key_of_the_help() -> None:
    """The keys that the page itself lists under `?`."""
    help_text = (ROOT / "runner/report/assets/page.html").read_text(encoding="utf-8")
    keys = set(re.findall(r"<kbd>(\w|/|Enter|Space)</kbd>", help_text.partition('<dialog id="help"')[2]))
    assert keys <= set(re.findall(r"`(\w+|/)`", PAGES["report"]))
