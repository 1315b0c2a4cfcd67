# SPDX-License-Identifier: GPL-2.0-only
"""Verdicts of the kernel's selftests, compared with those of the claims."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.lab import runner
from fixtures.lab.mailbox import Cause, Judged, Loss
from reports.model import Result, Verdict
from tools import upstream, upstream_lab
from tools.upstream_programs import BY_ARCHITECTURE, Outcome, Selftest

# A tree whose one program is a script: what a real one needs of make, and nothing of a compiler.
TREE = """\
headers:
\tmkdir -p $(O)/usr/include
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


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        pytest.param([("pass", "pass"), ("error", "pass")], 0, id="one-compared"),
        pytest.param([("fail", "fail")], 0, id="both-fail"),
        pytest.param([("pass", "pass"), ("pass", "fail")], 1, id="one-differs"),
        pytest.param([("skip", "pass")], 1, id="skipped-by-one"),
        pytest.param([("error", "pass"), ("pass", "-")], 4, id="no-verdicts"),
        pytest.param([("skip", "skip")], 4, id="all-skipped"),
        pytest.param([], 4, id="no-programs"),
    ],
)
def test_nothing_compared_is_not_agreement(rows: Sequence[tuple[str, str]], status: int) -> None:
    """The exit status is 0 only if a program passed or failed and its claims came to the same."""
    program = Selftest("steal_time", ())
    lines = [upstream.ComparedTest(program, theirs, "", ours) for theirs, ours in rows]

    assert upstream.status_of(lines) == status


def test_programs_are_chosen_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the named programs take part; a name without claims ends with status 2 and lists the others."""
    monkeypatch.setattr(upstream, "name_of_this_computer", lambda: "x86_64")

    named = upstream.chosen(["steal_time", "kvm_clock_test"])
    status = upstream.main([str(tmp_path), "--program", "rseq_test"])

    assert [program.name for program in named] == ["kvm_clock_test", "steal_time"]
    assert upstream.chosen([]) == list(BY_ARCHITECTURE["x86_64"])
    assert status == 2
    assert (
        "no claim is compared with rseq_test on x86_64, only with kvm_clock_test" in capsys.readouterr().err
    )


def test_architecture_without_selftests_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no program is compared with claims the command ends with status 2."""
    monkeypatch.setattr(upstream, "name_of_this_computer", lambda: "s390x")

    assert upstream.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == "upstream: no selftest is compared on s390x\n"


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


def test_older_name_is_found(tmp_path: Path) -> None:
    """A program that has another name in an older tree is built from there."""
    program = Selftest("nested_tsc_adjust_test", (), older_name="vmx_tsc_adjust_test")
    folder = tmp_path / "linux" / upstream.SELFTESTS
    (folder / "x86").mkdir(parents=True)
    (tmp_path / "linux" / "Makefile").write_text(TREE)
    (folder / "Makefile").write_text(PROGRAM.replace("kvm_clock_test", program.older_name))
    (folder / "x86" / "vmx_tsc_adjust_test.c").write_text("#!/bin/sh\n")

    built = upstream.build(tmp_path / "linux", tmp_path / "out", [program])

    assert built == {program.name: tmp_path / "out" / "x86" / program.older_name}


def test_programs_for_a_lab_host_are_linked_statically(tmp_path: Path) -> None:
    """No library of theirs is there, so the make files link them in."""
    folder = tmp_path / "linux" / upstream.SELFTESTS
    (folder / "x86").mkdir(parents=True)
    (tmp_path / "linux" / "Makefile").write_text(TREE)
    (folder / "Makefile").write_text(PROGRAM.replace("cp $<", "echo $(LDLIBS) > $(@D)/words && cp $<"))
    (folder / "x86" / "kvm_clock_test.c").write_text("#!/bin/sh\n")

    upstream.build(tmp_path / "linux", tmp_path / "out", BY_ARCHITECTURE["x86_64"], static=True)

    assert "-static" in (tmp_path / "out" / "x86" / "words").read_text().split()


def test_outcome_comes_with_the_report() -> None:
    """Status and words of a program travel with its test's reports; without them it has no verdict."""
    reports: list[dict[str, Any]] = [
        {"user_properties": []},
        {"user_properties": [["status", 4], ["log", "1..0 # SKIP - none"]]},
    ]

    assert upstream_lab.outcome(Judged(reports)) == Outcome(4, "1..0 # SKIP - none")
    lost = upstream_lab.outcome(Judged([], Loss(Cause.PANIC, "the lab host's kernel panicked")))
    assert lost == Outcome(None, "the lab host's kernel panicked")


@pytest.mark.thorough
def test_suite_runs_as_it_does_inside(tmp_path: Path) -> None:
    """The suite that starts programs is collected and runs with just the plug-ins that a lab host loads."""
    (tmp_path / "programs").mkdir()
    program = tmp_path / "programs/it"
    program.write_text("#!/bin/sh\necho said; exit 4\n")
    program.chmod(0o755)
    root = upstream_lab.checkout(tmp_path)
    suite = root / upstream_lab.INSIDE
    suite.write_text(suite.read_text().replace("/lab/programs", str(tmp_path / "programs")))
    left_out = [*upstream_lab.UNUSED, *runner._UNUSED]
    unused = [word for name in left_out for word in ("-p", f"no:{name}")]

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "pytest_timeout", *unused, upstream_lab.INSIDE],
        cwd=root,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", ["sim-x86_64", "lab-arm64-vhe", "nowhere"])
def test_target_without_a_compiler_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Programs run on this host or inside a lab host of its architecture; other targets end with status 2."""
    monkeypatch.setattr(upstream, "name_of_this_computer", lambda: "x86_64")

    status = upstream.main([str(tmp_path), "--out", str(tmp_path / "out"), "--target", name])

    assert status == 2
    assert f"{name} is neither host nor a lab host" in capsys.readouterr().err


def test_no_kernel_tree_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is not a kernel tree ends with status 2, and the message names what is missing."""
    status = upstream.main([str(tmp_path), "--out", str(tmp_path / "out")])

    assert status == 2
    assert f"{tmp_path} has no tools/testing/selftests/kvm" in capsys.readouterr().err
