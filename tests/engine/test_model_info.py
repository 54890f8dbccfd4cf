"""What a model makes, and whether it fits a search, by an entry that may say anything."""

from __future__ import annotations

from typing import Any

import pytest

from runner.engine.model_info import ModelQuery, output_words, outputs_of


@pytest.mark.parametrize(
    ("entry", "kinds"),
    [
        ({"categories": ["text-to-image"]}, ("image",)),
        ({"categories": ["image-to-image", "text-to-image"]}, ("image",)),
        ({"categories": ["image-to-video", "image-to-image"]}, ("video", "image")),
        ({"categories": ["text-to-audio"]}, ("audio",)),
        ({"categories": ["text-to-speech", "text-to-music"]}, ("audio",)),
        ({"categories": ["text-to-3d"]}, ("3d",)),
        ({"categories": ["image-to-text"]}, ("text",)),
        ({"categories": ["Image to Video"]}, ("video",)),
        ({"categories": ["upscaling"]}, ()),
        ({"categories": ["image-to-nothing"]}, ()),
        ({"categories": ["lip-sync"], "model_id": "a/b/text-to-image"}, ()),
        ({"categories": [], "model_id": "a/b/text-to-image"}, ("image",)),
        ({"categories": "text-to-image", "model_id": "a/b"}, ()),
        ({"categories": [5, None, ["text-to-image"]]}, ()),
        ({"model_id": "a/b/text-to-image"}, ("image",)),
        ({"model_id": 5}, ()),
        ({}, ()),
    ],
)
def test_the_ending_of_a_category_tells_what_a_model_makes(entry: dict[str, Any], kinds: tuple[str, ...]) -> None:
    """The categories decide, the id only where there are none; what is not known is not guessed."""
    assert outputs_of(entry) == kinds


def test_kinds_of_output_are_said_in_words() -> None:
    """As in a sentence."""
    assert [output_words(kinds) for kinds in ((), ("image",), ("video", "audio"), ("image", "3d", "text"))] == [
        "",
        "images",
        "videos and audio",
        "images, 3D models and text",
    ]


ENTRY = {
    "model_id": "blackforestlabs/flux-2-klein/4b/text-to-image",
    "display_name": "FLUX.2 [klein] 4B",
    "description": "Quick pictures",
    "categories": ["text-to-image", "image-to-image"],
    "kind": "model",
}


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ({}, True),
        ({"search": "KLEIN"}, True),
        ({"search": "flux2 quick"}, True),
        ({"search": "flux.2 klein"}, True),
        ({"search": "klein wan"}, False),
        ({"search": "seedream"}, False),
        ({"category": "image-to-image"}, True),
        ({"category": "Text-to-Image "}, True),
        ({"category": "image"}, False),
        ({"category": "text-to-video"}, False),
        ({"kind": "model"}, True),
        ({"kind": "workflow"}, False),
        ({"kind": "model", "category": "text-to-video"}, False),
    ],
)
def test_what_does_not_fit_is_not_shown_by_an_api_that_ignores_parameters(query: dict[str, str], fits: bool) -> None:
    """Words anywhere in id, name and description; category and kind as they are named."""
    assert ModelQuery(**query).fits(ENTRY) is fits


def test_an_entry_that_does_not_say_its_category_or_kind_is_left_to_the_api() -> None:
    """It may fit: only what is certain is left out."""
    unsaid = {"model_id": "a/b", "categories": None, "kind": 7}
    assert ModelQuery(category="text-to-video", kind="workflow").fits(unsaid)
