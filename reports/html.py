# SPDX-License-Identifier: GPL-2.0-only
"""report.html: one self-contained page, opened from disk."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import Environment, PackageLoader, StrictUndefined

from .model import Run, by_subject, by_target, counts


def page(run: Run) -> Iterator[str]:
    """Yield the page of *run* in pieces; every text is escaped."""
    environment = Environment(
        loader=PackageLoader("reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    groups = [(target, counts(results), list(by_subject(results))) for target, results in by_target(run)]
    template = environment.get_template("report.html.j2")
    yield from template.generate(run=run, groups=groups, total=counts(run.results))
