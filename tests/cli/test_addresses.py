"""`--same-api-as` on the command line: one service under two addresses."""

from __future__ import annotations

import json
import urllib.request

import pytest

from runner.core.models import State


def test_another_address_is_refused_until_it_is_said_to_be_the_same(desk, serve):
    """65 with both addresses from `plan` and `run`; the option says it for `plan`, and for good with `run`."""
    desk.base = serve().base
    name = desk.base.replace("127.0.0.1", "localhost")
    manifest = desk.jobs(2)
    assert desk("run", manifest).returncode == 0
    for verb in ("plan", "run"):
        ended = desk(verb, manifest, "--api", name)
        assert (ended.returncode, desk.base in ended.stderr, name in ended.stderr) == (65, True, True)
    told = desk("plan", manifest, "--api", name, "--same-api-as", desk.base, "--json")
    assert json.loads(told.stdout)["reuse"] == 2
    assert desk("collect", manifest, "--api", name, "--same-api-as", desk.base).returncode == 0
    ended = desk("run", manifest, "--api", name, "--json")
    assert (ended.returncode, json.loads(ended.stdout)["skipped"]) == (0, 2)
    assert desk("run", manifest, "--emulator", "--same-api-as", desk.base).returncode == 64


@pytest.fixture
def renamed(desk, serve):
    """A folder with a picture and an unknown purchase, and the other name of its service."""
    served = serve("--fault", "submit reset when=after times=1")
    desk.base = served.base
    assert desk("run", desk.jobs(2, concurrency=1)).returncode == 2
    desk.base = desk.base.replace("127.0.0.1", "localhost")
    return served


def test_cancel_tells_of_what_another_address_owes(desk, serve):
    """It is not asked there, and that is no success: 65, both addresses and the option that says they are one."""
    served = serve("--seconds", "60")
    desk.base = served.base
    running = desk.start("run", desk.jobs(1))
    desk.wait_for(1)
    running.kill()
    running.wait()
    name = served.base.replace("127.0.0.1", "localhost")
    told = desk("cancel", "out", "--api", name)
    assert (told.returncode, served.base in told.stderr, name in told.stderr) == (65, True, True)
    assert f"--same-api-as {served.base}" in told.stderr
    assert json.loads(desk("cancel", "out", "--api", name, "--json").stdout)["elsewhere"] != []
    desk("cancel", "out", "--api", name, "--same-api-as", served.base)
    told = desk("cancel", "out", "--api", name)
    assert told.returncode != 65, told.stderr
    assert "owed by" not in told.stderr
    assert served.stats["submissions"] == 1


def test_reconcile_adopts_a_purchase_of_another_address_once_they_are_one(desk, renamed):
    """The API that is asked is this one; without the word the message names both ways on."""
    with urllib.request.urlopen(f"{renamed.base.removesuffix('/v1')}/_emulator/requests") as answer:
        request_id = json.load(answer)[0]["request_id"]
    adopt = ("reconcile", "out", "--adopt", f"job-0={request_id}")
    refused = desk(*adopt)
    assert (refused.returncode, f"--same-api-as {renamed.base}" in refused.stderr) == (64, True)
    assert desk.records()["job-0"].state is State.UNKNOWN
    assert desk(*adopt, "--same-api-as", renamed.base).returncode == 0
    adopted = desk.records()["job-0"]
    assert (adopted.state, adopted.request_id, adopted.api) == (State.SUBMITTED, request_id, desk.base)


def test_a_word_given_to_one_command_serves_the_others(desk, renamed):
    """Said with `reconcile`, it holds for `plan`."""
    told = desk("reconcile", "out", "--rebuy", "job-0", "--same-api-as", renamed.base)
    assert told.returncode == 0, told.stderr
    told = desk("plan", "batch.yaml", "--json")
    assert (told.returncode, json.loads(told.stdout)["reuse"]) == (0, 1)


@pytest.mark.slow
def test_repair_names_the_option_where_files_are_of_another_address(desk, serve):
    """A file that is gone is fetched from this address once it is said to be the same service."""
    served = serve()
    desk.base = served.base
    assert desk("run", desk.jobs(1)).returncode == 0
    (desk.folder / "out/job-0.png").unlink()
    name = served.base.replace("127.0.0.1", "localhost")
    told = desk("verify", "out", "--repair", "--api", name)
    assert (told.returncode, f"--same-api-as {served.base}" in told.stdout) == (1, True)
    told = desk("verify", "out", "--repair", "--api", name, "--same-api-as", served.base)
    assert "another API" not in told.stdout
    assert "https only" in told.stdout  # it was asked: the emulator links to its other name
