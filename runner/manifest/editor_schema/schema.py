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
        "description": "The jobs: one picture for each entry, or many with `from`, `matrix`, `sizes` or `repeat`.",
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
            description="Name of the batch. Results go to `output/<name>`. Default: the manifest's file name "
            "without its ending.",
            maxLength=patterns.MAX_STEM,
            examples=["spring-catalogue"],
        ),
    }


def _pace() -> Mapping[str, Schema]:
    return {
        "concurrency": {
            "title": "Concurrency",
            "description": "Requests in flight at the API: `auto`, as many as keep it busy, or a number from 1 "
            "to 1000 that is never exceeded. Default: auto.",
            "anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_CONCURRENCY}, {"const": "auto"}],
            "default": "auto",
        },
        "rate": notation(
            patterns.RATE,
            "write 5/s, 120/min or 500/h",
            title="Rate",
            description="Upper limit of submissions per second, minute or hour. Default: no limit of our own.",
            examples=["5/s", "120/min", "500/h"],
        ),
        "timeout": notation(
            patterns.TIMEOUT,
            "write 90s, 10m or 1h30m; at most 24h",
            {"exclusiveMinimum": 0, "maximum": MAX_TIMEOUT_SECONDS},
            title="Timeout",
            description="Maximum time of one request, from acceptance to a final state. A later run downloads "
            "what takes longer. A bare number is seconds; at most 24h. Default: 10m.",
            default="10m",
            examples=["90s", "10m", "1h30m"],
        ),
        "retries": {
            "title": "Retries",
            "description": "Number of retries of one download within a run. A purchase is never repeated "
            "automatically. Default: 4.",
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
            "description": "What to do with a job that may have been bought: `hold` keeps it until you resolve "
            "it with `runner reconcile`; `resubmit` buys it again, at most once per job. Default: "
            "hold.",
            "enum": [word.value for word in OnUnknown],
            "default": OnUnknown.HOLD.value,
        },
        "on_bad_row": {
            "title": "On bad row",
            "description": "What to do with a row of a feed that gives no valid job: `stop` buys nothing at all; "
            "`skip` leaves the row out, counts it and exits with 1. Default: stop.",
            "enum": [word.value for word in OnBadRow],
            "default": OnBadRow.STOP.value,
        },
        "budget": notation(
            patterns.BUDGET,
            "write 25.00 or 25.00/day",
            {"minimum": 0, "exclusiveMaximum": 10**15},
            title="Budget",
            description="Spending limit of this output folder in USD: in total, or per day of the API's "
            "clock. 0 buys nothing. Default: no limit.",
            examples=[25, "25.00/day"],
        ),
        "halt": notation(
            patterns.HALT,
            "write 10 or 20%",
            {"type": "integer", "minimum": 1, "exclusiveMaximum": 10**15},
            title="Halt",
            description="Stop buying when this many jobs of the run have failed: a number, or a share of the "
            "finished jobs (from 20 on). Default: never.",
            examples=[10, "20%"],
        ),
    }


def _results() -> Mapping[str, Schema]:
    return {
        "strict_size": {
            "title": "Strict size",
            "description": "`true` refuses a picture whose size differs from the requested one; `false` keeps it "
            "with a warning. Default: false.",
            "type": "boolean",
            "default": False,
        },
        "max_file": notation(
            patterns.MAX_FILE,
            "write 200MB or 2GiB",
            {"minimum": LEAST_BARE_BYTES, "exclusiveMaximum": 10**15},
            title="Largest file",
            description="Maximum size of a downloaded file: 200MB is 200,000,000 bytes, 2GiB is 2 * 2^30. "
            "Default: 2GiB.",
            default="2GiB",
            examples=["200MB", "2GiB"],
        ),
        "max_inline": notation(
            patterns.MAX_FILE,
            "write 2MB or 500kB; at most 6MiB",
            {"minimum": LEAST_BARE_BYTES, "maximum": MAX_INLINE},
            title="Largest file sent",
            description="Maximum size of a local file that is sent as an input. It can only lower the limits: "
            "6MiB for a picture, 16MiB for sound, 32MiB for a video.",
            examples=["2MB", "500kB"],
        ),
        "max_pixels": {
            "title": "Most pixels",
            "description": "Maximum number of pixels of a picture: 10,240 x 10,240 is 104857600. Default: 89000000.",
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_PIXELS,
            "default": MAX_PIXELS,
        },
        "output": text(
            patterns.OUTPUT,
            "a folder of this machine",
            title="Output folder",
            description="Output folder, relative to the manifest's folder. Default: `output/<name>` beside "
            "the manifest or one folder above.",
            examples=["../pictures"],
        ),
        "trusted_hosts": {
            "title": "Trusted hosts",
            "description": "Further storage hosts to download from, beside RunComfy's own. Public hosts only.",
            "type": "array",
            "items": notation(patterns.HOST, "write the name alone: cdn.example.com or *.example.com", maxLength=253),
            "examples": [["cdn.example.com"]],
        },
    }


def schema_text() -> str:
    """Return the schema as the text of a file, in plain ASCII, which every console prints unchanged."""
    return json.dumps(manifest_schema(), indent=2) + "\n"
