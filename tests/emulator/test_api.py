"""The emulator answers as the contract says."""

import io
import json
import re
import struct

import pytest
from PIL import Image

pytestmark = pytest.mark.anyio

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"


def opened(body):
    picture = Image.open(io.BytesIO(body))
    picture.load()
    return picture


async def test_a_request_goes_from_queue_to_picture(emulate, clock):
    """Submit, ask, collect, download: every answer has its documented shape."""
    async with emulate(workers=1, seconds=2) as client:
        accepted = (await client.submit(width=320, height=192)).json
        request_id = accepted["request_id"]
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,128}", request_id)
        base = f"{client.emulator.base}/requests/{request_id}"
        links = {"status_url": f"{base}/status", "result_url": f"{base}/result"}
        assert accepted == {"request_id": request_id, **links, "cancel_url": f"{base}/cancel"}
        assert (await client.status(request_id)).json == {
            "request_id": request_id,
            "status": "in_progress",
            **links,
        }
        clock.pass_by(2)
        assert (await client.result(request_id)).json == {
            "request_id": request_id,
            "status": "succeeded",
            "output": {"image": f"{client.emulator.origin}/files/{request_id}/0.png"},
            "created_at": "2027-01-15T08:00:00.000Z",
            "finished_at": "2027-01-15T08:00:02.000Z",
            "model_id": KLEIN,
        }
        file = await client.file(request_id)
        assert file.headers["Content-Type"] == "image/png"
        assert opened(file.body).size == (320, 192)
        assert opened(file.body).text == {"request_id": request_id}


@pytest.mark.parametrize(("width", "height"), [(64, 64), (65, 2047), (333, 777), (1024, 1024), (2048, 2048)])
async def test_a_picture_has_exactly_the_size_asked_for(emulate, clock, width, height):
    """From the smallest side to the largest, odd numbers included."""
    async with emulate() as client:
        request_id = await client.bought(width=width, height=height)
        clock.pass_by(1)
        assert opened((await client.file(request_id)).body).size == (width, height)


async def test_the_default_size_is_that_of_the_schema(emulate, clock):
    """Without a size, 1024 by 1024."""
    async with emulate() as client:
        request_id = await client.bought()
        clock.pass_by(1)
        assert opened((await client.file(request_id)).body).size == (1024, 1024)


async def test_two_prompts_never_look_the_same_and_one_always_does(emulate, clock):
    """Pixels depend on the prompt and are the same at every download."""
    async with emulate(workers=9) as client:
        prompts = ["a fox", "a fox.", "a foxx", "ein Fuchs", "une très long prompt " * 40, "狐", "\ud800"]
        ids = [await client.bought(prompt, width=96, height=64) for prompt in prompts]
        clock.pass_by(1)
        bodies = [(await client.file(request_id)).body for request_id in ids]
        assert len({opened(body).tobytes() for body in bodies}) == len(prompts)
        assert (await client.file(ids[0])).body == bodies[0]


async def test_an_unfinished_result_is_the_state(emulate):
    """A caller may poll ``/result`` alone."""
    async with emulate(workers=1) as client:
        await client.bought("first")
        waiting = await client.bought("second")
        answer = await client.result(waiting)
        assert (answer.status, answer.json["status"], answer.json["queue_position"]) == (200, "in_queue", 0)
        assert "output" not in answer.json


async def test_cost_is_told_when_asked_for_and_complete(emulate, clock):
    """Only with ``include_cost=true``, and not before the end."""
    async with emulate() as client:
        request_id = await client.bought()
        assert "cost" not in (await client.result(request_id, "?include_cost=true")).json
        clock.pass_by(1)
        assert "cost" not in (await client.result(request_id)).json
        assert (await client.result(request_id, "?include_cost=true")).json["cost"] == 0.0045


async def test_first_come_first_served_on_so_many_workers(emulate, clock):
    """Positions count who is ahead; a free worker takes the first."""
    async with emulate(workers=2, seconds=10) as client:
        ids = [await client.bought(f"prompt {n}") for n in range(5)]

        async def states():
            answers = [(await client.status(request_id)).json for request_id in ids]
            return [(answer["status"], answer.get("queue_position")) for answer in answers]

        serving, ended = ("in_progress", None), ("completed", None)
        assert await states() == [serving, serving, ("in_queue", 0), ("in_queue", 1), ("in_queue", 2)]
        clock.pass_by(10)
        assert await states() == [ended, ended, serving, serving, ("in_queue", 0)]
        clock.pass_by(20)
        assert await states() == [ended] * 5
        assert (await client.result(ids[4])).json["finished_at"] == "2027-01-15T08:00:30.000Z"


async def test_only_a_queued_request_can_be_cancelled(emulate, clock):
    """The queue closes up; what is served or over stays."""
    async with emulate(workers=1, seconds=5) as client:
        first, second, third = [await client.bought(f"prompt {n}") for n in range(3)]
        served, queued = await client.cancel(first), await client.cancel(second)
        assert (served.status, queued.status) == (202, 202)
        assert served.json == {"request_id": first, "status": "completed", "outcome": "not_cancellable"}
        assert queued.json == {"request_id": second, "status": "completed", "outcome": "cancelled"}
        assert (await client.cancel(second)).json["outcome"] == "not_cancellable"
        assert (await client.status(third)).json["queue_position"] == 0
        clock.pass_by(100)
        assert (await client.result(second)).json["status"] == "cancelled"
        assert (await client.result(third)).json["finished_at"] == "2027-01-15T08:00:10.000Z"
        assert client.emulator.stats["charged_usd"] == 0.009


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer wrong"])
async def test_a_bad_token_is_refused(emulate, header):
    """401 and code 400004 for every call, and nothing is bought."""
    async with emulate(token="right") as client:
        headers = {} if header is None else {"Authorization": header}
        for method, path in [("POST", f"/v1/models/{KLEIN}"), ("GET", "/v1/requests/x/status")]:
            reply = await client.call(method, path, headers=headers)
            assert (reply.status, reply.json["error_code"]) == (401, 400004)
        assert client.emulator.stats["unauthorised"] == 2
        assert client.emulator.stats["accepted"] == 0
        good = await client.call("GET", "/v1/models", headers={"Authorization": "Bearer right"})
        assert good.status == 200


async def test_any_token_will_do_unless_one_is_set(emulate):
    """But there must be one."""
    async with emulate() as client:
        assert (await client.call("GET", "/v1/models")).status == 200
        assert (await client.call("GET", "/v1/models", headers={"Authorization": "Bearer "})).status == 401


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1/models/no/such/model", 404, 400001),
        ("GET", "/v1/models/no/such/model", 404, 400001),
        ("GET", "/v1/requests/unknown/status", 404, 404001),
        ("GET", "/v1/requests/unknown/result", 404, 404001),
        ("POST", "/v1/requests/unknown/cancel", 404, 404001),
        ("GET", "/v1/requests/unknown/cancel", 405, 405000),
        ("DELETE", f"/v1/models/{KLEIN}", 405, 405000),
        ("GET", "/v2/anything", 404, 404000),
        ("GET", "/", 404, 404000),
    ],
)
async def test_errors_have_the_api_form(emulate, method, path, status, code):
    """A status, and a body with ``error_code`` and ``error_message``."""
    async with emulate() as client:
        reply = await client.call(method, path)
        assert (reply.status, reply.json["error_code"]) == (status, code)
        assert reply.json["error_message"]


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "x", "width": 63}, "width"),
        ({"prompt": "x", "width": 2049}, "width"),
        ({"prompt": "x", "height": "512"}, "height"),
        ({"prompt": "x", "height": 512.0}, "height"),
        ({"prompt": "x", "width": True}, "width"),
        ({"prompt": "x", "seed": 1}, "seed"),
    ],
)
async def test_inputs_against_the_schema_are_refused_by_name(emulate, inputs, field):
    """422, and ``detail`` tells the field; unknown inputs count."""
    async with emulate() as client:
        reply = await client.call("POST", f"/v1/models/{KLEIN}", json=inputs)
        assert reply.status == 422
        assert [entry["loc"] for entry in reply.json["detail"]] == [["body", field]]
        assert reply.json["detail"][0]["msg"]
        assert client.emulator.stats["accepted"] == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"prompt": NaN}', b"[" * 100_000])
async def test_a_body_that_is_no_object_is_a_bad_request(emulate, body):
    """400, whatever it is instead."""
    async with emulate() as client:
        reply = await client.call("POST", f"/v1/models/{KLEIN}", data=body)
        assert (reply.status, reply.json["error_code"]) == (400, 400000)


async def test_a_catalogue_entry_tells_price_and_schema(emulate):
    """What a client needs to know before it buys."""
    async with emulate() as client:
        entry = (await client.call("GET", f"/v1/models/{KLEIN}")).json
        assert (entry["model_id"], entry["kind"], entry["categories"]) == (KLEIN, "model", ["text-to-image"])
        assert (entry["base_price_usd"], entry["price_unit"]) == (0.0045, "output")
        size = {"type": "integer", "minimum": 64, "maximum": 2048, "default": 1024}
        assert entry["input_schema"]["required"] == ["prompt"]
        assert entry["input_schema"]["properties"] == {
            "prompt": {"type": "string"},
            "width": size,
            "height": size,
        }
        assert (entry["inputs"], entry["required_inputs"]) == (["prompt", "width", "height"], ["prompt"])
        unpriced = (await client.call("GET", "/v1/models/emulator/unpriced/text-to-image")).json
        assert "base_price_usd" not in unpriced


async def test_the_catalogue_can_be_searched_and_paged(emulate):
    """``total`` counts what matches, ``models`` is the page; schemas come on request."""
    async with emulate() as client:

        async def ids(query):
            listing = (await client.call("GET", f"/v1/models{query}")).json
            return listing["total"], [model["model_id"] for model in listing["models"]]

        total, every = await ids("")
        assert total == len(every) == 16
        assert await ids("?limit=2&offset=1") == (16, every[1:3])
        assert await ids("?limit=500&offset=16") == (16, [])
        assert await ids("?search=KLEIN") == (2, [KLEIN, KLEIN.replace("4b", "9b")])
        videos = ["emulator/clip/text-to-video", "emulator/animate/image-to-video"]
        assert await ids("?search=STILL%20video") == (2, videos), "in the description"
        assert await ids("?category=text-to-video") == (1, ["emulator/clip/text-to-video"])
        assert await ids("?kind=workflow&category=text-to-image") == (1, ["emulator/kit/text-to-image"])
        assert await ids("?kind=video") == (0, [])
        models = (await client.call("GET", "/v1/models?include_schema=true")).json["models"]
        assert all("input_schema" in model for model in models)
        listing = (await client.call("GET", "/v1/models")).json
        assert (listing["limit"], listing["offset"]) == (100, 0)
        assert not any("input_schema" in model for model in listing["models"])
        kinds = {model["kind"] for model in models}
        assert kinds == {"model", "workflow", "inference"}


@pytest.mark.parametrize("query", ["limit=x", "limit=0", "limit=501", "limit=-1", "offset=-1", "offset=x"])
async def test_a_page_of_the_catalogue_has_bounds(emulate, query):
    """One to five hundred models, from a place in the list."""
    async with emulate() as client:
        assert (await client.call("GET", f"/v1/models?{query}")).status == 422


async def test_the_catalogue_names_its_categories(emulate):
    """One of each family, the same names as in the entries."""
    async with emulate() as client:
        categories = (await client.call("GET", "/v1/models/categories")).json["categories"]
        models = (await client.call("GET", "/v1/models?limit=500")).json["models"]
        assert set(categories) == {name for model in models for name in model["categories"]}
        assert {"text-to-image", "image-to-image", "text-to-video", "image-to-video", "text-to-audio"} < {*categories}
        assert {"text-to-3d", "image-to-3d", "image-to-text", "image-to-json"} < {*categories}


async def test_a_schema_may_say_float(emulate):
    """The non-standard type is served as found, and means a number."""
    model = "emulator/studio/text-to-image"
    async with emulate() as client:
        entry = (await client.call("GET", f"/v1/models/{model}")).json
        assert entry["input_schema"]["properties"]["strength"]["type"] == "float"
        assert (await client.submit(model=model, strength=0.5)).status == 200
        assert (await client.submit(model=model, strength=1)).status == 200
        assert (await client.submit(model=model, strength=1.5)).status == 422


async def test_a_contact_sheet_has_several_different_images(emulate, clock):
    """As many as asked for, each billed."""
    async with emulate() as client:
        request_id = await client.bought(model="emulator/contact-sheet/text-to-image", count=3, width=64, height=64)
        clock.pass_by(1)
        result = (await client.result(request_id, "?include_cost=true")).json
        assert result["cost"] == 0.006
        bodies = {(await client.call("GET", url, headers={})).body for url in result["output"]["images"]}
        assert len(bodies) == 3
        assert (await client.file(request_id, "3.png")).status == 404


async def test_links_may_lie_deep(emulate, clock):
    """The nested model puts its link where only a search finds it."""
    async with emulate() as client:
        request_id = await client.bought(model="emulator/nested/text-to-image")
        clock.pass_by(1)
        output = (await client.result(request_id)).json["output"]
        url = output["data"]["items"][0]["url"]
        assert output == {"data": {"items": [{"url": url}]}}
        assert (await client.call("GET", url, headers={})).status == 200


async def test_a_clip_is_a_whole_mp4(emulate, clock):
    """Boxes follow each other to the last byte, samples are where the table says, seconds are billed."""
    async with emulate() as client:
        request_id = await client.bought(model="emulator/clip/text-to-video", duration=3)
        clock.pass_by(1)
        result = (await client.result(request_id, "?include_cost=true")).json
        assert result["cost"] == 0.06
        file = await client.call("GET", result["output"]["video"], headers={})
        assert file.headers["Content-Type"] == "video/mp4"
        kinds, at = [], 0
        while at < len(file.body):
            length, kind = struct.unpack_from(">I4s", file.body, at)
            kinds.append(kind)
            at += length
        assert (kinds, at) == ([b"ftyp", b"moov", b"mdat"], len(file.body))
        table = file.body.index(b"stco")
        (start,) = struct.unpack_from(">I", file.body, table + 12)
        assert b"av01" in file.body
        assert file.body[start] == 0x0A, "each frame of AV1 begins with a sequence header, so that it stands alone"


@pytest.mark.parametrize(
    ("model", "given", "cost"),
    [
        ("clip/text-to-video", {}, 0.04),
        ("clip/text-to-video", {"seconds": 3}, 0.06),
        ("clip/text-to-video", {"seconds": 3, "duration": 1}, 0.02),
        ("animate/image-to-video", {"image_url": "https://example.com/a.png"}, 0.25),
        ("animate/image-to-video", {"image_url": "https://example.com/a.png", "duration": "10"}, 0.5),
    ],
)
async def test_videos_are_billed_by_their_duration(emulate, clock, model, given, cost):
    """A number, a text, the model's own; and the name that manifests of earlier versions have."""
    async with emulate() as client:
        request_id = await client.bought(model=f"emulator/{model}", **given)
        clock.pass_by(1)
        assert (await client.result(request_id, "?include_cost=true")).json["cost"] == cost


async def test_inputs_that_are_required_or_a_choice_are_checked(emulate):
    """As the schema says."""
    model = "emulator/animate/image-to-video"
    async with emulate() as client:
        assert (await client.submit(model=model)).status == 422
        assert (await client.submit(model=model, image_url="https://example.com/a.png", duration="7")).status == 422


async def test_files_need_no_token_and_say_when_one_came(emulate, clock):
    """Storage is public; a client that sends its token there is found out."""
    async with emulate() as client:
        request_id = await client.bought(width=64, height=64)
        assert (await client.file(request_id)).status == 404
        clock.pass_by(1)
        assert (await client.file(request_id)).status == 200
        assert client.emulator.stats["authorization_on_files"] == 0
        await client.call("GET", f"/files/{request_id}/0.png")
        assert client.emulator.stats["authorization_on_files"] == 1
        for name in ("1.png", "x.png", "-1.png", ""):
            assert (await client.file(request_id, name)).status == 404


async def test_everything_is_counted(emulate, clock):
    """A test can say: submitted once. The same figures come over HTTP, without a token."""
    async with emulate(workers=1) as client:
        first = await client.bought("twice", width=64, height=64)
        await client.bought("twice", height=64, width=64)
        await client.bought("once")
        await client.submit("wrong", width=1)
        await client.status(first)
        await client.result(first)
        await client.cancel(first)
        await client.call("GET", "/v1/models")
        await client.call("GET", f"/v1/models/{KLEIN}")
        clock.pass_by(1)
        await client.file(first)
        stats = client.emulator.stats
        assert (stats["submissions"], stats["accepted"], stats["peak_in_flight"]) == (4, 3, 3)
        assert list(stats["duplicates"].values()) == [2]
        ones = dict.fromkeys(("status", "result", "cancel", "model", "models", "file"), 1)
        assert stats["calls"] == {"submit": 4, **ones, "balance": 0}
        assert (stats["peak_calls"], stats["charged_usd"], stats["faults"]) == (1, 0.009, {})
        assert (await client.call("GET", "/_emulator/stats", headers={})).json == json.loads(json.dumps(stats))
        listed = (await client.call("GET", "/_emulator/requests", headers={})).json
        assert listed == client.emulator.requests
        assert listed[0] == {
            "request_id": first,
            "model_id": KLEIN,
            "input": {"prompt": "twice", "width": 64, "height": 64},
            "state": "completed",
            "created": clock.time - 1,
            "seconds": 0.5,
            "finished": clock.time - 0.5,
            "cost": 0.0045,
        }
