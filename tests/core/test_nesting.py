"""One bound on how deep JSON nests: the same on every Python, and the same however deep the calls around it are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.api.config import Token, find_token
from runner.api.fields import Answer, parse_object
from runner.api.responses import Accepted, Unreadable, read_submission
from runner.core.errors import AccountError
from runner.core.nesting import MAX_NESTING, TooDeep, check_nesting, nesting
from runner.engine.billing.receipts import receipts
from runner.engine.catalogue import CachedSchema, SchemaCache
from runner.ledger.records import BadLine, decode
from runner.ledger.salvage import read_fragment
from runner.manifest.feeds.jsonlines import MAX_LEVELS, read_object
from runner.manifest.problems import Invalid
from runner.manifest.yaml.encoding import decode as decode_manifest

MOST = 9_000
"""Levels that 3.13 reads, and 3.12 and 3.11 do not."""
LINE = (
    b'{"id":"mug","purchase":1,"state":"unknown","at":"2026-11-22T01:02:03.456Z","api":"https://a.example/v1",'
    b'"manifest":"mugs.yaml","model":"a/b","inputs":{"prompt":"a mug"},"fingerprint":"sha256:0","file":"mug"}'
)


def arrays(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def objects(depth: int) -> bytes:
    return b'{"a":' * depth + b"{}" + b"}" * depth


def depth_of(value: Any) -> int:
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 1 + max(map(depth_of, value.values()), default=0) if isinstance(value, dict) else 0


JSON = st.recursive(
    st.none() | st.integers() | st.text('"\\[]{}a\n', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('"\\[]{}', max_size=3), inner, max_size=3),
)


@given(value=JSON, indent=st.sampled_from([None, 1]))
def test_levels_are_counted_and_brackets_in_texts_are_not(value: Any, indent: int | None) -> None:
    """However it is spelled, as deep as the value that a parser makes of it."""
    assert nesting(json.dumps(value, indent=indent).encode()) == depth_of(value)


@given(text=st.text('"\\[]{}a').map(str.encode) | st.binary())
def test_what_is_no_json_has_levels_too(text: bytes) -> None:
    """A torn line is measured, and never fails for being torn."""
    assert nesting(text) <= len(text)


@pytest.mark.parametrize("made", [arrays, objects])
def test_the_bound_is_reached_by_what_nests_and_by_nothing_else(made: Callable[[int], bytes]) -> None:
    """One level more is refused, and a thousand lists beside one another, or in a text, are not."""
    check_nesting(arrays(MAX_NESTING))
    check_nesting(b"[" + b",".join([b"[]"] * 5000) + b"]")
    check_nesting(b'["' + b"[{" * 5000 + b'"]')
    for text in (made(MAX_NESTING + 1), made(MOST), b"[" * (MAX_NESTING + 1), b"[" * MOST):
        with pytest.raises(TooDeep, match="500 levels"):
            check_nesting(text)


def within(calls: int, call: Callable[[], Any]) -> Any:
    """What ``call`` returns so many calls further in."""
    return within(calls - 1, call) if calls else call()


def test_what_is_within_the_bound_is_read_on_every_python() -> None:
    """300 calls deep, too: no interpreter comes in before the bound."""
    body = b'{"request_id":"r-1","detail":' + arrays(MAX_NESTING - 1) + b"}"
    line = LINE.replace(b'"a mug"', arrays(MAX_NESTING - 2))
    assert within(300, lambda: parse_object(body))["request_id"] == "r-1"
    record = within(300, lambda: decode(line))
    (row,) = within(300, lambda: list(receipts(record, in_force=True, path_of=str)))
    assert row.prompt == arrays(MAX_NESTING - 2).decode()


@pytest.mark.parametrize("depth", [MAX_NESTING, MOST, 100_000])
def test_an_answer_that_nests_deeper_proves_nothing(depth: int) -> None:
    """Neither that a request was bought nor that it was refused: it stays unknown and is not repeated."""
    for said in (b'"request_id":"r-1"', b'"error_code":400003,"message":"no"'):
        body = b"{" + said + b',"x":' + arrays(depth) + b"}"
        for status in (200, 400, 422):
            assert isinstance(read_submission(Answer(status=status, body=body)), Unreadable)
    body = b'{"request_id":"r-1","x":' + arrays(MAX_NESTING - 1) + b"}"
    assert isinstance(read_submission(Answer(status=200, body=body)), Accepted)


@pytest.mark.parametrize("depth", [MAX_NESTING, MOST, 100_000])
def test_a_line_that_nests_deeper_is_no_record(depth: int) -> None:
    """By itself and among others, in a field that is known and in one that is not; and in the same words."""
    for bad in (
        LINE.replace(b'"a mug"', arrays(depth)),
        LINE.replace(b"{", b'{"later":' + arrays(depth) + b",", 1),
        LINE.replace(b'"a mug"', b"[" * (depth + 1)),
    ):
        with pytest.raises(BadLine, match=r"^more than 500 levels of lists and objects$"):
            decode(bad)


@pytest.mark.parametrize("depth", [MAX_NESTING + 1, MOST, 100_000])
def test_damage_that_nests_deeper_says_nothing_about_its_inputs(depth: int) -> None:
    """What cannot be written again is not taken for the inputs of a purchase."""
    text = '{"id":"mug","purchase":1,"inputs":%s,"request_id":"r-1"'
    deep = read_fragment(text % ('{"x":' + arrays(depth).decode() + "}"))
    assert "inputs" not in deep.fields
    assert read_fragment(text % '{"x":[]}').fields["inputs"] == {"x": []}


@pytest.mark.parametrize("depth", [MAX_NESTING, MOST])
def test_a_login_and_a_kept_schema_that_nest_deeper_are_none(depth: int, tmp_path: Path) -> None:
    """They are not there: the user is asked for a token, and the catalogue for the schema."""
    config = tmp_path / ".config" / "runcomfy"
    config.mkdir(parents=True)
    cache = SchemaCache(tmp_path / "cache")
    kept = CachedSchema(api="a", model="m", at=1.0, input_schema={"x": "HERE"})
    cache.put(kept)
    (file,) = (tmp_path / "cache").iterdir()
    assert cache.get("a", "m") == kept
    file.write_bytes(msgspec.json.encode(kept).replace(b'"HERE"', arrays(depth)))
    assert cache.get("a", "m") is None
    environ = {"HOME": str(tmp_path)}
    login = config / "token.json"
    login.write_bytes(b'{"access_token":"a-token-of-some-length","x":' + arrays(depth) + b"}")
    with pytest.raises(AccountError):
        find_token(environ)


def test_a_body_that_nests_deeper_is_not_spelled_anew() -> None:
    """The token is struck from it as it stands, on every Python alike."""
    token = Token("secret-token-1234")
    body = b'["secret-token-1234","\\u0061",' + arrays(MOST) + b"]"
    assert token.redacted_from(body) == body.replace(b"secret-token-1234", "…".encode())


@pytest.mark.parametrize("depth", [MAX_LEVELS + 1, MAX_NESTING, MOST, 100_000])
def test_a_feeds_line_that_nests_deeper_is_told_so(depth: int) -> None:
    """As an object, as a list, or torn: in the same words."""
    assert read_object(f'{{"x":{arrays(MAX_LEVELS).decode()}}}', "")
    for text in (b'{"x":' + arrays(depth) + b"}", objects(depth + 1), arrays(depth + 1), b"[" * (depth + 1)):
        with pytest.raises(Invalid) as caught:
            read_object(text.decode(), "")
        assert caught.value.what == f"more than {MAX_LEVELS} levels of lists and objects"


def test_a_json_manifest_that_nests_deeper_is_taken_for_yaml() -> None:
    """Its texts may hold only what YAML allows, and the first that does not is named."""
    manifest = '{"name":"\x7f","x":%s}'
    assert "\\u007f" in decode_manifest((manifest % arrays(MAX_NESTING - 1).decode()).encode())
    with pytest.raises(Invalid, match="U\\+007F"):
        decode_manifest((manifest % arrays(MOST).decode()).encode())
