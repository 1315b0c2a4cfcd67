# SPDX-License-Identifier: GPL-2.0-only
"""What pages have in common: escaping, our own style and script, and the policy that allows only these."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def environment(**filters: Any) -> Environment:
    """Return a template engine that escapes every text, with *filters* of the page."""
    made = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= filters
    return made


def rendered(engine: Environment, template: str, script_name: str, **values: Any) -> Iterator[str]:
    """Yield the page that *template* makes of *values*, with our style and the script *script_name*."""
    style, script = _source(engine, "report.css"), _source(engine, script_name)
    yield from engine.get_template(template).generate(
        style=style, style_hash=_hash(style), script=script, script_hash=_hash(script), **values
    )


def _source(engine: Environment, name: str) -> Markup:
    """Return one of our own files unescaped: nothing in it came from outside."""
    assert engine.loader is not None
    return Markup(engine.loader.get_source(engine, name)[0])  # noqa: S704


def _hash(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
