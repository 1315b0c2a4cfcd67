# SPDX-License-Identifier: GPL-2.0-only
"""The pages of documentation lead to what they name."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md"))
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

_LINK = re.compile(r"\]\((?!\w+:)([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


class Link(NamedTuple):
    """A link to a file of this tree, and to a heading in it, "" for its beginning."""

    target: Path
    heading: str


def links(page: Path) -> Iterator[Link]:
    """Yield the links of *page* within the tree."""
    for found in _LINK.finditer(page.read_text(encoding="utf-8")):
        path, _, heading = found[1].partition("#")
        yield Link((page.parent / path).resolve() if path else page, heading)


def headings(page: Path) -> set[str]:
    """Return the names by which links call the headings of *page*, as GitHub makes them."""
    titles = (re.sub(r"[`*]", "", title).strip().lower() for title in _HEADING.findall(page.read_text()))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    """Each file that a page links to exists, and so does each heading."""
    dead = [
        link
        for link in links(page)
        if not link.target.exists() or (link.heading and link.heading not in headings(link.target))
    ]

    assert dead == []


def test_readme_leads_to_every_page() -> None:
    """Each page of docs/ is linked from README.md, alone or by its folder."""
    linked = {link.target for link in links(ROOT / "README.md")}

    assert [name for page, name in zip(PAGES, NAMES, strict=True) if not {page, page.parent} & linked] == [
        "README.md"
    ]


def test_makefile_has_the_goals_that_pages_name() -> None:
    """`make GOAL` in a page is a goal of the Makefile, or of the kernel's lib.mk."""
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    goals = set(re.findall(r"^ *make ([\w-]+)", listed, re.MULTILINE))
    named = {
        (name, goal)
        for page, name in zip(PAGES, NAMES, strict=True)
        for goal in re.findall(
            r"^(?:\$ |    )?make ([a-z][a-z_-]*)\b", page.read_text(encoding="utf-8"), re.MULTILINE
        )
    }

    assert {each for each in named if each[1] not in goals} == set()
