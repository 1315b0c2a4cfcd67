# SPDX-License-Identifier: GPL-2.0-only
"""A failed claim comes with the command that writes it as a C program."""

from __future__ import annotations

import pytest

from reports.as_program import as_program, offered
from reports.html import page
from reports.model import ReportTarget, Result, Run, Session, Verdict
from reports.summary import _notable, named

CASE = "kvmtests/x86/test_tsc_offset.py::test_offset[host-one]"
FAILED = Result(
    CASE,
    "test_offset[one]",
    "host",
    "x86.tsc_offset",
    Verdict.FAIL,
    repro=f".venv/bin/python -m pytest '{CASE}' --target host",
)
COMMAND = f".venv/bin/python -m tools.export_c '{CASE}' --target host >repro.c"


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.CHANGED, Verdict.XFAIL])
def test_failure_has_a_program(verdict: Verdict) -> None:
    """The command names the case and the target of the failure."""
    assert as_program(FAILED._replace(verdict=verdict)) == COMMAND


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(FAILED._replace(verdict=Verdict.PASS), id="pass"),
        pytest.param(FAILED._replace(verdict=Verdict.ERROR), id="error"),
        pytest.param(FAILED._replace(repro=""), id="no-command"),
        pytest.param(FAILED._replace(repro=f"{FAILED.repro} --defect C01"), id="defect"),
        pytest.param(
            FAILED._replace(repro=FAILED.repro.replace(".venv/bin/python", "python3")), id="installed"
        ),
    ],
)
def test_other_results_have_none(result: Result) -> None:
    """What no C program can show is offered none."""
    assert as_program(result) == ""


def test_terminal_offers_it_next_to_the_reproduce_line() -> None:
    """The closing summary has the command after the one that repeats the case."""
    lines = list(_notable(FAILED))

    assert lines[-2:] == [f"        reproduce: {FAILED.repro}", f"        as C: {COMMAND}"]


def test_page_offers_it() -> None:
    """The page has the command, for readers with script and without."""
    run = Run((Session("m"),), (ReportTarget("host"),), (FAILED,))

    text = "".join(page(run))

    assert COMMAND.replace("'", "&#39;").replace(">", "&gt;") in text
    assert "tools.export_c" in text.partition("<script")[2]


def test_architecture_without_programs_is_offered_none() -> None:
    """Neither the summary nor the page offers what tools.export_c refuses for the target's architecture."""
    targets = (
        ReportTarget("host", no_programs="not written"),
        ReportTarget("lab-x86_64-svm"),
    )
    other = FAILED._replace(target="lab-x86_64-svm", nodeid=f"{CASE}[other]", name="other")
    run = Run((Session("m"),), targets, (FAILED, other))

    assert [offered(targets)(result) for result in run.results] == ["", COMMAND]
    assert sum("as C: " in line for line in named(run)) == 1
    assert "tools.export_c" not in "".join(page(Run(run.sessions, targets, (FAILED,))))
