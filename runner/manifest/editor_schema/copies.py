"""JSON Schema of ``copies:`` and ``sidecar:``, at the top and in an entry."""

from __future__ import annotations

from typing import Any

from runner.core.copies import FORMATS
from runner.manifest.editor_schema import patterns
from runner.manifest.editor_schema.values import Schema, filled, notation, size, string, text
from runner.manifest.jobs.copies import COLOUR, LABELS, MODES, SIDECARS
from runner.manifest.units import LEAST_BARE_BYTES


def published() -> dict[str, Schema]:
    """Return the schemas of the two keys."""
    return {
        "copies": {
            "title": "Copies",
            "description": "Versions of each picture for publishing, made from the unchanged original, with "
            "their own names in the output folder. In an entry, they take the place of those at "
            "the top.",
            "type": "array",
            "items": _copy(),
            "examples": [[{"file": "web/{{ job.id }}.jpg", "fit": "1200x1200", "label": "ai"}]],
        },
        "sidecar": _words(
            SIDECARS,
            title="Sidecar",
            description="json: a file `<file>.json` beside each original, with prompt, inputs, model, request, cost "
            "and hash. Default: none.",
        ),
    }


def _words(words: tuple[str, ...], **more: Any) -> Schema:
    return {**more, "enum": list(words)}


def _copy() -> Schema:
    return {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "dependencies": {"mode": ["fit"]},
        "properties": {
            "file": text(
                patterns.FILE,
                "a path in the output folder that ends in .jpg, .png, .webp or .avif",
                title="File",
                description="Where the copy goes in the output folder. A template, with the names that `file` has. "
                "The ending tells the format.",
                examples=["web/{{ job.id }}.jpg"],
            ),
            "fit": size(title="Fit", description="Width x height of the copy in pixels. Default: the original's."),
            "mode": _words(
                MODES,
                title="Mode",
                description="contain: at most this size (the default). cover: exactly this size, cut at the edges. "
                "pad: exactly this size, filled up with the background. Only cover enlarges.",
                default="contain",
            ),
            "background": string(
                f"^{COLOUR}$",
                'write it in quotes, with red, green and blue: "#ffffff"',
                title="Background",
                description="Colour behind transparent pixels of a JPEG, and around a padded picture. Default: white.",
                default="#ffffff",
            ),
            "format": _words(
                (*FORMATS, "jpg"), title="Format", description="Needed where the ending of `file` does not tell it."
            ),
            "quality": {
                "title": "Quality",
                "description": "1 to 100, for JPEG, WebP and AVIF. Default: 85, 80, 60.",
                "type": "integer",
                "minimum": 1,
                "maximum": 100,
            },
            "max_bytes": notation(
                patterns.MAX_FILE,
                "write 300kB or 2MB",
                {"minimum": LEAST_BARE_BYTES, "exclusiveMaximum": 10**15},
                title="Max bytes",
                description="The quality is lowered until the copy has at most so many bytes.",
                examples=["300kB"],
            ),
            "srgb": {
                "title": "sRGB",
                "description": "true: colours are converted to sRGB (the default). false: the profile stays.",
                "type": "boolean",
                "default": True,
            },
            "label": _words(LABELS, title="Label", description="ai: the copy says that it was made by AI (XMP, IPTC)."),
            "metadata": _metadata(),
        },
    }


def _metadata() -> Schema:
    return {
        "title": "Metadata",
        "description": "Texts within the copy.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "title": filled(title="Title", description="A template.", examples=["{{ name }}"]),
            "copyright": filled(title="Copyright", description="A template.", examples=["© 2026 Example"]),
            "prompt": {"title": "Prompt", "description": "true: with the prompt.", "type": "boolean"},
            "model": {"title": "Model", "description": "true: with the model's id.", "type": "boolean"},
        },
    }
