"""JSON Schema of a manifest for editors: completion, help on hover, problems while typing.

The version is draft 7, the newest that the YAML language server of common editors understands in full. An editor
reads a manifest as YAML 1.2, in which ``id: 012`` is a number, while the loader reads a text. Wherever the loader
takes a plain scalar as text, the schema therefore accepts a number, too. The loader alone checks what the schema
cannot express: names in templates, feeds, ids and files against each other, the notation of numbers.

The keys are those of the loader (``KEYS`` of ``settings`` and ``jobs/inputs``), the notations its regular expressions
(``patterns``), and the inputs those of the bundled models.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from runner.core.media_formats import MAX_PIXELS, MOST_PIXELS
from runner.manifest.editor_schema import patterns
from runner.manifest.editor_schema.copies import published
from runner.manifest.editor_schema.jobs import defaults, job
from runner.manifest.editor_schema.models import definition, model_job, rules
from runner.manifest.editor_schema.values import Schema, notation, text
from runner.manifest.models.inputs import bundled_models
from runner.manifest.models.local_files import MAX_INLINE
from runner.manifest.settings import MAX_CONCURRENCY, MAX_RETRIES, MAX_TIMEOUT_SECONDS, OnBadRow, OnUnknown
from runner.manifest.units import LEAST_BARE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping


def manifest_schema() -> Schema:
    """Return a new copy of the schema; the order of its keys is stable."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A manifest of runner",
        "description": "A batch of jobs for the RunComfy Model API: `runner plan FILE` prices it, `runner run FILE` "
        "runs it.",
        "type": "object",
        "properties": {**_settings(), **published(), "model": model(), "defaults": defaults(), "jobs": _jobs()},
        "patternProperties": {"^x-": {"description": "A key of your own; it may hold anchors."}},
        "additionalProperties": False,
        "required": ["jobs"],
        "if": {"required": ["model"]},
        "else": {"properties": {"jobs": {"items": {"required": ["model"]}}}},
        "allOf": [rule for name in bundled_models() for rule in rules(name)],
        "definitions": {"job": job(model()), **{definition(name): model_job(name) for name in bundled_models()}},
    }


def model() -> Schema:
    return text(
        patterns.MODEL_ID,
        "it looks like vendor/family/variant/task",
        title="Model",
        description="The model's id in the catalogue (`runner models` lists it), for every job or for one. Required "
        "here or for each job: nothing is bought from a model that nobody named.",
        examples=list(bundled_models()),
    )


def _jobs() -> Schema:
    return {
        "title": "Jobs",
        "description": "What is to be made: one picture for each entry, or many with `from`, `matrix`, `sizes`, "
        "`repeat`.",
        "type": "array",
        "minItems": 1,
        "items": {"$ref": "#/definitions/job"},
    }


def _settings() -> Mapping[str, Schema]:
    return {**_identity(), **_pace(), **_money(), **_results()}


def _identity() -> Mapping[str, Schema]:
    return {
        "name": text(
            patterns.ID,
            "it also names a folder: no slash, no dot or space at its end, no name that Windows or runner keeps",
            title="Name",
            description="What the batch is called; results go to `output/<name>`. Default: the file's name without "
            "its ending.",
            maxLength=patterns.MAX_STEM,
            examples=["spring-catalogue"],
        ),
    }


def _pace() -> Mapping[str, Schema]:
    return {
        "concurrency": {
            "title": "Concurrency",
            "description": "Requests in flight at the API: auto (the default), as many as keep it busy; or a number "
            "that is never exceeded, 1 to 1000.",
            "anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_CONCURRENCY}, {"const": "auto"}],
            "default": "auto",
        },
        "rate": notation(
            patterns.RATE,
            "write 5/s, 120/min or 500/h",
            title="Rate",
            description="The most submissions per second, minute or hour. Default: no limit of our own.",
            examples=["5/s", "120/min", "500/h"],
        ),
        "timeout": notation(
            patterns.TIMEOUT,
            "write 90s, 10m or 1h30m; at most 24h",
            {"exclusiveMinimum": 0, "maximum": MAX_TIMEOUT_SECONDS},
            title="Timeout",
            description="For one request, from acceptance to a final state; what takes longer is collected by the "
            "next run. A bare number is seconds; at most 24h. Default: 10m.",
            default="10m",
            examples=["90s", "10m", "1h30m"],
        ),
        "retries": {
            "title": "Retries",
            "description": "Of one delivery (a download) within a run. A purchase is never repeated by itself. "
            "Default: 4.",
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_RETRIES,
            "default": 4,
        },
    }


def _money() -> Mapping[str, Schema]:
    return {
        "on_unknown": {
            "title": "On unknown",
            "description": "What becomes of a job that was perhaps bought: `hold` waits for your word "
            "(`runner reconcile`), `resubmit` buys it again, once in its life. Default: hold.",
            "enum": [word.value for word in OnUnknown],
            "default": OnUnknown.HOLD.value,
        },
        "on_bad_row": {
            "title": "On bad row",
            "description": "What becomes of a row of a feed that no job can be made of: `stop` buys nothing at all, "
            "`skip` leaves the row out, counts it and exits 1. Default: stop.",
            "enum": [word.value for word in OnBadRow],
            "default": OnBadRow.STOP.value,
        },
        "budget": notation(
            patterns.BUDGET,
            "write 25.00 or 25.00/day",
            {"minimum": 0, "exclusiveMaximum": 10**15},
            title="Budget",
            description="The most that this folder may cost, in USD: ever, or in a day of the API's clock. "
            "0 buys nothing. Default: no limit.",
            examples=[25, "25.00/day"],
        ),
        "halt": notation(
            patterns.HALT,
            "write 10 or 20%",
            {"type": "integer", "minimum": 1, "exclusiveMaximum": 10**15},
            title="Halt",
            description="Stop buying once so many jobs of this run failed: a number, or a share of those finished "
            "(judged from 20 on). Default: never.",
            examples=[10, "20%"],
        ),
    }


def _results() -> Mapping[str, Schema]:
    return {
        "strict_size": {
            "title": "Strict size",
            "description": "Whether a picture of another size than asked for is refused, instead of kept with a "
            "warning. Default: false.",
            "type": "boolean",
            "default": False,
        },
        "max_file": notation(
            patterns.MAX_FILE,
            "write 200MB or 2GiB",
            {"minimum": LEAST_BARE_BYTES, "exclusiveMaximum": 10**15},
            title="Largest file",
            description="The largest file that is downloaded: 200MB is 200,000,000 bytes, 2GiB is 2 * 2^30. "
            "Default: 2GiB.",
            default="2GiB",
            examples=["200MB", "2GiB"],
        ),
        "max_inline": notation(
            patterns.MAX_FILE,
            "write 2MB or 500kB; at most 6MiB",
            {"minimum": LEAST_BARE_BYTES, "maximum": MAX_INLINE},
            title="Largest file sent",
            description="The largest file of this machine that is sent as an input. It only lowers the limits, 6MiB "
            "for a picture, 16MiB for sound, 32MiB for a video.",
            examples=["2MB", "500kB"],
        ),
        "max_pixels": {
            "title": "Most pixels",
            "description": "The largest picture that is accepted, in pixels: 10,240 x 10,240 has 104857600. "
            "Default: 89000000.",
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_PIXELS,
            "default": MAX_PIXELS,
        },
        "output": text(
            patterns.OUTPUT,
            "a folder of this machine",
            title="Output folder",
            description="Where results go, from the manifest's folder on. Default: `output/<name>` beside the manifest "
            "or one folder above.",
            examples=["../pictures"],
        ),
        "trusted_hosts": {
            "title": "Trusted hosts",
            "description": "More storage hosts to download from, beside RunComfy's own; public ones only.",
            "type": "array",
            "items": notation(patterns.HOST, "write the name alone: cdn.example.com or *.example.com", maxLength=253),
            "examples": [["cdn.example.com"]],
        },
    }


def schema_text() -> str:
    """Return the schema as the text of a file, in plain ASCII, which every console prints unchanged."""
    return json.dumps(manifest_schema(), indent=2) + "\n"
