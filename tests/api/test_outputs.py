"""Outputs as answers bring them: addresses in any spelling, files inside the answer, and results without a file."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from runner.api.outputs import absolute, find_inside, find_outputs, is_input, read_data, recorded_address
from runner.core.http import TooLarge

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
BASE = "https://model-api.runcomfy.net/v1/"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://a/1.png", "https://a/1.png"),
        (" https://a/1.png\n", "https://a/1.png"),
        ("https://a/1 final.png?sig=a+b", "https://a/1%20final.png?sig=a+b"),
        ("/files/1.png", "/files/1.png"),
        ("/files/1.png?sig=x", "/files/1.png?sig=x"),
        ("//cdn.example.com/files/1", "//cdn.example.com/files/1"),
    ],
)
def test_addresses_are_found_in_any_spelling(text: str, address: str) -> None:
    """Blanks around one are none of it; one in it is escaped; the API's own need no host."""
    assert find_outputs({"image": text}) == (address,)


@pytest.mark.parametrize(
    ("address", "whole"),
    [
        ("/files/1.png", "https://model-api.runcomfy.net/files/1.png"),
        ("//cdn.example.com/1", "https://cdn.example.com/1"),
        ("HTTPS://a/1", "HTTPS://a/1"),
    ],
)
def test_an_address_without_a_host_is_the_apis(address: str, whole: str) -> None:
    """And one that has its own stays as it is, to the letter."""
    assert absolute(address, BASE) == whole


@pytest.mark.parametrize(
    "output",
    [
        None,
        7,
        "",
        " ",
        {},
        [],
        {"image": None},
        {"images": []},
        {"image": "", "seed": 7},
        {"images": [None, ""], "has_nsfw_concepts": [True]},
        {"image": "/etc/passwd"},
        {"image": "file:///etc/passwd"},
        {"data": "s3://bucket/a.png"},
        {"image": "https:\\\\storage.runcomfy.net\\a.png"},
        {"image": "soon"},
    ],
)
def test_what_should_be_a_file_and_is_none_is_no_text_to_keep(output: Any) -> None:
    """It may follow, or cannot be had: either way nothing else is taken for what was paid."""
    assert find_outputs(output) == ()


@pytest.mark.parametrize(
    "output", ["A red mug", {"text": "A red mug"}, [["A red mug"]], {"text": "A red mug", "x": None}]
)
def test_a_text_alone_is_the_result(output: Any) -> None:
    """To the letter, whatever is in it."""
    (address,) = find_outputs(output)
    inside = read_data(address, 100)
    assert inside is not None
    assert (inside.body, inside.content_type) == (b"A red mug", "text/plain")


def test_text_with_anything_a_uri_would_escape_comes_back() -> None:
    """Percent signs, commas, lines, letters of any script."""
    text = "50% off, über\n100%25 杯子 data:,x"
    (address,) = find_outputs({"text": text})
    inside = read_data(address, 1000)
    assert inside is not None
    assert inside.body.decode() == text


@pytest.mark.parametrize(
    "output", [{"boxes": [[1, 2]], "score": 0.5}, {"text": "a", "seed": 7}, ["a", "b"], {"ok": False}]
)
def test_anything_else_is_the_result_as_json(output: Any) -> None:
    """Nothing of it is lost."""
    (address,) = find_outputs(output)
    inside = read_data(address, 1000)
    assert inside is not None
    assert inside.content_type == "application/json"
    assert json.loads(inside.body) == output


def test_inputs_that_are_sent_back_are_no_outputs_unless_they_are_all_there_is() -> None:
    """A service may repeat what it was given, from an address that nobody can fetch."""
    picture, given = "https://s.runcomfy.net/a.png", "https://shop.example.org/in.png"
    assert find_outputs({"input": {"image_url": given}, "image": picture}) == (picture,)
    assert find_outputs({"Inputs": [given], "images": [picture]}) == (picture,)
    assert find_outputs({"input": {"image_url": given}}) == (given,)
    assert find_outputs({"input": {"image_url": given}, "image": None}) == (given,)
    assert find_outputs({"input": {"image_url": given}, "caption": "a mug"}) == ("data:text/plain;charset=utf-8,a mug",)


def test_words_beside_a_file_are_not_kept() -> None:
    """The file is the result."""
    assert find_outputs({"image": "https://a/1.png", "text": "done", "seed": 42}) == ("https://a/1.png",)


def uri(body: bytes, head: str = "data:image/png;base64,") -> str:
    return head + base64.b64encode(body).decode()


@pytest.mark.parametrize(
    "text",
    [
        uri(PNG),
        uri(PNG, "DATA:image/png;name=a.png;base64,"),
        uri(PNG).rstrip("="),
        uri(PNG).replace("+", "-").replace("/", "_").replace("image_png", "image/png"),
        uri(PNG)[:90] + "\r\n" + uri(PNG)[90:],
        base64.b64encode(PNG).decode(),
    ],
)
def test_a_file_inside_the_answer_is_decoded(text: str) -> None:
    """As a ``data:`` address in any of its spellings, or as bare Base64 of a picture."""
    (address,) = find_outputs({"image": text})
    inside = read_data(address, len(PNG))
    assert inside is not None
    assert inside.body == PNG


def test_a_file_inside_the_answer_is_bounded() -> None:
    """By ``max_file``, before it is decoded."""
    with pytest.raises(TooLarge, match="max_file"):
        read_data(uri(PNG), len(PNG) - 10)


@pytest.mark.parametrize("address", ["data:image/png;base64,not base64!", "data:image/png", "https://a/1"])
def test_what_cannot_be_decoded_is_nothing(address: str) -> None:
    """And no exception."""
    assert read_data(address, 10**6) is None


def test_a_file_inside_the_answer_is_recorded_by_its_place() -> None:
    """The log stays short, and the same answer gives the same file again."""
    found = find_outputs({"images": ["https://a/1.png", uri(PNG)]})
    assert [recorded_address(address, number) for number, address in enumerate(found)] == [
        "https://a/1.png",
        "result:1",
    ]
    assert find_inside(found, "result:1") == found[1]
    for other in ("result:0", "result:2", "result:", "result:-1", "result:1e0"):
        assert find_inside(found, other) is None


def test_an_input_is_known_again() -> None:
    """In any list or mapping of the inputs, and with blanks around it."""
    inputs = {"prompt": "a mug", "images": [{"url": " https://shop.example/a.png"}]}
    assert is_input("https://shop.example/a.png", inputs)
    assert not is_input("https://shop.example/b.png", inputs)


def test_a_document_of_many_levels_is_read() -> None:
    """As deep as an answer may be."""
    deep: Any = "https://a/1.png"
    for _ in range(498):
        deep = [deep]
    assert find_outputs(deep) == ("https://a/1.png",)
