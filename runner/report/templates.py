"""Templates and other parts of the pages, from ``assets/``. ``head.html`` is the head of every page."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import jinja2


def asset(name: str) -> str:
    """Return the text of a file in ``assets/``."""
    return files("runner.report").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def template(name: str) -> jinja2.Template:
    """Return the template in a file of ``assets/``. Values are escaped, and an undefined name is an error."""
    loader = jinja2.FunctionLoader(asset)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template(name)
