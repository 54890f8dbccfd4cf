"""What somebody outside knows of the models of a manifest: asked for once, and judged here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from runner.manifest import nodes
from runner.manifest.models.inputs import bundled_models, is_model_id

if TYPE_CHECKING:
    from collections.abc import Iterator


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one model's inputs."""

    schema: object = None
    """JSON Schema as it came; ``None`` where nothing is known."""
    note: str = ""
    """What the user should know of it: why there is none, or how old it is."""


Offers = Callable[[Sequence[str]], Mapping[str, Offer]]
"""Gives what is known of these models; those that it leaves out are unknown."""


def ask(root: nodes.Mapping, offers: Offers | None) -> dict[str, Offer]:
    """What is known of the models that ``root`` names and that no bundled schema describes."""
    named = sorted(set(_named(root)) - set(bundled_models()))
    return dict(offers(named)) if offers is not None and named else {}


def _named(root: nodes.Mapping) -> Iterator[str]:
    jobs = root.items["jobs"][1] if "jobs" in root.items else None
    for entry in [root, *(jobs.items if isinstance(jobs, nodes.Sequence) else ())]:
        if isinstance(entry, nodes.Mapping) and "model" in entry.items:
            node = entry.items["model"][1]
            if isinstance(node, nodes.Scalar) and is_model_id(node.text):
                yield node.text
