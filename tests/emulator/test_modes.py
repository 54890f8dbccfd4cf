"""Habits that a real service may have, each by its option."""

import io

import pytest
from PIL import Image

from runner.emulator import Options, serve

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("sizes", "asked", "got"),
    [
        ("round16", (100, 1000), (96, 1008)),
        ("round16", (64, 2048), (64, 2048)),
        ("clamp1024", (1500, 700), (1024, 700)),
    ],
)
async def test_sizes_may_be_changed(emulate, clock, sizes, asked, got):
    """Rounded or clamped, the picture is whole but of another size."""
    async with emulate(sizes=sizes) as client:
        request_id = await client.bought(width=asked[0], height=asked[1])
        clock.pass_by(1)
        assert Image.open(io.BytesIO((await client.file(request_id)).body)).size == got


async def test_more_at_once_than_the_service_takes_in_are_refused(emulate, clock):
    """429 beyond `max_in_flight`, waiting requests included; when one has ended there is room again."""
    async with emulate(workers=1, seconds=1.0, max_in_flight=2) as client:
        assert [(await client.submit()).status for _ in range(3)] == [200, 200, 429]
        clock.pass_by(1)
        assert (await client.submit()).status == 200


@pytest.mark.parametrize(("picture", "name"), [("png", "0.png"), ("jpeg", "0.jpg"), ("webp", "0.webp")])
async def test_pictures_come_in_other_forms(emulate, clock, picture, name):
    """The link, the header and the bytes agree."""
    async with emulate(picture=picture) as client:
        request_id = await client.bought(width=128, height=96)
        clock.pass_by(1)
        url = (await client.result(request_id)).json["output"]["image"]
        assert url.endswith(name)
        file = await client.call("GET", url, headers={})
        assert file.headers["Content-Type"] == f"image/{picture}"
        assert Image.open(io.BytesIO(file.body)).format == picture.upper()


async def test_files_may_hide_their_type_and_length(emulate, clock):
    """``application/octet-stream`` in chunks, and still every byte of the picture."""
    async with emulate(octet_stream=True, no_length=True) as client:
        request_id = await client.bought(width=300, height=300)
        clock.pass_by(1)
        file = await client.file(request_id)
        assert file.headers["Content-Type"] == "application/octet-stream"
        assert "Content-Length" not in file.headers
        Image.open(io.BytesIO(file.body)).load()


@pytest.mark.parametrize("status", [400, 404, 409, 425])
async def test_an_unfinished_result_may_be_an_error(emulate, clock, status):
    """A 4xx with a code that is not that of an unknown request; ``/status`` is as ever."""
    async with emulate(unfinished_status=status) as client:
        request_id = await client.bought()
        reply = await client.result(request_id)
        assert (reply.status, reply.json["error_code"]) == (status, status * 1000 + 9)
        assert (await client.status(request_id)).json["status"] == "in_progress"
        clock.pass_by(1)
        assert (await client.result(request_id)).json["status"] == "succeeded"


async def test_a_result_may_keep_the_position_to_itself(emulate):
    """Then only ``/status`` tells it."""
    async with emulate(workers=1, queue_position=False) as client:
        await client.bought("first")
        waiting = await client.bought("second")
        assert "queue_position" not in (await client.result(waiting)).json
        assert (await client.status(waiting)).json["queue_position"] == 0


@pytest.mark.parametrize(("cost", "told", "charged"), [("missing", None, 0.0045), ("megapixels", 0.0135, 0.0135)])
async def test_costs_may_be_missing_or_higher(emulate, clock, cost, told, charged):
    """The bill is the same whether it is told or not; begun megapixels count."""
    async with emulate(cost=cost) as client:
        request_id = await client.bought(width=2000, height=1001)
        clock.pass_by(1)
        assert (await client.result(request_id, "?include_cost=true")).json.get("cost") == told
        assert client.emulator.stats["charged_usd"] == charged


@pytest.mark.parametrize(("charge_failed", "cost"), [(False, None), (True, 0.0045)])
async def test_a_failure_may_be_charged(emulate, clock, fault, charge_failed, cost):
    """It then costs what a picture costs."""
    async with emulate(charge_failed=charge_failed, faults=(fault("job fail"),)) as client:
        request_id = await client.bought()
        clock.pass_by(1)
        assert (await client.result(request_id, "?include_cost=true")).json.get("cost") == cost
        assert client.emulator.stats["charged_usd"] == (cost or 0)


async def test_a_new_request_may_be_unknown_for_a_while(emulate, clock):
    """404 and 404001 at first, from every call that names it."""
    async with emulate(not_found_seconds=3) as client:
        request_id = await client.bought()
        for reply in [
            await client.status(request_id),
            await client.result(request_id),
            await client.cancel(request_id),
        ]:
            assert (reply.status, reply.json["error_code"]) == (404, 404001)
        clock.pass_by(3)
        assert (await client.status(request_id)).json["status"] == "completed"


async def test_the_end_may_have_another_name(emulate, clock):
    """One in each call, as the documentation prints them, or others."""
    for words in ({}, {"done_word": "succeeded", "result_word": "completed"}):
        async with emulate(**words) as client:
            request_id = await client.bought()
            clock.pass_by(1)
            told = [(await ask(request_id)).json["status"] for ask in (client.status, client.result)]
            assert told == list(words.values() or ("completed", "succeeded"))


async def test_service_times_may_vary_around_their_mean(emulate, clock):
    """Lognormal, the same for the same seed, and right on average."""

    async def times(seed):
        async with emulate(workers=400, seconds=2, spread=0.5, seed=seed) as client:
            for number in range(400):
                await client.bought(f"prompt {number}")
            clock.pass_by(1000)
            return [row["finished"] - row["created"] for row in client.emulator.requests]

    first = await times(1)
    assert len(set(first)) == 400
    assert 1.8 < sum(first) / 400 < 2.2
    assert await times(1) == pytest.approx(first, abs=1e-5)
    assert await times(2) != pytest.approx(first, abs=1e-5)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "example.org", "::"])
async def test_only_this_machine_is_served(host):
    """Any other host is refused before anything listens."""
    with pytest.raises(ValueError, match="this machine only"):
        async with serve(host=host):
            pass


async def test_localhost_will_do():
    """By name as well as by number."""
    async with serve(host="localhost") as emulator:
        assert emulator.base == f"{emulator.origin}/v1"


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"seconds": -1}, {"spread": -1}, {"not_found_seconds": -1}])
def test_impossible_options_are_refused(wrong):
    """At once, not at the first request."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)
