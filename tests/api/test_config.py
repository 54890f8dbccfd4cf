"""What the surroundings say: the token, where the API is, where results go, what time it is."""

from __future__ import annotations

import json
import os
import pickle
from contextlib import suppress
from datetime import UTC, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from runner.api.config import DEFAULT_API, ApiBase, Token, find_api, find_token
from runner.api.fields import parse_object, read_object
from runner.core.clock import SystemClock, epoch, timestamp
from runner.core.errors import AccountError, UsageError
from runner.core.origins import is_loopback, origin_of
from runner.ledger.folders import output_folder, results_folder

ZONES = st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=12, minutes=30))])
SECRET = "rc-secret-1234567890"


def log_in(folder: Path, content: bytes = b'{"access_token": "from-login"}') -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token.json").write_bytes(content)


def test_the_token_shows_itself_to_nobody() -> None:
    """No log, error, record or debugger line gives the token away."""
    token = Token(SECRET)
    for shown in (
        repr(token),
        str(token),
        f"{token}",
        f"{token!r}",
        repr([token]),
        repr({"t": token}),
    ):
        assert SECRET not in shown
    assert token.value == SECRET


@pytest.mark.parametrize(
    "echo",
    [
        {"message": f"Bearer {SECRET} is odd"},
        {SECRET: [{"deep": ["x", f"https://a/b?key={SECRET}&c"]}]},
        {"request_id": SECRET, "line": "\n\\"},
    ],
)
@pytest.mark.parametrize("escaped", [False, True])
def test_a_token_that_a_service_echoes_is_struck_from_its_answer(echo: dict[str, object], escaped: bool) -> None:
    """However JSON spells it; the rest is left as it is."""
    body = json.dumps(echo).encode()
    if escaped:
        body = body.replace(b"secret", b"\\u0073ecr\\u0065t").replace(b"-12", b"\\u002d12")
    struck = Token(SECRET).redacted_from(body)
    assert json.loads(struck) == json.loads(json.dumps(echo, ensure_ascii=False).replace(SECRET, "…"))
    assert Token(SECRET).redacted(f"x {SECRET} y {SECRET}") == "x … y …"


@pytest.mark.parametrize("odd", ['quo"te-0123', "back\\slash-0123", "sla/sh-0123"])
def test_a_token_with_odd_characters_is_found_too(odd: str) -> None:
    """Quotes and backslashes are spelled otherwise in JSON."""
    for body in (json.dumps({"m": odd}), json.dumps({"m": odd}).replace("/", "\\/")):
        assert json.loads(Token(odd).redacted_from(body.encode())) == {"m": "…"}


@pytest.mark.parametrize("body", [b"", b"not \\ JSON", b'{"a": "\\ud800"}', b"[" * 100_000 + b"\\"])
def test_an_answer_without_the_token_is_left_alone(body: bytes) -> None:
    """Whatever it is. One that is no JSON loses the token all the same."""
    assert Token(SECRET).redacted_from(body) == body
    assert SECRET.encode() not in Token(SECRET).redacted_from(body + SECRET.encode())


def test_a_word_that_serves_as_a_token_is_not_looked_for() -> None:
    """The emulator's would be found everywhere."""
    assert Token("emulator").redacted_from(b'{"url": "/emulator/x"}') == b'{"url": "/emulator/x"}'


@pytest.mark.skipif(os.name == "nt", reason="no such modes")
@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1), (0o622, 1)])
def test_a_token_that_others_can_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: int
) -> None:
    """Once in a process, naming the file and not the token."""
    log_in(tmp_path)
    (tmp_path / "token.json").chmod(mode)
    for _ in range(2):
        assert find_token({"RUNCOMFY_CONFIG_DIR": str(tmp_path)}).value == "from-login"
    assert len(caplog.messages) == warned
    assert all(f"{tmp_path}/token.json: chmod 600 it" in told and "from-login" not in told for told in caplog.messages)


def test_runcomfy_token_comes_first_then_the_other_then_the_login(tmp_path: Path) -> None:
    """The sources of the token have one order, and an empty one is none."""
    log_in(tmp_path)
    login = {"RUNCOMFY_CONFIG_DIR": str(tmp_path)}
    both = {"RUNCOMFY_TOKEN": "first", "RUNCOMFY_API_TOKEN": "second"}
    assert find_token({**both, **login}).value == "first"
    assert find_token({**both, "RUNCOMFY_TOKEN": " \n"}).value == "second"
    assert find_token({"RUNCOMFY_API_TOKEN": " second\n", **login}).value == "second"
    assert find_token(login).value == "from-login"


def test_the_login_is_found_where_the_official_client_writes_it(tmp_path: Path) -> None:
    """``$RUNCOMFY_CONFIG_DIR``, else ``$XDG_CONFIG_HOME/runcomfy``, else ``~/.config/runcomfy``."""
    log_in(tmp_path / "own", b'{"access_token": "own"}')
    log_in(tmp_path / "xdg" / "runcomfy", b'{"access_token": "xdg"}')
    log_in(tmp_path / "home" / ".config" / "runcomfy", b'{"access_token": "home"}')
    environ = {
        "RUNCOMFY_CONFIG_DIR": str(tmp_path / "own"),
        "XDG_CONFIG_HOME": str(tmp_path / "xdg"),
        "HOME": str(tmp_path / "home"),
    }
    assert find_token(environ).value == "own"
    del environ["RUNCOMFY_CONFIG_DIR"]
    assert find_token(environ).value == "xdg"
    del environ["XDG_CONFIG_HOME"]
    assert find_token(environ).value == "home"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"rc"',
        b'{"access_token": ""}',
        b'{"access_token": "  "}',
        b'{"access_token": null}',
        b'{"access_token": 7}',
        b'{"access_token": "\xff"}',
        b'{"access_token": "half',
        b"[" * 100_000,
    ],
)
def test_without_a_usable_token_the_user_is_told_what_to_do(tmp_path: Path, content: bytes) -> None:
    """A missing or damaged login ends with advice, exit 77 and nothing bought."""
    for environ in ({"HOME": str(tmp_path / "empty")}, {"RUNCOMFY_CONFIG_DIR": str(tmp_path)}):
        log_in(tmp_path, content)
        with pytest.raises(AccountError, match=r"RUNCOMFY_TOKEN.*--emulator") as caught:
            find_token(environ)
        assert caught.value.exit_code == 77


def test_a_login_that_is_a_folder_is_no_login(tmp_path: Path) -> None:
    """Nothing but a file is read."""
    (tmp_path / "token.json").mkdir()
    with pytest.raises(AccountError):
        find_token({"RUNCOMFY_CONFIG_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    "bad", [f"{SECRET} x", f"{SECRET}\r\nX-Header: 1", f"{SECRET}\x00", f"{SECRET}é", f"“{SECRET}”"]
)
def test_a_token_that_no_header_may_hold_is_refused_without_being_shown(tmp_path: Path, bad: str) -> None:
    """A badly copied token is named by its source and never printed."""
    with pytest.raises(AccountError, match="RUNCOMFY_TOKEN") as caught:
        find_token({"RUNCOMFY_TOKEN": bad})
    assert SECRET not in str(caught.value)


def test_a_token_survives_being_handed_to_another_process() -> None:
    """The value is whole wherever it is meant to be."""
    assert pickle.loads(pickle.dumps(Token(SECRET))) == Token(SECRET)


# Where the API is


def test_the_api_is_the_option_then_the_environment_then_the_public_one() -> None:
    """``--api`` wins, an empty variable is none."""
    environ = {"RUNCOMFY_MODEL_API_BASE": "https://b.example/v1"}
    assert find_api("https://a.example/v1", environ).url == "https://a.example/v1"
    assert find_api(None, environ).url == "https://b.example/v1"
    assert find_api("", environ).url == "https://b.example/v1"
    assert find_api(None, {"RUNCOMFY_MODEL_API_BASE": ""}).url == DEFAULT_API
    assert find_api(None, {}) == ApiBase(url=DEFAULT_API, name=DEFAULT_API)


@pytest.mark.parametrize(
    "spelled",
    [
        "https://model-api.runcomfy.net/v1",
        "https://model-api.runcomfy.net/v1/",
        " https://model-api.runcomfy.net/v1// ",
        "HTTPS://Model-API.RunComfy.net/v1",
        "https://model-api.runcomfy.net:443/v1",
    ],
)
def test_one_api_has_one_name_however_it_is_spelled(spelled: str) -> None:
    """What was bought under one spelling is not bought again under another."""
    assert find_api(spelled, {}) == ApiBase(url=DEFAULT_API, name=DEFAULT_API)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://a.example/v1", "https://b.example/v1"),
        ("https://a.example/v1", "https://a.example:8443/v1"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8001/v1"),
        ("http://localhost/v1", "https://localhost/v1"),
    ],
)
def test_two_apis_have_two_names(one: str, other: str) -> None:
    """Records of one API are never taken for another's."""
    assert find_api(one, {}).name != find_api(other, {}).name
    assert find_api(one, {}).origin != find_api(other, {}).origin


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "http://localhost:8000/v1",
        "http://[::1]:8000/v1",
        "http://127.9.9.9/v1",
        "https://a/v1",
    ],
)
def test_plain_http_is_for_this_machine_and_https_for_all(url: str) -> None:
    """An emulator on loopback needs no certificate."""
    assert find_api(url, {}).url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://model-api.runcomfy.net/v1",
        "http://10.0.0.1/v1",
        "http://192.168.0.1:8000/v1",
        "http://0.0.0.0/v1",
        "http://localhost.example/v1",
        "http://127.0.0.1.example/v1",
        "http://notlocalhost/v1",
    ],
)
def test_plain_http_to_any_other_machine_is_refused(url: str) -> None:
    """The token never crosses a network unencrypted."""
    for override, environ in ((url, {}), (None, {"RUNCOMFY_MODEL_API_BASE": url})):
        with pytest.raises(UsageError, match="unencrypted"):
            find_api(override, environ)


@pytest.mark.parametrize(
    "url",
    [
        "model-api.runcomfy.net/v1",
        "ftp://a/v1",
        "file:///v1",
        "https://",
        "https:///v1",
        "https://user:pass@a/v1",
        "https://token@a/v1",
        "https://a/v1?x=1",
        "https://a/v1#x",
        "https://a:99999/v1",
        "https://a:b/v1",
        "https://[::1/v1",
        "https://a b/v1",
        "https://a/v\n1",
        "https://a/v1\x00",
        "   ",
    ],
)
def test_an_address_that_is_none_is_refused_before_anything_is_sent(url: str) -> None:
    """A mistyped address ends with exit 64."""
    with pytest.raises(UsageError) as caught:
        find_api(url, {})
    assert caught.value.exit_code == 64


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://A.example/v1", ("https", "a.example", 443)),
        ("http://[::1]:80/x", ("http", "::1", 80)),
        ("HTTP://127.0.0.1:8000", ("http", "127.0.0.1", 8000)),
        ("https://a.example:8443/x?y#z", ("https", "a.example", 8443)),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: tuple[str, str, int]) -> None:
    """Two ports of one host are two origins: only the API's own may serve files from loopback."""
    assert origin_of(url) == origin


@settings(deadline=None, max_examples=examples(300))
@given(text=st.text(max_size=20) | st.text(max_size=12).map("https://{}/v1".format))
def test_any_address_is_usable_or_refused(text: str) -> None:
    """Reading an address fails in one way only, and a name read again is the same name."""
    try:
        base = find_api(text, {})
    except UsageError:
        return
    assert base.origin[0] == "https" or is_loopback(base.origin[1])
    assert find_api(base.url, {}) == base


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.0.1", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_this_machine_is_known_by_name_and_address(host: str) -> None:
    """All of loopback is this machine."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "10.0.0.1", "169.254.169.254", "a.localhost.example", "128.0.0.1", "::2"]
)
def test_no_other_machine_is_taken_for_this_one(host: str) -> None:
    """Private networks are not loopback."""
    assert not is_loopback(host)


# Where results go


def test_results_go_to_the_first_output_folder_at_or_above_the_manifest(tmp_path: Path) -> None:
    """``output/<name>`` beside the manifest, else one above, else a new one beside it."""
    jobs = tmp_path / "shop" / "jobs"
    jobs.mkdir(parents=True)
    manifest = jobs / "spring.yaml"
    assert output_folder(manifest, "spring", None, emulator=False) == jobs / "output" / "spring"
    (tmp_path / "output").mkdir()  # two above: too far
    assert output_folder(manifest, "spring", None, emulator=False) == jobs / "output" / "spring"
    (tmp_path / "shop" / "output").mkdir()
    assert output_folder(manifest, "spring", None, emulator=False) == tmp_path / "shop" / "output" / "spring"
    (jobs / "output").write_bytes(b"a file is no folder")
    assert output_folder(manifest, "spring", None, emulator=False) == tmp_path / "shop" / "output" / "spring"
    (jobs / "output").unlink()
    (jobs / "output").mkdir()
    assert output_folder(manifest, "spring", None, emulator=False) == jobs / "output" / "spring"


@pytest.mark.parametrize("name", ["results.jsonl", "results.2-of-4.jsonl"])
def test_results_stay_where_they_began(tmp_path: Path, name: str) -> None:
    """An ``output/`` that appears nearer by later does not make a run buy everything again."""
    (tmp_path / "jobs").mkdir()
    begun = tmp_path / "output" / "spring"
    begun.mkdir(parents=True)
    (tmp_path / "jobs" / "output").mkdir()
    manifest = tmp_path / "jobs" / "spring.yaml"
    assert output_folder(manifest, "spring", None, emulator=False) == tmp_path / "jobs" / "output" / "spring"
    (begun / name).touch()
    assert output_folder(manifest, "spring", None, emulator=False) == begun
    assert output_folder(manifest, "summer", None, emulator=False) == tmp_path / "jobs" / "output" / "summer"


def test_the_emulators_results_have_a_folder_of_their_own(tmp_path: Path) -> None:
    """Trying a manifest on the emulator touches nothing that was bought."""
    manifest = tmp_path / "spring.yaml"
    assert output_folder(manifest, "spring", None, emulator=True) == tmp_path / "output" / "spring-emulator"


def test_a_chosen_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    """``--output`` wins over every rule."""
    (tmp_path / "output").mkdir()
    chosen = tmp_path / "elsewhere"
    for emulator in (False, True):
        assert output_folder(tmp_path / "m.yaml", "m", chosen, emulator=emulator) == chosen


def test_where_results_go_does_not_depend_on_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cron starts in another folder and finds the same results."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home, elsewhere / "output"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    assert output_folder(home / "m.yaml", "m", None, emulator=False) == home / "output" / "m"
    monkeypatch.chdir(home)
    assert output_folder(Path("m.yaml"), "m", None, emulator=False) == home / "output" / "m"
    assert output_folder(Path("m.yaml"), "m", Path("out"), emulator=False) == home / "out"
    assert output_folder(None, "m", None, emulator=False) == home / "output" / "m"


def test_a_folder_or_its_results_manifest_names_the_results(tmp_path: Path) -> None:
    """After the manifest is gone, the folder itself is enough."""
    assert results_folder(tmp_path) == tmp_path
    assert results_folder(tmp_path / "results.jsonl") == tmp_path
    assert results_folder(tmp_path / "spring.yaml") is None


# What time it is


@settings(deadline=None, max_examples=examples(300))
@given(seconds=st.floats(0, 4e9))
def test_a_time_is_written_in_utc_and_read_back_to_the_millisecond(seconds: float) -> None:
    """Times of the results manifest mean the same on every machine."""
    written = timestamp(seconds)
    assert len(written) == len("2026-11-22T01:02:03.456Z")
    assert written.endswith("Z")
    assert abs(epoch(written) - seconds) <= 0.0011


def test_the_form_of_a_time_is_the_documented_one() -> None:
    """To the millisecond, with ``Z``."""
    assert timestamp(1795309323.456) == "2026-11-22T01:02:03.456Z"


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-22", "2026-11-22T01:02:03", "2026-13-01T00:00:00Z"])
def test_a_text_that_names_no_moment_is_refused(text: str) -> None:
    """A time without a zone is not guessed at."""
    with pytest.raises(ValueError, match=r"."):
        epoch(text)


@settings(deadline=None, max_examples=examples(300))
@given(text=st.text(max_size=30) | st.datetimes(timezones=ZONES).map(lambda moment: moment.isoformat()))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    """An odd time in a record fails in one way only."""
    with suppress(ValueError):
        assert isinstance(epoch(text), float)


def test_the_machines_clock_goes_forward() -> None:
    """The monotonic clock never steps back, and the time is one of this century."""
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert clock.now() > epoch("2024-01-01T00:00:00Z")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_the_token_is_struck_from_what_is_no_json_and_is_read_all_the_same(encoding: str) -> None:
    """A service may hide it in another encoding, or behind escapes beside a NaN. It proves nothing before or after."""
    escaped = "".join(f"\\u{ord(character):04x}" for character in SECRET)
    body = f'{{"request_id": "req-1", "message": "x {escaped} {SECRET}", "eta": NaN}}'.encode(encoding)
    struck = Token(SECRET).redacted_from(body)
    assert read_object(struck)["message"] == "x … …"
    assert parse_object(struck) == {}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_the_token_is_struck_in_every_encoding_of_unicode(encoding: str) -> None:
    """Without escapes, too."""
    struck = Token(SECRET).redacted_from(f'{{"message": "x {SECRET}"}}'.encode(encoding))
    assert read_object(struck)["message"] == "x …"
