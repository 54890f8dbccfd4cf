"""The account: a balance that pays for what is accepted, and bodies as long as the vendor's clients send them."""

import asyncio
import hashlib
import io
import json

import aiohttp
import pytest

from runner.emulator import wire

pytestmark = pytest.mark.anyio

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
EDIT = "emulator/edit/image-to-image"


async def balance(client, **extra):
    return await client.call("GET", "/prod/v2/balance", **extra)


async def posted(client, body):
    """Send these very bytes. From a file: aiohttp warns of long ones that are sent otherwise."""
    return await client.call("POST", f"/v1/models/{EDIT}", data=io.BytesIO(body))


async def test_the_balance_is_told_to_whoever_has_a_token(emulate):
    """As a number of dollars, the same in millionths, and the currency; without a token 401."""
    async with emulate(balance=12.5) as client:
        reply = await client.call("GET", f"{client.emulator.balance_base}/balance")
        assert reply.json == {"balance_usd": 12.5, "balance_microdollars": 12_500_000, "currency": "USD"}
        assert (await balance(client, headers={})).status == 401
        assert (await client.call("POST", "/prod/v2/balance")).status == 405
        assert client.emulator.stats["calls"]["balance"] == 2, "the refused one counts, as every call does"


async def test_submissions_beyond_the_balance_are_refused(emulate):
    """402 and 400002; nothing is made of them, and what costs less may still be bought."""
    async with emulate(balance=0.01) as client:
        replies = [await client.submit(f"picture {number}") for number in range(3)]
        assert [reply.status for reply in replies] == [200, 200, 402]
        assert replies[2].json == {"error_code": 400002, "error_message": "no balance left"}
        assert (await balance(client)).json["balance_microdollars"] == 1000
        assert client.emulator.stats["accepted"] == 2
        assert (await client.submit("a caption", "emulator/caption/image-to-text")).status == 200


async def test_without_a_given_balance_it_never_runs_out(emulate):
    """It is told all the same, and what was bought is gone from it."""
    async with emulate() as client:
        full = (await balance(client)).json["balance_usd"]
        await client.bought()
        assert (await balance(client)).json["balance_usd"] == full - 0.0045


async def test_what_is_cancelled_or_fails_is_given_back(emulate, clock, fault):
    """Only what is billed is paid, over a restart too."""
    async with emulate(workers=1, balance=1.0, faults=(fault("job fail match=doomed"),)) as client:
        _, second = await client.bought("first"), await client.bought("second")
        await client.bought("doomed")
        await client.cancel(second)
        assert (await balance(client)).json["balance_usd"] == 1 - 0.0045
        clock.pass_by(10)
        assert client.emulator.stats["charged_usd"] == 0.0045
        assert client.emulator.stats["balance_usd"] == 1 - 0.0045


async def test_the_bill_outlives_the_process(emulate, tmp_path):
    """What an earlier process accepted and did not call off is paid."""
    async with emulate(state=tmp_path, workers=1, balance=1.0) as client:
        await client.bought("first")
        await client.cancel(await client.bought("second"))
    async with emulate(state=tmp_path, balance=1.0) as client:
        assert (await balance(client)).json["balance_usd"] == 1 - 0.0045


async def test_inputs_may_hold_whole_pictures(emulate, tmp_path):
    """Megabytes in a `data:` address are taken in, and no more than a note of them is kept."""
    picture = "data:image/png;base64," + "A" * 5_000_000
    async with emulate(state=tmp_path) as client:
        for given in ({"image_url": picture, "images": [picture]}, {"image_url": picture + "B"}):
            reply = await posted(client, json.dumps({"prompt": "x", **given}).encode())
            assert reply.status == 200
        assert client.emulator.stats["duplicates"] == {}
        kept = client.emulator.requests[0]["input"]
        assert kept["image_url"] == kept["images"][0]
        assert kept["image_url"].startswith("data:image/png;base64,AAAA")
        assert hashlib.sha256(picture.encode()).hexdigest() in kept["image_url"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 5000


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_long_is_refused(emulate, monkeypatch, chunked):
    """413 in the API's words; nothing is bought, and the next call goes well."""
    monkeypatch.setattr(wire, "MAX_BODY", 1000)

    async def pieces():
        for _ in range(11):
            yield b"x" * 100

    async with emulate() as client:
        reply = await client.call("POST", f"/v1/models/{KLEIN}", data=pieces() if chunked else b"x" * 1001)
        assert (reply.status, reply.json["error_code"]) == (413, 413000)
        assert client.emulator.stats["accepted"] == 0
        assert await client.bought()


@pytest.mark.slow
async def test_a_body_of_64_mib_is_the_most(emulate):
    """What RunComfy's own clients send fits, to the byte; one more does not."""
    frame = len(json.dumps({"prompt": "x", "image_url": ""}))
    async with emulate() as client:
        for more, status in ((0, 200), (1, 413)):
            body = json.dumps({"prompt": "x", "image_url": "A" * (64 * 2**20 - frame + more)}).encode()
            assert len(body) == 64 * 2**20 + more
            assert (await posted(client, body)).status == status


async def test_only_a_few_long_bodies_are_held_at_once(emulate):
    """Four that do not go on keep the fifth waiting, and short ones pass."""
    held, long = asyncio.Event(), 2 * 2**20

    async def slowly():
        yield b'{"prompt": "'
        arrived.release()
        await held.wait()
        yield b"x" * (long - 14) + b'"}'

    arrived = asyncio.Semaphore(0)

    async with emulate() as client:
        limit = aiohttp.ClientTimeout(30)
        url, headers = f"/v1/models/{KLEIN}", {"Authorization": "Bearer token", "Content-Length": str(long)}
        calls = [
            asyncio.create_task(client.call("POST", url, data=slowly(), headers=headers, timeout=limit))
            for _ in range(5)
        ]
        for _ in calls:
            await arrived.acquire()
        assert (await client.submit("a short one")).status == 200
        assert client.emulator._reading.locked()
        held.set()
        assert [reply.status for reply in await asyncio.gather(*calls)] == [200] * 5
