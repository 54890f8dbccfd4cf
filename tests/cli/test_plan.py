"""`runner plan` shows what would be sent, what it replaces, and what the account pays for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.terminal import Terminal

from runner.api.config import ApiBase, find_account, find_api
from runner.core.errors import UsageError

MUGS = """\
model: blackforestlabs/flux-2-klein/4b/text-to-image
output: out
defaults: {{width: {width}, height: 64}}
jobs:
  - {{id: red, file: "{folder}red", prompt: a red mug}}
  - {{id: blue, file: "{folder}blue", prompt: a blue mug}}
"""


def mugs(desk, width: int = 64, folder: str = "") -> Path:
    return desk.write(MUGS.format(width=width, folder=folder))


def planned(desk, manifest, *options: str) -> dict:
    return json.loads(desk("plan", manifest, "--json", *options).stdout)


def test_what_is_sent_is_seen_before_it_is_paid(desk, serve):
    """Prompt, other inputs, file and price of the first jobs; of all with --jobs; the same in JSON."""
    desk.base = serve().base
    told = desk("plan", mugs(desk), "--sample", "1").stdout
    assert "2 new" in told
    lines = [line.split(None, 1) for line in told.partition("What is sent")[2].splitlines()[1:]]
    assert ["red", "(new)"] in lines
    assert {name: value for name, value in lines if name != "red"} == {
        "model": "blackforestlabs/flux-2-klein/4b/text-to-image",
        "prompt": "a red mug",
        "width": "64",
        "height": "64",
        "file": "red.*",
        "price": "from $0.0045",
    }
    assert "a blue mug" not in told
    assert "a blue mug" in desk("plan", mugs(desk), "--jobs").stdout
    found = planned(desk, mugs(desk), "--jobs", "--sample", "1")
    assert [one["id"] for one in found["sample"]] == ["red"]
    assert [line["sends"]["inputs"]["prompt"] for line in found["jobs"]] == ["a red mug", "a blue mug"]
    assert found["jobs"][0]["sends"]["from_usd"] == 0.0045


def test_changed_inputs_are_named_with_what_they_cost(desk, serve):
    """Pictures to be replaced are no new ones; a new file name buys nothing, and is told."""
    desk.base = serve().base
    assert desk("run", mugs(desk)).returncode == 0
    changed = mugs(desk, width=128)
    assert "2 replace paid pictures: width changed, $0.0090" in desk("plan", changed).stdout
    found = planned(desk, changed)
    assert (found["new"], found["replaces"]["jobs"], found["replaces"]["changed"]) == (0, 2, {"width": 2})
    assert found["sample"][0]["replaces"] == ["width"]
    moved = mugs(desk, folder="shop/")
    assert "2 move: the files get another name" in desk("plan", moved).stdout
    assert planned(desk, moved)["moves"] == 2


def test_a_redo_replaces_nothing_by_mistake(desk, serve):
    """Done jobs that the user named are bought once more, with the same inputs."""
    desk.base = serve().base
    assert desk("run", mugs(desk)).returncode == 0
    found = planned(desk, mugs(desk), "--redo", "--only", "red")
    assert (found["buy"], found["new"], found["replaces"]["jobs"]) == (1, 0, 0)
    assert "1 bought once more" in desk("plan", mugs(desk), "--redo", "--only", "red").stdout


def test_the_balance_and_what_it_pays_for(desk, serve):
    """One picture costs $0.0045: a balance of one and a half pays for the first."""
    desk.base = serve("--balance", "0.007").base
    assert "balance of the account $0.0070: enough for the first job" in desk("plan", mugs(desk)).stdout
    found = planned(desk, mugs(desk))
    assert (found["balance_usd"], found["balance_pays_for"]) == (0.007, 1)
    assert "balance_usd" not in planned(desk, mugs(desk), "--emulator")


def test_the_token_goes_to_no_other_host():
    """The balance is asked for at the public API's account service or an emulator's; elsewhere at none."""
    public, ours = find_api(None, {}), find_api("http://127.0.0.1:8188/v1", {})
    other = ApiBase(url="https://api.example.com/v1", name="https://api.example.com/v1")
    named = {"RUNCOMFY_SERVERLESS_API_BASE": "https://account.example.com/prod/v2/"}

    def host(base: ApiBase, environ: dict[str, str]) -> str | None:
        account = find_account(base, environ)
        return account.url if account is not None else None

    assert host(public, {}) == "https://api.runcomfy.net/prod/v2"
    assert host(public, named) == "https://account.example.com/prod/v2"
    assert host(ours, {}) == "http://127.0.0.1:8188/prod/v2"
    assert host(other, {}) is None
    assert host(other, named) is None
    with pytest.raises(UsageError, match="unencrypted"):
        find_account(public, {"RUNCOMFY_SERVERLESS_API_BASE": "http://account.example.com"})


def test_a_terminal_gets_a_table_that_fits(desk, serve):
    """No line is wider than the window, and control characters of a prompt do not reach the terminal."""
    desk.base = serve().base
    text = mugs(desk).read_text().replace("a red mug", '"a red\\u009b mug, ' + "long " * 30 + '"')
    manifest = desk.write(text)
    command = ["plan", str(manifest)]
    with Terminal(command, desk.folder, desk.environ, 60, desk.zygote) as terminal:
        assert terminal.read_to_the_end() == 0
        shown = "\n".join(terminal.screen.lines)
    assert "\u009b" not in shown
    assert "2  buy" in shown
    assert "prompt  a red" in shown
