# SPDX-License-Identifier: GPL-2.0-only
"""A claim that ran once: what it says, where that is promised, and its steps."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from fixtures.plugins.targets import subject_of, target_of
from fixtures.targets import Target
from tools.export_c.events import Event
from tools.export_c.naming import without_target


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that ran once: what it says, and its steps."""

    nodeid: str
    subject: str
    name: str
    sentence: str
    sources: tuple[str, ...]
    promise: str
    target: Target
    fixtures: tuple[str, ...]
    source: str
    events: tuple[Event, ...]

    @property
    def code(self) -> str:
        """The claim's source, without the docstring that `sentence` has, and without pytest's marks."""
        function = ast.parse(textwrap.dedent(self.source)).body[0]
        assert isinstance(function, ast.FunctionDef)
        lines = textwrap.dedent(self.source).splitlines()
        if ast.get_docstring(function) is not None:
            said = function.body[0]
            lines[said.lineno - 1 : said.end_lineno] = []
        return "\n".join(lines[function.lineno - 1 :])

    @property
    def case(self) -> str:
        """The node id without the target, which an option names."""
        return without_target(self.nodeid, self.target.name)

    @property
    def title(self) -> str:
        """The case as reports call it."""
        return f"{self.subject} {without_target(self.name, self.target.name)}"


@dataclass
class ExportOutcome:
    """What became of one case: the claim, or why there is no program for it."""

    nodeid: str
    claim: Claim | None = None
    reason: str = ""


def claim_of(item: pytest.Item, events: Sequence[Event]) -> Claim:
    """Return the claim of *item*, which did *events*."""
    target = target_of(item)
    assert target is not None
    assert isinstance(item, pytest.Function)
    module = inspect.getdoc(item.module) or ""
    return Claim(
        nodeid=item.nodeid,
        subject=subject_of(item),
        name=item.name,
        sentence=inspect.getdoc(item.function) or "",
        sources=tuple(_sources(module)),
        promise=_promise(item),
        target=target,
        fixtures=tuple(item.fixturenames),
        source=inspect.getsource(item.function),
        events=tuple(events),
    )


def _promise(item: pytest.Item) -> str:
    """Return what the claim rests on, and where that is said; "" where no mark says so."""
    mark = item.get_closest_marker("promise")
    said = mark.kwargs.items() if mark is not None else ()
    return "; ".join(f"{kind.replace('_', ' ').capitalize()}: {text}" for kind, text in said)


def _sources(doc: str) -> Iterator[str]:
    found = doc.partition("Source:")[2].partition("\n\n")[0]
    if found:
        yield " ".join(found.split())
