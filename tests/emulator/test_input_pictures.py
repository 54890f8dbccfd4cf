"""Photos inside submissions: shown in the result, and kept small."""

from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image

from runner.emulator.input_pictures import MOST, SIDE

pytestmark = pytest.mark.anyio

EDIT = "emulator/edit/image-to-image"


def uri(colour: str, kind: str = "png", side: int = 300) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side // 2), colour).save(buffer, kind)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


async def seen(client, clock, **inputs) -> Image.Image:
    """The result of a submission."""
    request_id = await client.bought(model=EDIT, width=96, height=96, **inputs)
    clock.pass_by(1)
    url = (await client.result(request_id)).json["output"]["image"]
    body = (await client.call("GET", url, headers={})).body
    with Image.open(io.BytesIO(body)) as image:
        return image.convert("RGB")


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
async def test_a_photo_is_shown_in_the_corner(emulate, clock, kind):
    """Whatever its format; so one sees that the right one was sent."""
    async with emulate() as client:
        red, green, blue = (await seen(client, clock, image_url=uri("red", kind))).getpixel((90, 90))
    assert red > 200
    assert green < 60 > blue


async def test_several_photos_stand_side_by_side(emulate, clock):
    """The first at the right."""
    async with emulate() as client:
        image = await seen(client, clock, image_url=uri("red"), images=[uri("blue"), "https://a.example.com/b.png"])
    assert image.getpixel((90, 90))[0] > 200
    assert image.getpixel((50, 90))[2] > 200


@pytest.mark.parametrize("text", ["data:image/png;base64,AAAA", "data:image/png;base64,?", "https://a.b/c.png"])
async def test_what_is_no_picture_is_not_shown(emulate, clock, text):
    """And is accepted all the same."""
    async with emulate() as client:
        await seen(client, clock, image_url=text)


async def test_only_small_copies_are_kept_and_they_outlive_the_process(emulate, clock, tmp_path):
    """A journal of whole photos would grow by megabytes a request."""
    async with emulate(state=tmp_path) as client:
        photos = [uri(colour, "jpeg", 2000) for colour in ("red", "lime", "blue", "yellow", "pink", "black")]
        request_id = await client.bought(model=EDIT, width=96, height=96, image_url=photos[0], images=photos[1:])
    (line,) = [line for line in (tmp_path / "requests.jsonl").read_bytes().splitlines() if b"accepted" in line]
    insets = json.loads(line)["insets"]
    assert len(insets) == MOST
    assert sum(map(len, insets)) < 10_000
    for inset in insets:
        with Image.open(io.BytesIO(base64.b64decode(inset))) as image:
            assert max(image.size) <= SIDE
    clock.pass_by(1)
    async with emulate(state=tmp_path) as client:
        url = (await client.result(request_id)).json["output"]["image"]
        with Image.open(io.BytesIO((await client.call("GET", url, headers={})).body)) as image:
            assert image.convert("RGB").getpixel((90, 90))[0] > 200
