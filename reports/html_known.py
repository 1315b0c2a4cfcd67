# SPDX-License-Identifier: GPL-2.0-only
"""Known issues on the page: where each one shows, and the page of this tree that explains it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from .model import Result, Run, Verdict
from .text import clean

_ROOT = Path(__file__).resolve().parents[1]
_REFERENCE = re.compile(r" ?\((docs/findings/[a-z0-9-]+\.md)\)(?=\Z|; )")  # doubts follow, if any
_INLINE = re.compile(r"\*\*(?P<strong>.+?)\*\*|`(?P<code>[^`]+)`|\[(?P<link>[^\]]+)\]\([^)]*\)")
_STYLED = re.compile(r"\|| {4}|[-*] |\d+\. ")


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a page: a heading, running text, or lines that are shown as they stand."""

    kind: str  # "heading", "text" or "lines"
    text: str

    @property
    def pieces(self) -> list[tuple[str, str]]:
        """Its text in pieces, each "strong", "code", or "" for the rest; a link is its words."""
        found, at = [], 0
        for match in _INLINE.finditer(self.text):
            kind = str(match.lastgroup)
            found += [("", self.text[at : match.start()]), ("" if kind == "link" else kind, match[kind])]
            at = match.end()
        return [*found, ("", self.text[at:])]


@dataclass(frozen=True, slots=True)
class ShownIssue:
    """One known issue: its reason, its page if this tree has it, and (target, xfail, xpass)."""

    name: str
    reason: str
    reference: str
    page: tuple[Block, ...]
    targets: tuple[tuple[str, int, int], ...]

    @property
    def xfail(self) -> int:
        """How often it showed."""
        return sum(xfail for _, xfail, _ in self.targets)

    @property
    def xpass(self) -> int:
        """How often it was predicted and did not show."""
        return sum(xpass for _, _, xpass in self.targets)


def known_issues(run: Run) -> list[ShownIssue]:
    """Return the known issues that *run*'s results name, as they are met."""
    issues: dict[str, list[Result]] = {}
    for result in run.results:
        if result.known_issue:
            issues.setdefault(result.known_issue, []).append(result)
    return [_issue(name, results) for name, results in issues.items()]


def _issue(name: str, results: list[Result]) -> ShownIssue:
    reason = next((result.reason for result in results if result.reason), "")
    found = _REFERENCE.search(reason)
    reference = found[1] if found else ""
    seen = Counter((result.target, result.verdict) for result in results)
    return ShownIssue(
        name=name,
        reason=reason[: found.start()] + reason[found.end() :] if found else reason,
        reference=reference,
        page=_page(reference) if reference else (),
        targets=tuple(
            (target, seen[target, Verdict.XFAIL], seen[target, Verdict.XPASS])
            for target in dict.fromkeys(result.target for result in results)
        ),
    )


@lru_cache
def _page(reference: str) -> tuple[Block, ...]:
    """Return the page *reference* of this tree, empty where it is not there: installed trees have no docs."""
    try:
        text = (_ROOT / reference).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ()
    return tuple(_blocks(clean(text)))


def _blocks(text: str) -> list[Block]:
    """Return the blocks of a page in Markdown: enough of it for the pages of docs/findings."""
    found: list[Block] = []
    for number, part in enumerate(re.split(r"^```.*$", text, flags=re.MULTILINE)):
        if number % 2:
            found.append(Block("lines", part.strip("\n")))
            continue
        for full, lines in groupby(part.splitlines(), key=lambda line: bool(line.strip())):
            if full:
                found += _paragraph(list(lines))
    return found


def _paragraph(lines: list[str]) -> list[Block]:
    if lines[0].startswith("#"):
        rest = _paragraph(lines[1:]) if lines[1:] else []
        return [Block("heading", lines[0].lstrip("#").strip()), *rest]
    if _STYLED.match(lines[0]):
        return [Block("lines", "\n".join(lines))]
    return [Block("text", " ".join(line.strip() for line in lines))]
