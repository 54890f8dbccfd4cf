"""Outputs: files that readers accept, and the odd forms that a result may give to their addresses."""

import io
import json
import struct
import wave
import zipfile
from base64 import b64decode
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from runner.emulator import parse_fault
from runner.emulator.other_files import OTHER_FILES, _ogg_checksum

pytestmark = pytest.mark.anyio

SMALL = {"width": 64, "height": 64}


def body(ending):
    return OTHER_FILES[ending][1]


def test_the_sound_can_be_read():
    """A second of a tone that is to be heard."""
    with wave.open(io.BytesIO(body("wav"))) as sound:
        assert (sound.getnchannels(), sound.getframerate(), sound.getnframes()) == (1, 8000, 8000)
        samples = struct.unpack("<8000h", sound.readframes(8000))
    assert max(samples) > 7000


def test_the_scene_can_be_read():
    """Lengths agree, and the accessor says its bounds, which glTF demands of positions."""
    magic, version, length = struct.unpack_from("<4sII", body("glb"))
    assert (magic, version, length) == (b"glTF", 2, len(body("glb")))
    size, kind = struct.unpack_from("<I4s", body("glb"), 12)
    scene = json.loads(body("glb")[20 : 20 + size])
    binary, mark = struct.unpack_from("<I4s", body("glb"), 20 + size)
    assert (kind, mark, size % 4, binary) == (b"JSON", b"BIN\0", 0, scene["buffers"][0]["byteLength"])
    corners = struct.iter_unpack("<3f", body("glb")[28 + size :])
    bounds = scene["accessors"][0]
    sides = list(zip(*corners, strict=True))
    assert (list(map(min, sides)), list(map(max, sides))) == (bounds["min"], bounds["max"])


def test_pages_of_the_ogg_have_good_checksums():
    """Decoders throw away a page whose checksum is wrong."""
    pages = body("ogg").split(b"OggS")[1:]
    assert len(pages) == 3
    for page in pages:
        told = struct.unpack_from("<I", page, 18)[0]
        assert _ogg_checksum(b"OggS" + page[:18] + bytes(4) + page[22:]) == told


def test_other_files_are_what_they_say():
    """An archive that opens, a drawing and a document that parse, an MP3 of whole frames."""
    assert zipfile.ZipFile(io.BytesIO(body("zip"))).testzip() is None
    assert ET.fromstring(body("svg")).tag.endswith("svg")
    assert json.loads(body("json"))["boxes"]
    assert len(body("mp3")) % 417 == 0
    assert body("mp3").count(b"\xff\xfb\x90\xc4") == len(body("mp3")) // 417


async def outputs(emulate, clock, fault, **inputs):
    """The output of one finished request, and the client that can go on."""
    async with emulate(faults=(parse_fault(fault),)) as client:
        request_id = await client.bought(**{**SMALL, **inputs})
        clock.pass_by(1)
        answer = (await client.result(request_id)).json
        return answer["output"], f"{client.emulator.origin}/files/{request_id}"


async def test_inputs_may_come_back(emulate, clock):
    """All of them, or the text that is told."""
    output, files = await outputs(emulate, clock, "result echo")
    assert output == {"echo": {"prompt": "a red fox", **SMALL}, "image": f"{files}/0.png"}
    output, _ = await outputs(emulate, clock, "result echo text=hello")
    assert output["echo"] == "hello"


@pytest.mark.parametrize(
    ("form", "made"),
    [("no_scheme", lambda url: url.removeprefix("http:")), ("space", lambda url: f"{url}?name=a red mug")],
)
async def test_addresses_may_be_odd(emulate, clock, form, made):
    """Without a scheme, or with blanks in them."""
    output, files = await outputs(emulate, clock, f"result address text={form}")
    assert output == {"image": made(f"{files}/0.png")}


@pytest.mark.parametrize("form", ["data", "base64"])
async def test_a_file_may_stand_in_place_of_its_address(emulate, clock, form):
    """The picture itself, with or without a word that says so."""
    output, _ = await outputs(emulate, clock, f"result address text={form}")
    head, _, text = output["image"].rpartition(",")
    assert head == ("data:image/png;base64" if form == "data" else "")
    assert Image.open(io.BytesIO(b64decode(text))).size == (64, 64)


async def test_a_thumbnail_may_be_gone(emulate, clock, fault):
    """An address beside the picture where there is nothing; the picture is there."""
    async with emulate(faults=(fault("result thumbnail"),)) as client:
        request_id = await client.bought(**SMALL)
        clock.pass_by(1)
        output = (await client.result(request_id)).json["output"]
        files = [await client.call("GET", output[name], headers={}) for name in ("image", "thumbnail")]
        assert [file.status for file in files] == [200, 404]


@pytest.mark.parametrize("ending", list(OTHER_FILES))
async def test_any_file_may_be_of_another_kind(emulate, clock, fault, ending):
    """The address ends so, and so are its type and bytes."""
    async with emulate(faults=(fault(f"result ending text={ending}"),)) as client:
        request_id = await client.bought(**SMALL)
        clock.pass_by(1)
        url = (await client.result(request_id)).json["output"]["image"]
        file = await client.call("GET", url, headers={})
        assert (url.rpartition(".")[2], file.headers["Content-Type"].partition(";")[0], file.body) == (
            ending,
            *OTHER_FILES[ending],
        )


async def test_zeros_may_follow_a_file(emulate, clock, fault):
    """As many as asked for, counted in its length."""
    async with emulate(faults=(fault("file padded bytes=100000"),)) as client:
        request_id = await client.bought(**SMALL)
        clock.pass_by(1)
        file = await client.file(request_id)
        assert int(file.headers["Content-Length"]) == len(file.body)
        assert file.body.endswith(b"IEND\xae\x42\x60\x82" + bytes(100_000))


async def test_a_failure_may_be_explained_by_words_alone(emulate, clock, fault):
    """The error is a text and has no code."""
    async with emulate(faults=(fault("job message_only message='NSFW content'"),)) as client:
        request_id = await client.bought()
        clock.pass_by(1)
        result = (await client.result(request_id)).json
        assert (result["status"], result["error"]) == ("failed", "NSFW content")


@pytest.mark.parametrize("text", ["result address text=upside_down", "result ending text=exe"])
def test_a_form_that_is_not_known_is_refused(text):
    """When the rule is made, with the forms that there are."""
    with pytest.raises(ValueError, match="known: "):
        parse_fault(text)
