# SPDX-License-Identifier: GPL-2.0-only
"""Verdicts of the kernel's selftests, compared with those of the claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from reports.model import Result, Verdict
from tools import upstream
from tools.upstream_programs import BY_ARCHITECTURE, Selftest

# A tree whose one program is a script: what a real one needs of make, and nothing of a compiler.
TREE = """\
headers_install:
\tmkdir -p $(INSTALL_HDR_PATH)/include
"""
PROGRAM = """\
$(OUTPUT)/x86/kvm_clock_test: x86/kvm_clock_test.c
\tmkdir -p $(@D) && cp $< $@ && chmod +x $@
"""


def result(nodeid: str, verdict: Verdict) -> Result:
    """A result of a claim on host."""
    return Result(nodeid=nodeid, target="host", subject="x86.clock", name="name", verdict=verdict)


@pytest.mark.parametrize(
    ("status", "log", "verdict"),
    [
        (0, "", upstream.PASS),
        (4, "1..0 # SKIP", upstream.SKIP),
        (254, "unexpected value", upstream.FAIL),
        (1, "", upstream.FAIL),
        (254, "Wanted KVM exit reason: 2 (IO), got: 17 (INTERNAL_ERROR)", upstream.ERROR),
    ],
)
def test_exit_status_is_the_verdict(status: int, log: str, verdict: str) -> None:
    """0 passes, 4 skips, all else fails, unless KVM could not interpret the program's guest."""
    assert upstream.judged(status, log) == verdict


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([Verdict.PASS, Verdict.PASS], upstream.PASS),
        ([Verdict.PASS, Verdict.SKIP], upstream.PASS),
        ([Verdict.PASS, Verdict.FAIL], upstream.FAIL),
        ([Verdict.PASS, Verdict.XFAIL], upstream.FAIL),
        ([Verdict.SKIP], upstream.SKIP),
        ([Verdict.PASS, Verdict.ERROR], upstream.ERROR),
        ([], upstream.ABSENT),
    ],
)
def test_claims_come_to_one_verdict(verdicts: Sequence[Verdict], expected: str) -> None:
    """One claim that fails, or is a known issue, makes the program's row fail; other claims do not count."""
    results = [result(f"test_a.py::test_it[{number}]", each) for number, each in enumerate(verdicts)]
    results.append(result("test_a.py::test_other", Verdict.TIMEOUT))

    assert upstream.verdict_of(results, ["test_a.py::test_it"]) == expected


@pytest.mark.parametrize(
    ("theirs", "ours", "agreement"),
    [
        ("pass", "pass", "yes"),
        ("fail", "pass", "NO"),
        ("skip", "pass", "NO"),
        ("error", "pass", "-"),
        ("skip", "-", "-"),
    ],
)
def test_only_verdicts_are_compared(theirs: str, ours: str, agreement: str) -> None:
    """A program without a verdict neither agrees nor disagrees."""
    assert upstream.ComparedTest(Selftest("steal_time", ()), theirs, "", ours).agreement == agreement


def test_every_claim_exists() -> None:
    """Each claim that is compared with a program is a test of the suite."""
    for program in (program for programs in BY_ARCHITECTURE.values() for program in programs):
        for claim in program.claims:
            module, _, test = claim.partition("::")
            assert f"def {test}(" in (upstream.ROOT / module).read_text(), claim


def test_programs_of_a_tree_are_built(tmp_path: Path) -> None:
    """What the tree has is built with its own make files; what it lacks is left out."""
    folder = tmp_path / "linux" / upstream.SELFTESTS
    (folder / "x86").mkdir(parents=True)
    (tmp_path / "linux" / "Makefile").write_text(TREE)
    (folder / "Makefile").write_text(PROGRAM)
    (folder / "x86" / "kvm_clock_test.c").write_text("#!/bin/sh\nexit 4\n")

    built = upstream.build(tmp_path / "linux", tmp_path / "out", BY_ARCHITECTURE["x86_64"])

    assert built == {"kvm_clock_test": tmp_path / "out" / "x86" / "kvm_clock_test"}


def test_no_kernel_tree_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is not a kernel tree ends with status 2, and the message names what is missing."""
    status = upstream.main([str(tmp_path), "--out", str(tmp_path / "out")])

    assert status == 2
    assert f"{tmp_path} has no tools/testing/selftests/kvm" in capsys.readouterr().err
