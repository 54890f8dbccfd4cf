"""`--same-api-as` on the command line: one service under two addresses."""

from __future__ import annotations

import json


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
