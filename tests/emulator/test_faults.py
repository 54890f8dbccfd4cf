"""Every kind of fault does what its name says, as often as it was told to."""

import asyncio
import io
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from PIL import Image

from runner.emulator import InjectedFault

pytestmark = pytest.mark.anyio

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
CUT = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)


def accepted(client):
    return client.emulator.stats["accepted"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("submit status", (503, 503001, None)),
        ("submit status status=401", (401, 400004, None)),
        ("submit status status=402", (402, 400002, None)),
        ("submit status status=429 retry_after=2 code=7", (429, 7, "2")),
        ("submit status status=429 retry_after=0.5", (429, 429001, "0.5")),
        ("submit error200 code=500001", (200, 500001, None)),
    ],
)
async def test_an_error_before_the_purchase_buys_nothing(emulate, fault, text, answer):
    """Status, code and ``Retry-After`` as asked; the request was never made."""
    async with emulate(faults=(fault(text),)) as client:
        reply = await client.submit()
        assert (reply.status, reply.json["error_code"], reply.headers.get("Retry-After")) == answer
        assert accepted(client) == 0
        assert client.emulator.stats["faults"].popitem()[1] == 1


async def test_retry_after_may_be_a_date(emulate, clock, fault):
    """In whole seconds, never too early."""
    clock.pass_by(0.3)
    async with emulate(faults=(fault("status status status=429 retry_after=5 date=true"),)) as client:
        reply = await client.status("any")
        assert parsedate_to_datetime(reply.headers["Retry-After"]).timestamp() == clock.time + 5.7


@pytest.mark.parametrize(
    ("body", "media_type", "start"),
    [
        ("api", "application/json", b'{"error_code"'),
        ("detail", "application/json", b'{"detail"'),
        ("html", "text/html", b"<!doctype"),
        ("empty", "text/plain", b""),
        ("half", "application/json", b'{"error_code"'),
    ],
)
async def test_error_bodies_take_many_forms(emulate, body, media_type, start):
    """The status stays; the body is what a proxy or a framework might send."""
    async with emulate(faults=(InjectedFault(on="result", kind="status", status=502, body=body),)) as client:
        reply = await client.result("any")
        assert (reply.status, reply.headers["Content-Type"].partition(";")[0]) == (502, media_type)
        assert reply.body.startswith(start)
        assert (reply.json is None) == (body in {"html", "empty", "half"})


@pytest.mark.parametrize("kind", ["status", "error200", "reset", "garbage", "half", "redirect"])
@pytest.mark.parametrize(("when", "bought"), [("before", 0), ("after", 1)])
async def test_a_fault_may_strike_before_or_after_the_purchase(emulate, kind, when, bought):
    """From outside both look alike; the emulator knows."""
    async with emulate() as client:
        client.emulator.script("submit", InjectedFault(on="submit", kind=kind, when=when))
        if kind == "reset":
            with pytest.raises(CUT):
                await client.submit()
        else:
            reply = await client.submit()
            assert reply.json is None or "request_id" not in reply.json
        assert accepted(client) == bought


@pytest.mark.parametrize(("when", "bought"), [("before", 0), ("after", 1)])
async def test_a_hanging_submission_never_answers(emulate, when, bought):
    """The client gives up; what was bought stays bought."""
    async with emulate() as client:
        client.emulator.script("submit", InjectedFault(on="submit", kind="hang", when=when))
        with pytest.raises(TimeoutError):
            await client.call("POST", f"/v1/models/{KLEIN}", json={"prompt": "x"}, timeout=aiohttp.ClientTimeout(0.05))
        assert accepted(client) == bought


async def test_a_hang_with_an_end_ends_in_a_reset(emulate, fault):
    """Whoever waits long enough learns nothing."""
    async with emulate(faults=(fault("submit hang seconds=0.01"),)) as client:
        with pytest.raises(CUT):
            await client.submit()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_slow_answer_comes_all_the_same(emulate, when):
    """Late, and good."""
    async with emulate(faults=(InjectedFault(on="submit", kind="slow", seconds=0.02, when=when),)) as client:
        loop = asyncio.get_running_loop()
        start = loop.time()
        assert await client.bought()
        assert loop.time() - start >= 0.02


async def test_calls_at_once_are_counted(emulate, fault):
    """The peak tells whether a client keeps its bound."""
    async with emulate(faults=(fault("submit slow seconds=0.05"),)) as client:
        await asyncio.gather(*(client.bought(f"prompt {n}") for n in range(5)))
        assert client.emulator.stats["peak_calls"] == 5


@pytest.mark.parametrize("operation", ["status", "result", "cancel", "model", "models", "balance", "file"])
@pytest.mark.parametrize("kind", ["status", "error200", "reset", "garbage", "half", "redirect"])
async def test_every_call_can_go_wrong(emulate, clock, operation, kind):
    """General kinds strike any call, and the next one is well again."""
    async with emulate(faults=(InjectedFault(on=operation, kind=kind, times=1),)) as client:
        request_id = await client.bought(width=64, height=64)
        clock.pass_by(1)
        calls = {
            "status": lambda: client.status(request_id),
            "result": lambda: client.result(request_id),
            "cancel": lambda: client.cancel(request_id),
            "model": lambda: client.call("GET", f"/v1/models/{KLEIN}"),
            "models": lambda: client.call("GET", "/v1/models"),
            "balance": lambda: client.call("GET", "/prod/v2/balance"),
            "file": lambda: client.file(request_id),
        }
        try:
            wrong = await calls[operation]()
        except CUT:
            assert kind == "reset"
            wrong = None
        right = await calls[operation]()
        assert right.status == (202 if operation == "cancel" else 200)
        if wrong is not None:
            assert (wrong.status, wrong.body) != (200, right.body)
        if kind == "half":
            assert right.body.startswith(wrong.body)
            assert int(wrong.headers["Content-Length"]) == len(right.body) // 2
        assert client.emulator.stats["faults"] == {kind: 1}


async def test_a_redirect_leads_where_it_was_told_to(emulate, fault):
    """With its status and location."""
    text = "file redirect status=307 location=http://127.0.0.1:9/x"
    async with emulate(seconds=0, faults=(fault(text),)) as client:
        reply = await client.file(await client.bought())
        assert (reply.status, reply.headers["Location"]) == (307, "http://127.0.0.1:9/x")


async def test_an_accepted_submission_may_lack_a_usable_id(emulate):
    """Bought, answered with 200, and still not to be found."""
    async with emulate() as client:
        bad = [InjectedFault(on="submit", kind="bad_id"), InjectedFault(on="submit", kind="bad_id", text="a b")]
        client.emulator.script("submit", InjectedFault(on="submit", kind="no_id"), *bad)
        replies = [await client.submit(f"prompt {n}") for n in range(3)]
        assert [reply.status for reply in replies] == [200, 200, 200]
        assert [reply.json.get("request_id") for reply in replies] == [None, "../../etc", "a b"]
        assert accepted(client) == 3


async def test_links_may_lead_elsewhere(emulate, fault):
    """The id is good, the host is not ours."""
    async with emulate(faults=(fault("submit evil_urls location=https://evil.example/"),)) as client:
        answer = (await client.submit()).json
        assert answer["status_url"] == f"https://evil.example/v1/requests/{answer['request_id']}/status"
        assert (await client.status(answer["request_id"])).status == 200


async def test_an_error_may_carry_a_good_id(emulate, fault):
    """Refused by its status, bought by its content."""
    async with emulate(faults=(fault("submit id_with_error status=500 code=500123"),)) as client:
        reply = await client.submit()
        assert (reply.status, reply.json["error_code"]) == (500, 500123)
        assert (await client.status(reply.json["request_id"])).status == 200


async def test_answers_about_a_request_may_be_strange(emulate, clock):
    """Unknown states, another's id, missing outputs."""
    async with emulate() as client:
        request_id = await client.bought()
        clock.pass_by(1)
        client.emulator.script(
            "status", InjectedFault(on="status", kind="state"), InjectedFault(on="status", kind="other")
        )
        assert (await client.status(request_id)).json["status"] == "warming_up"
        assert (await client.status(request_id)).json["request_id"] != request_id
        client.emulator.set_faults(
            InjectedFault(on="result", kind="no_output", times=1),
            InjectedFault(on="result", kind="state", text="odd", times=1),
        )
        empty = (await client.result(request_id)).json
        assert empty["status"] == "succeeded"
        assert "output" not in empty
        odd = (await client.result(request_id)).json
        assert odd["status"] == "odd"
        assert "output" not in odd
        assert (await client.result(request_id)).json["output"]


async def test_outputs_are_only_lost_once_there_are_some(emulate, clock, fault):
    """A rule for the end does not spend itself on looks before it."""
    async with emulate(faults=(fault("result no_output times=1"),)) as client:
        request_id = await client.bought()
        assert (await client.result(request_id)).json["status"] == "in_progress"
        clock.pass_by(1)
        assert "output" not in (await client.result(request_id)).json


async def test_a_request_may_be_forgotten_for_good(emulate, tmp_path, fault):
    """404 and 404001 from then on, after a restart too; its files stay."""
    async with emulate(state=tmp_path, seconds=0, faults=(fault("status forget times=1"),)) as client:
        request_id = await client.bought(width=64, height=64)
        for reply in [await client.status(request_id), await client.result(request_id)]:
            assert (reply.status, reply.json["error_code"]) == (404, 404001)
        assert (await client.file(request_id)).status == 200
    async with emulate(state=tmp_path) as client:
        assert (await client.status(request_id)).status == 404


async def test_a_request_may_fail(emulate, clock, fault):
    """Only at its end, with a reason, and not charged."""
    async with emulate(faults=(fault("job fail message='out of memory' match=doomed"),)) as client:
        doomed, fine = await client.bought("doomed fox"), await client.bought("happy fox")
        assert (await client.status(doomed)).json["status"] == "in_progress"
        clock.pass_by(1)
        result = (await client.result(doomed, "?include_cost=true")).json
        assert result["status"] == "failed"
        assert result["error"] == {"code": "model_error", "message": "out of memory"}
        assert "output" not in result
        assert "cost" not in result
        assert (await client.file(doomed)).status == 404
        assert (await client.result(fine)).json["status"] == "succeeded"


@pytest.mark.parametrize(("text", "word"), [("job cancel", "cancelled"), ("job cancel text=canceled", "canceled")])
async def test_a_request_may_be_cancelled_by_the_service(emulate, clock, fault, text, word):
    """In either spelling."""
    async with emulate(faults=(fault(text),)) as client:
        request_id = await client.bought()
        clock.pass_by(1)
        assert (await client.result(request_id)).json["status"] == word
        assert (await client.status(request_id)).json["status"] == word


async def test_a_second_purchase_of_the_same_may_succeed(emulate, clock, fault):
    """``each`` counts by model and input, so the first attempt fails and the next does not."""
    async with emulate(faults=(fault("job fail each=1"),)) as client:
        ids = [await client.bought() for _ in range(2)]
        clock.pass_by(1)
        assert [(await client.status(one)).json["status"] for one in ids] == ["failed", "completed"]


async def spoilt(client, kind):
    """A picture with that fault, and the good one; ``None`` for one that did not arrive whole."""
    request_id = await client.bought(kind, width=200, height=100)
    client.emulator.script("file", None, InjectedFault(on="file", kind=kind))
    good = await client.file(request_id)
    try:
        return good, await client.file(request_id)
    except CUT:
        return good, None


async def test_a_file_may_be_cut_off(emulate):
    """Announced in full, sent in part: the client's HTTP notices."""
    async with emulate(seconds=0) as client:
        assert (await spoilt(client, "truncate"))[1] is None


async def test_a_file_may_end_early_without_a_trace(emulate):
    """The length matches: only the picture's own structure tells."""
    async with emulate(seconds=0) as client:
        good, bad = await spoilt(client, "short")
        assert int(bad.headers["Content-Length"]) == len(bad.body) < len(good.body)
        assert good.body.startswith(bad.body)


async def test_a_file_may_have_one_wrong_bit(emulate):
    """The same length, one bit apart, and the checksum inside finds it."""
    async with emulate(seconds=0) as client:
        good, bad = await spoilt(client, "flip")
        different = int.from_bytes(good.body, "big") ^ int.from_bytes(bad.body, "big")
        assert different.bit_count() == 1
        with pytest.raises((OSError, SyntaxError)):
            Image.open(io.BytesIO(bad.body)).load()


async def test_a_file_may_be_an_error_page(emulate):
    """Under 200 and an image's type."""
    async with emulate(seconds=0) as client:
        _, bad = await spoilt(client, "html")
        assert (bad.status, bad.headers["Content-Type"]) == (200, "image/png")
        assert b"<html>" in bad.body


async def test_a_file_may_have_another_size(emulate):
    """A whole picture, eight pixels too wide."""
    async with emulate(seconds=0) as client:
        _, bad = await spoilt(client, "wrong_size")
        assert Image.open(io.BytesIO(bad.body)).size == (208, 100)


async def test_a_file_may_never_end(emulate, fault):
    """It starts as a picture and goes on until the client hangs up."""
    async with emulate(seconds=0, faults=(fault("file huge"),)) as client:
        request_id = await client.bought(width=64, height=64)
        url = f"{client.emulator.origin}/files/{request_id}/0.png"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert (await response.content.readexactly(8)) == b"\x89PNG\r\n\x1a\n"
            assert len(await response.content.readexactly(3_000_000)) == 3_000_000
            response.close()


async def test_a_file_may_trickle(emulate, fault):
    """Whole in the end, after so many seconds."""
    async with emulate(seconds=0, faults=(fault("file trickle seconds=0.1"),)) as client:
        request_id = await client.bought(width=64, height=64)
        loop = asyncio.get_running_loop()
        start = loop.time()
        Image.open(io.BytesIO((await client.file(request_id)).body)).load()
        assert loop.time() - start >= 0.1


async def test_rules_count(emulate, fault):
    """``after`` lets some pass, ``times`` limits all, ``each`` limits one request's."""
    async with emulate() as client:
        one, two = await client.bought("one"), await client.bought("two")

        async def statuses(*ids):
            return [(await client.status(request_id)).status for request_id in ids]

        client.emulator.set_faults(fault("status status after=1 times=2"))
        assert await statuses(one, two, one, two) == [200, 503, 503, 200]
        client.emulator.set_faults(fault("status status each=1"))
        assert await statuses(one, one, two, two) == [503, 200, 503, 200]
        client.emulator.set_faults()
        assert await statuses(one) == [200]
        assert client.emulator.stats["faults"] == {"status": 4}


async def test_the_first_rule_that_strikes_wins(emulate, fault):
    """Order is precedence."""
    async with emulate(faults=(fault("submit status status=500 p=0"), fault("submit status status=502"))) as client:
        assert (await client.submit()).status == 502


async def test_chance_depends_on_the_seed_and_the_key_not_on_order(emulate, fault):
    """The same prompts suffer the same faults, whichever comes first; another seed, others."""
    prompts = [f"prompt {number}" for number in range(60)]

    async def struck(order, seed):
        async with emulate(seed=seed, faults=(fault("submit status p=0.4"), fault("status reset p=0.5"))) as client:
            return {prompt for prompt in order if (await client.submit(prompt)).status == 503}

    first = await struck(prompts, 1)
    assert 10 < len(first) < 40
    assert await struck(prompts[::-1], 1) == first
    assert await struck(prompts, 2) != first


async def test_chance_for_calls_about_a_request_does_not_depend_on_its_id(emulate, fault):
    """Ids are random; what happens to the request of a prompt is not."""

    async def struck():
        async with emulate(faults=(fault("status status p=0.5"),)) as client:
            ids = [await client.bought(f"prompt {number}") for number in range(30)]
            return ids, [(await client.status(request_id)).status for request_id in ids]

    (one_ids, one), (two_ids, two) = await struck(), await struck()
    assert one == two
    assert set(one) == {200, 503}
    assert not set(one_ids) & set(two_ids)


async def test_a_script_comes_before_the_rules(emulate, fault):
    """In order, ``None`` being a normal answer; then the rules are back."""
    async with emulate(faults=(fault("submit status status=500"),)) as client:
        client.emulator.script("submit", None, fault("submit status status=429"))
        assert [(await client.submit()).status for _ in range(3)] == [200, 429, 500]
        with pytest.raises(ValueError, match="unknown operation"):
            client.emulator.script("nothing", None)
        with pytest.raises(ValueError, match="cannot be scripted"):
            client.emulator.script("result", fault("submit status"))


@pytest.mark.parametrize(("when", "status"), [("before", "in_queue"), ("after", "cancelled")])
async def test_a_cancellation_may_be_lost_or_done_in_silence(emulate, when, status):
    """The answer is lost either way; only the state tells."""
    async with emulate(workers=1) as client:
        await client.bought("first")
        queued = await client.bought("second")
        client.emulator.script("cancel", InjectedFault(on="cancel", kind="reset", when=when))
        with pytest.raises(CUT):
            await client.cancel(queued)
        assert (await client.status(queued)).json["status"] == status
