# SPDX-License-Identifier: GPL-2.0-only
"""Write what comes from the claims: in docs/claims-*.md what each rests on, and the tests of contrib/tmt.

Exit status: 0 the files are up to date (now), 1 with --check one was not, 2 the claims cannot be collected.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import pytest

from fixtures.promises import ListedClaim
from tools import tmt_tree
from tools.arguments import Parser
from tools.interruption import started

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- Written by `.venv/bin/python -m tools.promises` from the claims. -->\n"
HEADING = "## What each claim rests on\n"
STALE, USAGE = 1, 2
_ARGUMENTS = (
    "kvmtests",
    "--promises",
    "-q",
    "-p",
    "no:xdist",
    "-p",
    "no:cacheprovider",
    "--target",
    "sim-x86_64",
)
"""Which target is named does not matter: every claim is listed, and this one is there on any host."""


class Listener:
    """Keeps what the harness noted of each claim; a pytest plug-in."""

    def __init__(self) -> None:
        self.claims: list[ListedClaim] = []

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Take the claims when all are collected."""
        # Not imported above: pytest rewrites the assertions of a plug-in only if it imports it first.
        plugin = session.config.pluginmanager.get_plugin("fixtures.plugins.promises")
        self.claims = session.config.stash[plugin.CLAIMS] if plugin is not None else []


def main(argv: Sequence[str]) -> int:
    """Write the files, or with --check compare them; return the exit status."""
    parser = Parser(prog="tools.promises", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; status 1 if a file is not up to date"
    )
    check = parser.parse_args(argv).check
    claims, trouble = collected()
    if trouble:
        sys.stderr.write(f"promises: the claims cannot be collected:\n{trouble}")
        return USAGE
    stale = []
    for path, text in [*pages(claims), *tmt_tree.files()]:
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.relative_to(ROOT).as_posix())
            if not check:
                path.write_text(text, encoding="utf-8")
    if check and stale:
        sys.stderr.write(f"promises: write {', '.join(stale)} with `.venv/bin/python -m tools.promises`.\n")
        return STALE
    print("written:", ", ".join(stale) or "nothing, every file is up to date")
    return 0


def collected() -> tuple[list[ListedClaim], str]:
    """Return every claim of the tree, in its order; else what pytest says of why it cannot collect them."""
    os.chdir(ROOT)
    listener, said = Listener(), io.StringIO()
    with contextlib.redirect_stdout(said):
        status = pytest.main(list(_ARGUMENTS), plugins=[listener])
    return listener.claims, "" if status == pytest.ExitCode.OK else said.getvalue()


def pages(claims: Iterable[ListedClaim], root: Path = ROOT) -> list[tuple[Path, str]]:
    """Return each page below *root* with the text that it should have: all before the heading is kept."""
    found = []
    for folder, group in groupby(claims, key=lambda claim: Path(claim.file).parent.name):
        path = root / "docs" / f"claims-{folder}.md"
        kept = path.read_text(encoding="utf-8") if path.exists() else f"# {folder}: claims\n\n"
        found.append((path, kept.partition(HEADING)[0].rstrip("\n") + "\n\n" + section(list(group))))
    return found


def section(claims: Sequence[ListedClaim]) -> str:
    """Return the part of a page that is written from *claims*: a table for each module."""
    parts = [HEADING, "\n", BEGIN]
    parts.append("\nThe three kinds are explained in [promises](promises.md).\n")
    for file, group in groupby(claims, key=lambda claim: claim.file):
        parts.append(f"\n### {Path(file).name}\n\n| claim | states | rests on |\n|---|---|---|\n")
        parts += [
            f"| `{claim.name}` | {_cell(claim.states)} | {_cell(str(claim.promise))} |\n" for claim in group
        ]
    return "".join(parts)


def _cell(text: str) -> str:
    """Return *text* as a cell shows it: a star is not emphasis there, and a bar not the next cell."""
    for sign in "\\|*<":
        text = text.replace(sign, f"\\{sign}")
    return text


if __name__ == "__main__":
    sys.exit(started(main))
