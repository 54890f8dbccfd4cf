"""The manifest's JSON Schema, as the command line gives it."""

from __future__ import annotations

import json

import jsonschema_rs


def test_the_schema_is_printed_whole_and_needs_no_account(desk):
    """`runner schema > manifest.schema.json` makes the file that an editor reads: no token, no network, no manifest."""
    ended = desk("schema")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.isascii()
    validator = jsonschema_rs.validator_for(json.loads(ended.stdout))
    assert validator.is_valid({"model": "a/b", "jobs": [{"prompt": "a mug"}]})
    assert not validator.is_valid({"model": "a/b", "jobz": [{"prompt": "a mug"}]})
    assert desk("schema").stdout == ended.stdout


def test_the_help_of_schema_says_how_an_editor_finds_it(desk):
    """The line that a manifest begins with, and the command that makes the file."""
    text = desk("schema", "--help").stdout
    assert "yaml-language-server" in text
    assert "runner schema > manifest.schema.json" in text
