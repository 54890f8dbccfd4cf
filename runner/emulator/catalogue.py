"""Models of the emulator: prices, input schemas, and outputs.

The first model is the real model that this project is made for, the second is its larger variant. The ``emulator/``
models exist to test the behaviour of other models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]

SITE = "https://www.runcomfy.com"
KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"
KLEIN_9B = "blackforestlabs/flux-2-klein/9b/text-to-image"


UNASKED_SECONDS = 5
"""Duration of a video if neither the request nor the schema gives one."""

KINDS_OF_FILES: dict[str, tuple[str, ...]] = {
    "audio": ("wav",),
    "mesh": ("glb",),
    "mixed": ("png", "srt", "glb"),
    "text": (),
    "json": (),
}
"""Extensions of each file, for models whose files are not all pictures or all videos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Catalogue entry."""

    model_id: str
    display_name: str
    properties: dict[str, Json]
    """Inputs as in JSON Schema; no other inputs are allowed."""
    price: float | None
    """USD for one ``unit``; ``None``: the catalogue gives no price."""
    description: str = ""
    kind: Literal["model", "workflow", "inference"] = "model"
    """Kind of service; the kind of result is in ``categories``."""
    required: tuple[str, ...] = ("prompt",)
    unit: Literal["output", "second"] = "output"
    shape: Literal["image", "images", "nested", "video", "audio", "mesh", "mixed", "text", "json", "inline"] = "image"
    """Structure of the links in ``output``, or the kind of output without links."""
    note: str = "Base price; size and other inputs can raise it."

    @property
    def categories(self) -> list[str]:
        return [self.model_id.rpartition("/")[2]]

    @property
    def shows_input(self) -> bool:
        """True if the result shows the pictures of the input."""
        return self.categories == ["image-to-image"]

    @property
    def schema(self) -> Json:
        return {
            "type": "object",
            "required": list(self.required),
            "properties": self.properties,
            "additionalProperties": False,
        }

    def entry(self, *, with_schema: bool) -> Json:
        """Return the entry as the catalogue shows it."""
        price = {} if self.price is None else {"base_price_usd": self.price, "price_unit": self.unit}
        return {
            "model_id": self.model_id,
            "display_name": self.display_name,
            "description": self.description,
            "model_url": "" if self.model_id.startswith("emulator/") else f"{SITE}/models/{self.model_id}",
            "categories": self.categories,
            "kind": self.kind,
            **price,
            "pricing_note": self.note,
            "inputs": list(self.properties),
            "required_inputs": list(self.required),
            **({"input_schema": self.schema} if with_schema else {}),
        }

    def value(self, given: Json, name: str) -> Any:
        """Return the input ``name``, or its default."""
        return given.get(name, self.properties.get(name, {}).get("default"))

    def count(self, given: Json) -> int:
        """Count the files that a request with these inputs gives."""
        if self.shape in KINDS_OF_FILES:
            return len(KINDS_OF_FILES[self.shape])
        return int(self.value(given, "count") or 1)

    def seconds(self, given: Json) -> int:
        """Return the duration in seconds of the video of a request with these inputs."""
        asked = given.get("duration", given.get("seconds"))
        return int(asked or self.value(given, "duration") or UNASKED_SECONDS)

    def charge(self, given: Json, *, by_megapixel: bool) -> float | None:
        """Return the cost in USD of a request with these inputs; ``None``: the model has no price."""
        if self.price is None:
            return None
        units = self.seconds(given) if self.unit == "second" else max(self.count(given), 1)
        pixels = self.value(given, "width") * self.value(given, "height")
        return round(self.price * units * (math.ceil(pixels / 1e6) if by_megapixel else 1), 6)


def problems(model: Model, given: Json) -> list[Json]:
    """Return the problems of the inputs, as entries of ``detail``; empty if the inputs match the schema."""
    found = [_problem(name, "field required") for name in model.required if name not in given]
    for name, value in given.items():
        rule = model.properties.get(name)
        complaint = "unknown input" if rule is None else _complaint(rule, value)
        if complaint:
            found.append(_problem(name, complaint))
    return found


def _problem(name: str, message: str) -> Json:
    return {"loc": ["body", name], "msg": message}


_PYTHON: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "float": (int, float),
    "boolean": (bool,),
    "array": (list,),
}


def _complaint(rule: Json, value: object) -> str:
    # ``type()`` instead of ``isinstance``: a bool is not accepted as an integer.
    if type(value) not in _PYTHON[rule["type"]]:
        return f"must be of type {rule['type']}"
    if value not in rule.get("enum", (value,)):
        return f"must be one of {', '.join(rule['enum'])}"
    if isinstance(value, int | float):
        if value < rule.get("minimum", value):
            return f"must be at least {rule['minimum']}"
        if value > rule.get("maximum", value):
            return f"must be at most {rule['maximum']}"
    return ""


def _number(kind: str, least: float, most: float, default: float) -> Json:
    return {"type": kind, "minimum": least, "maximum": most, "default": default}


_PICTURE: Json = {"type": "string", "format": "image_uri"}


def _inputs(side: int = 1024, *, least: int = 64, most: int = 2048, **more: Json) -> dict[str, Json]:
    size = _number("integer", least, most, side)
    return {"prompt": {"type": "string"}, "width": size, "height": size, **more}


_MODELS = (
    Model(
        model_id=KLEIN,
        display_name="FLUX.2 [klein] 4B",
        properties=_inputs(),
        price=0.0045,
    ),
    Model(
        model_id=KLEIN_9B,
        display_name="FLUX.2 [klein] 9B",
        properties=_inputs(least=512, most=1536, steps=_number("integer", 1, 100, 25)),
        price=None,
        note="Its real price is not known here, and none is made up.",
    ),
    Model(
        model_id="emulator/studio/text-to-image",
        display_name="Studio (a schema that says float)",
        properties=_inputs(strength=_number("float", 0, 1, 0.5)),
        price=0.01,
    ),
    Model(
        model_id="emulator/contact-sheet/text-to-image",
        display_name="Contact sheet (several images)",
        properties=_inputs(512, count=_number("integer", 1, 8, 4)),
        price=0.002,
        shape="images",
    ),
    Model(
        model_id="emulator/nested/text-to-image",
        display_name="Nested (links deep inside the output)",
        properties=_inputs(512),
        price=0.003,
        shape="nested",
    ),
    Model(
        model_id="emulator/clip/text-to-video",
        display_name="Clip (a short video)",
        description="A still video, billed by the second. It was billed by `seconds` before, which still works.",
        properties=_inputs(
            256,
            duration=_number("integer", 1, 10, 2),
            seconds={"type": "integer", "minimum": 1, "maximum": 10, "deprecated": True},
        ),
        price=0.02,
        unit="second",
        shape="video",
    ),
    Model(
        model_id="emulator/animate/image-to-video",
        display_name="Animate (a duration that is a text, without a default)",
        description="A still video from a picture, billed by the second.",
        properties=_inputs(256, image_url=_PICTURE, duration={"type": "string", "enum": ["5", "10"]}),
        required=("prompt", "image_url"),
        price=0.05,
        unit="second",
        shape="video",
    ),
    Model(
        model_id="emulator/jingle/text-to-audio",
        display_name="Jingle (a second of sound)",
        properties=_inputs(64),
        price=0.01,
        shape="audio",
    ),
    Model(
        model_id="emulator/figurine/text-to-3d",
        display_name="Figurine (a triangle as GLB)",
        properties=_inputs(64),
        price=0.02,
        shape="mesh",
    ),
    Model(
        model_id="emulator/statue/image-to-3d",
        display_name="Statue (a triangle as GLB, from a picture)",
        kind="inference",
        properties=_inputs(64, image_url=_PICTURE),
        required=("prompt", "image_url"),
        price=0.03,
        shape="mesh",
    ),
    Model(
        model_id="emulator/kit/text-to-image",
        display_name="Kit (a picture with subtitles and a scene)",
        kind="workflow",
        properties=_inputs(64),
        price=0.01,
        shape="mixed",
    ),
    Model(
        model_id="emulator/caption/image-to-text",
        display_name="Caption (a text, no file)",
        properties=_inputs(64),
        price=0.001,
        shape="text",
    ),
    Model(
        model_id="emulator/boxes/image-to-json",
        display_name="Boxes (JSON, no file)",
        properties=_inputs(64),
        price=0.001,
        shape="json",
    ),
    Model(
        model_id="emulator/inline/text-to-image",
        display_name="Inline (the picture inside the answer)",
        properties=_inputs(64),
        price=0.003,
        shape="inline",
    ),
    Model(
        model_id="emulator/edit/image-to-image",
        display_name="Edit (inputs that are files, and texts that look like numbers)",
        properties=_inputs(
            64,
            image_url=_PICTURE,
            images={"type": "array", "format": "image_uris"},
            style={"type": "string"},
            steps=_number("integer", 1, 50, 4),
            strength=_number("float", 0, 1, 0.5),
        ),
        price=0.005,
    ),
    Model(
        model_id="emulator/unpriced/text-to-image",
        display_name="Unpriced (no price told)",
        properties=_inputs(512),
        price=None,
        note="Price on request.",
    ),
)

MODELS = {model.model_id: model for model in _MODELS}
"""All models, by id."""

CATEGORIES = sorted({category for model in _MODELS for category in model.categories})
