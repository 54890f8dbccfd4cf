"""Loading of manifests: a YAML file becomes checked, typed jobs with positions.

The steps, each a module or a package::

    bytes ── yaml/encoding ──> text ── yaml/document ──> nodes (scalars, lists, mappings with positions)
    nodes ── settings ─────────────────────────────────> Settings
    nodes ── entries: jobs/entry_reader, with jobs/inputs, models/inputs, jobs/matrix ──> jobs/entry
    feed  ── feeds/feed: lines, then records and tables, jsonlines, arrays or prompts; sheets; pictures ──> rows
    entry and row ── jobs/rows, jobs/expansion ── jobs ── jobs/collector ── jobs/uniqueness ──> jobs/store

A feed is read row by row. Memory holds one row, and a few bytes for each id. Spreadsheets and JSON lists are bounded
and read whole. ``templates/template`` finds which texts are templates and which names they use. Only
``templates/compiler`` and the modules below it import Jinja2, and they are imported with the first template. The place
of a scalar decides its type (``yaml/scalars``, ``units``). All problems are collected in one ``Problems`` and raised at
once. Input schemas are bundled (``models/schemas``) or offered by a caller that can ask the catalogue.
``models/file_inputs`` has the inputs that are files, and ``models/local_files`` checks those of this machine, with a
function of the caller. ``editor_schema`` describes the same rules to editors as a JSON Schema of the manifest; the
package loads no manifest.

No module here uses the network or reads which jobs were bought before.
"""

from __future__ import annotations

from runner.manifest.jobs.fingerprint import fingerprint, spelling
from runner.manifest.jobs.store import JobStore
from runner.manifest.loader import MAX_BYTES, Manifest, load, salvage_settings
from runner.manifest.models.inputs import Offer, bundled_models, bundled_schema
from runner.manifest.models.local_files import FileFacts, InspectFile
from runner.manifest.models.schema import usable
from runner.manifest.names import check_file_name, check_id
from runner.manifest.settings import OnUnknown, Settings, parse_budget

__all__ = [
    "MAX_BYTES",
    "FileFacts",
    "InspectFile",
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
