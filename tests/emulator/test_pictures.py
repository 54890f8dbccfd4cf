"""Pictures are legible at every size, whatever the prompt."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageStat
from support.examples import examples

from runner.emulator.pictures import Drawing, draw, picture, stamped
from runner.emulator.text_layout import LEADING, fit, font, plain

PROMPTS = ["", " ", "fox", "word " * 900, "x" * 5000, "Grüße aus Köln — „schön“", "狐", "\ud800", "a\nb\tc"]


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("size", [(64, 64), (64, 2048), (2048, 64), (300, 200)])
def test_any_prompt_can_be_drawn_at_any_size(prompt, size):
    """Nothing is too long, too narrow or too strange."""
    drawing = Drawing(prompt=prompt, width=size[0], height=size[1], label="small print")
    assert draw(drawing).size == size


@settings(max_examples=examples(60), deadline=None)
@given(st.text(max_size=300), st.integers(50, 1000), st.integers(40, 1000))
def test_text_stays_inside_its_box(text, width, height):
    """No line is wider, and all lines together are no higher, than the box."""
    block = fit(plain(text), width, height, max(10, min(width, height) // 9))
    assert block.height <= height + block.size * LEADING
    assert all(font(block.size).getlength(line) <= width + block.size for line in block.lines)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.text("abcdefg", min_size=1, max_size=8), min_size=1, max_size=30))
def test_no_word_is_lost(words):
    """What fits is shown completely and in order."""
    assert " ".join(fit(" ".join(words), 900, 900, 100).lines).split() == words


def test_short_prompts_are_written_large():
    """As large as allowed, on one line."""
    assert fit("a fox", 900, 900, 113) == (113, ("a fox",))


@pytest.mark.parametrize("prompt", [f"prompt {number}" for number in range(30)])
def test_white_letters_stand_out(prompt):
    """Every background is dark enough on the whole and in its brightest places."""
    image = draw(Drawing(prompt=" ", width=128, height=128, number=int(prompt.split()[1])))
    luminance = image.convert("L")
    assert ImageStat.Stat(luminance).mean[0] < 140
    assert luminance.getextrema()[1] < 190


def test_a_stamp_changes_the_text_and_not_the_picture():
    """The file stays a valid PNG with the same pixels."""
    png = picture(Drawing(prompt="fox", width=80, height=60), "png")
    marked = Image.open(io.BytesIO(stamped(png, "request-1")))
    assert marked.text == {"request_id": "request-1"}
    assert marked.tobytes() == Image.open(io.BytesIO(png)).tobytes()
