"""A YAML file → checked, typed jobs with positions.

The flow, each step a module::

    bytes ── encoding ──> text ── document ──> nodes (scalars, lists, mappings; each knows its place)
    nodes ── settings ───────────────────────> Settings
    nodes ── entries: recipe_reader, with given, inputs, matrix ──> job_entry: what the jobs of an entry share
    feed  ── feeds: lines, then tables or jsonlines ───────> rows
    job_entry and row ── rows, columns, series ── jobs ── collector ── naming, claims ──> spool

A feed is read row by row: in memory there is one row, and a few bytes for each id. ``templates`` says which
texts are templates and which names they know; only ``expressions``, ``fields`` and ``sandbox`` import Jinja2, and they
are imported when a template is met. What a scalar means is decided by where it stands (``scalars``, ``notation``);
every fault is noted in one ``Findings`` and raised at once. What a model takes is bundled (``schemas``), or comes
through ``offers`` from whoever can ask, and is judged by ``model_schema``; ``hosted`` are inputs that are files.
Nothing here knows of the network, or of what has been bought before.

``schema``, with ``schema_jobs``, ``schema_models``, ``schema_values`` and ``patterns``, tells editors the same rules as
a JSON Schema of the manifest itself; nothing is loaded by it.
"""

from __future__ import annotations

from runner.manifest.jobs.fingerprint import fingerprint, spelling
from runner.manifest.jobs.store import JobStore
from runner.manifest.loader import MAX_BYTES, Manifest, load, salvage_settings
from runner.manifest.models.inputs import Offer, bundled_models, bundled_schema
from runner.manifest.models.schema import usable
from runner.manifest.names import check_file_name, check_id
from runner.manifest.settings import OnUnknown, Settings, parse_budget

__all__ = [
    "MAX_BYTES",
    "JobStore",
    "Manifest",
    "Offer",
    "OnUnknown",
    "Settings",
    "bundled_models",
    "bundled_schema",
    "check_file_name",
    "check_id",
    "fingerprint",
    "load",
    "parse_budget",
    "salvage_settings",
    "spelling",
    "usable",
]
