# SPDX-License-Identifier: GPL-2.0-only
"""The table of findings as C programs is about each of them, and says what is so."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict

import pytest

from fixtures.architectures import why_without
from tools.export_c import findings
from tools.export_c.agreement import SKIPPED, STATUS_OF
from tools.tests.exported import export, exported

ROWS = findings.rows()
WITH_PROGRAM = [one for one in ROWS if one.target]
WITHOUT = [one for one in ROWS if not one.target]
KNOWN_ISSUES = findings.ROOT / "kvmtests" / "known_issues.toml"
ISSUES = tomllib.loads(KNOWN_ISSUES.read_text(encoding="utf-8"))["issue"]
BY_ROOM = {"riscv": "riscv64", "powerpc": "ppc64le"}


def of_page(row: findings.FindingRow) -> str:
    """Return the id of a row's case."""
    return row.page


def test_page_is_as_generated() -> None:
    """docs/findings-as-c.md is what the command makes of the data."""
    assert findings.PAGE.read_text(encoding="utf-8") == findings.rendered(ROWS)


def test_each_finding_has_a_row() -> None:
    """Every page of docs/findings has one row, in their order."""
    assert [one.page for one in ROWS] == sorted(path.stem for path in findings.FOLDER.glob("*.md"))


def test_claims_are_those_of_the_expected_failures() -> None:
    """A finding with expected failures is shown by a claim that one of them is about."""
    patterns = defaultdict(list)
    for issue in ISSUES:
        patterns[issue["reference"]].append(re.compile(issue["tests"]))

    missed = [
        one.page
        for one in ROWS
        if (found := patterns.get(f"docs/findings/{one.page}.md"))
        and not any(pattern.search(one.case) for pattern in found)
    ]
    assert missed == []


@pytest.mark.parametrize("row", [one for one in ROWS if one.case], ids=of_page)
def test_claim_exists(row: findings.FindingRow) -> None:
    """The claim of a row is in its module."""
    path, _, name = row.case.partition("::")

    assert f"def {name.partition('[')[0]}(" in (findings.ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("row", WITHOUT, ids=of_page)
def test_architecture_without_programs_says_why(row: findings.FindingRow) -> None:
    """A claim about an architecture that has no programs is refused in the words of its row."""
    arch = BY_ROOM.get(row.case.removeprefix("kvmtests/").partition("/")[0])

    assert row.why_not
    assert arch is None or row.why_not == why_without(arch, "export_c")


@pytest.mark.parametrize("row", WITH_PROGRAM, ids=of_page)
def test_program_ends_as_its_claim(row: findings.FindingRow) -> None:
    """Where both ran, the program ended as the claim's verdict says, or could not judge."""
    assert [run for run in row.seen if run.program not in {STATUS_OF[run.claim], SKIPPED}] == []


@pytest.mark.thorough
@pytest.mark.parametrize("row", [one for one in WITH_PROGRAM if one.target.startswith("sim-")], ids=of_page)
def test_finding_has_its_program(row: findings.FindingRow) -> None:
    """The claim can be recorded on the target that its row names."""
    assert "int main(void)" in exported(row.case, row.target)


@pytest.mark.thorough
def test_finding_without_program_is_refused() -> None:
    """A claim of riscv64 is refused with the row's sentence."""
    row = next(one for one in WITHOUT if "kvmtests/riscv/" in one.case)

    done = export(row.case, "--target", "sim-riscv64-sstc")

    assert done.returncode == 1
    assert row.why_not in done.stderr
