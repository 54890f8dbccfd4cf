"""Copies of pictures: size, colour, transparency, bytes; and nothing of the original's own metadata."""

from __future__ import annotations

import re
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin
from support.examples import examples

from runner.core.copies import FORMATS, QUALITY, CopyRecipe
from runner.files.copies import CopyBytes, CopyImpossible, make_copies
from runner.files.copy_labels import xmp_of

MANY = 89_000_000


def recipe(form: str = "png", **more: Any) -> CopyRecipe:
    quality = more.pop("quality", QUALITY.get(form))
    return CopyRecipe(file=f"a.{form}", format=form, quality=quality, **more)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    body = BytesIO()
    image.save(body, kind, **options)
    return body.getvalue()


def copy_of(data: bytes, wanted: CopyRecipe, *, max_pixels: int = MANY) -> CopyBytes | CopyImpossible:
    (made,) = make_copies(data, [wanted], prompt="a mug", model="a/b", max_pixels=max_pixels)
    return made


def made_of(data: bytes, wanted: CopyRecipe) -> Image.Image:
    made = copy_of(data, wanted)
    assert isinstance(made, CopyBytes), made
    image = Image.open(BytesIO(made.data))
    image.load()
    assert image.size == (made.width, made.height)
    return image


WIDE = saved(Image.new("RGB", (120, 60), "#c80000"))


@pytest.mark.parametrize(
    ("mode", "fit", "size"),
    [
        ("contain", (60, 60), (60, 30)),
        ("contain", (400, 400), (120, 60)),
        ("cover", (30, 60), (30, 60)),
        ("cover", (240, 240), (240, 240)),
        ("pad", (60, 60), (60, 60)),
        ("pad", (200, 100), (200, 100)),
        ("contain", (1, 1), (1, 1)),
    ],
)
@pytest.mark.parametrize("form", FORMATS)
def test_a_copy_has_the_size_that_was_asked_for(form: str, mode: str, fit: tuple[int, int], size: tuple[int, int]):
    """``contain`` never enlarges and keeps the shape; ``cover`` and ``pad`` are exactly the size."""
    image = made_of(WIDE, recipe(form, fit=fit, mode=mode))
    assert (image.size, image.format) == (size, FORMATS[form].pillow)


def test_padding_has_the_background_and_the_picture_is_in_the_middle():
    """A shop's white square: bars above and below, the picture untouched between them."""
    image = made_of(WIDE, recipe(fit=(120, 120), mode="pad", background="#00ff00"))
    assert [image.getpixel((60, y)) for y in (0, 29, 30, 89, 90)] == [(0, 255, 0)] * 2 + [(200, 0, 0)] * 2 + [
        (0, 255, 0)
    ]


def test_cover_cuts_the_edges_and_keeps_the_middle():
    """What is cut is the same on both sides."""
    striped = Image.new("RGB", (90, 30), "#ff0000")
    ImageDraw.Draw(striped).rectangle((30, 0, 59, 29), "#0000ff")
    image = made_of(saved(striped), recipe(fit=(30, 30), mode="cover"))
    assert {image.getpixel((x, 15)) for x in range(2, 28)} == {(0, 0, 255)}


def test_transparency_lies_over_the_background_in_a_jpeg_and_stays_elsewhere():
    """A JPEG has no transparency; half of white over green is in between."""
    clear = saved(Image.new("RGBA", (20, 20), (255, 255, 255, 128)))
    jpeg = made_of(clear, recipe("jpeg", background="#00ff00"))
    assert jpeg.mode == "RGB"
    assert all(abs(a - b) <= 3 for a, b in zip(jpeg.getpixel((10, 10)), (128, 255, 128), strict=True))
    for form in ("png", "webp", "avif"):
        assert made_of(clear, recipe(form)).mode == "RGBA"


def test_a_picture_is_turned_upright():
    """A camera's orientation is applied, and not written a second time."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = made_of(saved(Image.new("RGB", (40, 20)), "JPEG", exif=exif), recipe("jpeg"))
    assert (image.size, image.getexif()) == ((20, 40), {})


def wide_gamut() -> bytes:
    """sRGB with red and green primaries exchanged, so that a wrong reading is seen at once."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(int.from_bytes(data[128:132]))}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_profile_is_honoured_and_colours_become_srgb(mode: str):
    """A red by a profile with exchanged primaries is green in sRGB; the copy needs no profile."""
    data = saved(Image.new("RGB", (8, 8), "#ff0000").convert(mode), icc_profile=wide_gamut())
    image = made_of(data, recipe("png"))
    assert image.getpixel((4, 4))[:3] == (0, 255, 0)
    assert image.mode == mode
    assert "icc_profile" not in image.info


@pytest.mark.parametrize("form", FORMATS)
def test_without_srgb_the_profile_stays(form: str):
    """``srgb: false`` leaves the numbers, and says by the profile what they mean."""
    profile = wide_gamut()
    image = made_of(saved(Image.new("RGB", (8, 8), "#ff0000"), icc_profile=profile), recipe(form, srgb=False))
    assert image.info["icc_profile"] == profile
    assert image.convert("RGB").getpixel((4, 4))[0] > 240


def test_a_profile_for_other_pixels_or_a_damaged_one_is_left_out():
    """A grey profile in a coloured picture says nothing about it: the picture is taken as sRGB."""
    for profile in (b"not a profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()):
        data = saved(Image.new("RGB", (8, 8), "#ff0000"), icc_profile=profile)
        assert made_of(data, recipe("png")).getpixel((4, 4)) == (255, 0, 0)
        assert "icc_profile" not in made_of(data, recipe("png", srgb=False)).info


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16"])
def test_pictures_of_other_modes_keep_what_they_show(mode: str):
    """Grey, palette, print colours and 16 bits: a light grey stays a light grey."""
    grey = Image.new("L", (8, 8), 255 if mode == "1" else 200)
    image = Image.new("I;16", (8, 8), 200 * 257) if mode == "I;16" else grey.convert("RGB").convert(mode)
    data = saved(image, "TIFF" if mode == "CMYK" else "PNG")
    for form in FORMATS:
        for srgb in (True, False):
            shown = made_of(data, recipe(form, srgb=srgb, quality=95 if form != "png" else None)).convert("RGB")
            assert abs(shown.getpixel((4, 4))[1] - grey.getpixel((4, 4))) <= 4, (form, srgb)


def test_the_quality_is_the_best_that_fits():
    """A copy under ``max_bytes`` is not much smaller than it has to be."""
    noise = saved(Image.effect_noise((200, 200), 80).convert("RGB"))
    whole = copy_of(noise, recipe("jpeg", quality=90))
    assert isinstance(whole, CopyBytes)
    most = len(whole.data) * 2 // 3
    made = copy_of(noise, recipe("jpeg", quality=90, max_bytes=most))
    assert isinstance(made, CopyBytes)
    assert most * 0.9 <= len(made.data) <= most
    assert copy_of(noise, recipe("jpeg", quality=90, max_bytes=10**6)) == whole


@pytest.mark.parametrize("form", FORMATS)
def test_a_copy_that_cannot_be_small_enough_is_told(form: str):
    """Nothing is made that breaks the promise of ``max_bytes``."""
    noise = saved(Image.effect_noise((200, 200), 80).convert("RGB"))
    made = copy_of(noise, recipe(form, max_bytes=500))
    assert isinstance(made, CopyImpossible)
    assert "`max_bytes`" in str(made)


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_of_the_originals_metadata_gets_into_a_copy(form: str):
    """Services write prompts and workflows into their pictures; a shop does not publish them."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("workflow", "SECRET")
    texts.add_itxt("XML:com.adobe.xmp", "<x>SECRET</x>")
    exif = Image.Exif()
    exif[0x010E] = "SECRET"
    image = Image.new("RGB", (8, 8))
    for data in (saved(image, pnginfo=texts, exif=exif), saved(image, "JPEG", comment="SECRET", exif=exif)):
        made = copy_of(data, recipe(form))
        assert isinstance(made, CopyBytes)
        assert b"SECRET" not in made.data


def test_too_many_pixels_are_not_decoded():
    """A small file of very many pixels is refused by its header."""
    made = copy_of(WIDE, recipe(), max_pixels=100)
    assert "120" in str(made)
    assert isinstance(made, CopyImpossible)


def test_bytes_that_are_no_picture_fail_each_copy_with_the_reason():
    """Also where the header is right and the rest is cut: every copy gets its reason, none is made."""
    noise = saved(Image.effect_noise((200, 200), 80))
    for data in (b"", b"\x89PNG\r\n\x1a\n", noise[: len(noise) // 2]):
        found = list(make_copies(data, [recipe("jpeg"), recipe("png")], prompt="", model="", max_pixels=MANY))
        assert [type(one) for one in found] == [CopyImpossible] * 2


EXIFTOOL = "exiftool"


def read_back(path: Path) -> dict[str, str]:
    printed = subprocess.run([EXIFTOOL, "-s", "-G1", "-charset", "utf8", path], capture_output=True, check=True)
    lines = [line.partition(" : ") for line in printed.stdout.decode().splitlines()]
    return {name.split()[-1]: value for name, _, value in lines if name.startswith(("[XMP", "[IPTC"))}


@pytest.mark.parametrize("form", FORMATS)
def test_an_independent_reader_finds_the_label(form: str, tmp_path: Path, exiftool: None):
    """exiftool reads from each format what marketplaces ask for, with any characters in the texts."""
    wanted = recipe(form, label=True, title="Tee & Söhne <“1”>", copyright="© 2026 井", prompt=True, model=True)
    data = saved(Image.new("RGB", (8, 8)))
    (made,) = make_copies(data, [wanted], prompt="a 'mug' </rdf:li> ]]> & \x00", model="a/b", max_pixels=MANY)
    assert isinstance(made, CopyBytes)
    path = tmp_path / f"a.{FORMATS[form].extension}"
    path.write_bytes(made.data)
    found = read_back(path)
    assert found["DigitalSourceType"] == ("http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia")
    assert (found["Title"], found["Rights"]) == ("Tee & Söhne <“1”>", "© 2026 井")
    assert (found["CreatorTool"], found["AISystemUsed"]) == ("runcomfy-runner", "a/b")
    assert found["AIPromptInformation"] == "a 'mug' </rdf:li> ]]> & \ufffd"
    if form == "jpeg":
        assert (found["ObjectName"], found["CopyrightNotice"]) == ("Tee & Söhne <“1”>", "© 2026 井")


@pytest.mark.parametrize("form", FORMATS)
def test_without_a_label_nothing_is_written(form: str, tmp_path: Path, exiftool: None):
    """A copy says only what was asked for."""
    made = copy_of(WIDE, recipe(form))
    assert isinstance(made, CopyBytes)
    path = tmp_path / f"a.{FORMATS[form].extension}"
    path.write_bytes(made.data)
    assert read_back(path) == {}


@settings(max_examples=examples(2000))
@given(st.text(), st.text(), st.text())
def test_any_texts_give_xml_that_says_them(title: str, prompt: str, model: str):
    """Whatever a feed holds: what XML can hold is read back as it was, and nothing breaks out of its place."""
    wanted = recipe("png", label=True, title=title, prompt=True, model=True)
    packet = xmp_of(wanted, prompt=prompt, model=model).decode()
    root = ElementTree.fromstring(packet.partition("?>")[2].rpartition("<?")[0])
    texts = [element.text for element in root.iter() if element.text]
    allowed = [
        re.sub("[^\\t\\n\\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
        for text in (title, prompt, model)
    ]
    read = [text.replace("\r\n", "\n").replace("\r", "\n") for text in allowed if text]
    assert texts == ["runcomfy-runner", texts[1], *read]


def test_long_texts_are_cut_so_that_a_jpeg_can_hold_them():
    """A prompt of any length and of any characters does not keep its picture from being published."""
    wanted = recipe("jpeg", label=True, title="&" * 10**5, copyright="井" * 100, prompt=True)
    (made,) = make_copies(WIDE, [wanted], prompt="&" * 10**6, model="", max_pixels=MANY)
    assert isinstance(made, CopyBytes), made


def test_the_path_of_a_further_output_has_its_number():
    """A suffix, or the number where the template prints it."""
    plain = CopyRecipe(file="web/a.b.jpg", format="jpeg")
    numbered = CopyRecipe(file="web/1/a-1.jpg", numbered_at=(4, 8), format="jpeg")
    assert [plain.path(1), plain.path(12)] == ["web/a.b.jpg", "web/a.b-12.jpg"]
    assert [numbered.path(1), numbered.path(12)] == ["web/1/a-1.jpg", "web/12/a-12.jpg"]


def test_a_recipe_is_known_by_all_that_decides_the_bytes():
    """Another name is the same recipe; any other value is another one."""
    first = recipe("jpeg", fit=(10, 10))
    assert CopyRecipe(file="b.jpg", format="jpeg", quality=85, fit=(10, 10)).digest == first.digest
    others = [
        recipe("jpeg", fit=(10, 10), **{name: value})
        for name, value in {
            "mode": "pad", "background": "#000000", "quality": 84, "max_bytes": 9, "srgb": False, "label": True,
            "title": "t", "copyright": "c", "prompt": True, "model": True,
        }.items()
    ]  # fmt: skip
    assert len({first.digest, recipe("webp", fit=(10, 10)).digest, *(other.digest for other in others)}) == 12
