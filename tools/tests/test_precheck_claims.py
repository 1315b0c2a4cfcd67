# SPDX-License-Identifier: GPL-2.0-only
"""The check for a fleet says of each host what the suite says of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

from fixtures.lab import image
from fixtures.lab.mailbox import Cause, Judged, Loss
from fixtures.precheck import document
from fixtures.precheck.checks import BY_ARCHITECTURE, look
from fixtures.precheck.finding import Check, CheckFinding, Status, good
from fixtures.precheck.report import UNKNOWN
from fixtures.targets import all_targets, probe
from reports import read_journal
from tools.precheck import bundle, in_lab
from tools.precheck.agreement import disagreements, modules_and_tests, status_of

ROOT = Path(__file__).parents[2]
LIMIT_S = 600
NEAR = [
    name
    for name, target in all_targets().items()
    if target.elsewhere is None and target.arch in BY_ARCHITECTURE
]

pytestmark = pytest.mark.timeout(LIMIT_S)

Verdicts = Mapping[str, Mapping[str, str]]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """The verdicts of the claims that checks go by, by target and node id."""
    out = tmp_path_factory.mktemp("claims")
    claims = [claim for arch in BY_ARCHITECTURE for claim in modules_and_tests(arch)]
    command = [sys.executable, "-m", "pytest", "-q", "--every-host", f"--report-dir={out}", *claims]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for result in read_journal.read([out / "journal.jsonl"]).results:
        found[result.target][result.nodeid] = str(result.verdict)
    return found


@pytest.mark.thorough
@pytest.mark.parametrize("name", NEAR)
def test_check_and_claims_agree(verdicts: Verdicts, name: str) -> None:
    """On this host and on every simulated one each check finds what its claims say."""
    target = all_targets()[name]
    if not (probed := probe(target)).usable:
        pytest.skip(str(probed.reason))

    report = look(target.make_backend(), target.arch, target.own_facts, 120.0)

    assert list(disagreements(target.arch, report.findings, verdicts[name])) == []


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in NEAR if name != "sim-x86_64-proposals"])
def test_most_checks_have_a_claim(verdicts: Verdicts, name: str) -> None:
    """Claims judge all checks except those about facts: the comparison is not empty.

    The claims that run on a host with the proposals are about these alone.
    """
    target = all_targets()[name]
    if not probe(target).usable:
        pytest.skip("it cannot be used")

    without = [
        check.name for check in BY_ARCHITECTURE[target.arch] if status_of(check, verdicts[name]) is None
    ]

    facts = {"clocksource", "tsc-stable", "counter-width"}
    # The series moves the physical counter by an attribute alone.
    assert set(without) <= (facts | {"physical-value"} if "series" in name else facts)


UNCHECKED = [
    name for name, target in all_targets().items() if target.simulated and target.arch not in BY_ARCHITECTURE
]


@pytest.mark.parametrize("name", UNCHECKED)
def test_host_without_checks_is_one_sentence(name: str) -> None:
    """On an architecture without checks the report says so, and that nothing can be said of the host."""
    target = all_targets()[name]

    report = look(target.make_backend(), target.arch, target.own_facts, 120.0)

    assert (report.exit_status, report.findings) == (UNKNOWN, ())
    assert target.arch in report.reason
    assert modules_and_tests(target.arch) == []


CHECK = Check(
    "a-check", lambda _: good("fine"), ("x86/test_a.py::test_x", "x86/test_b.py::test_y[*virtual*]")
)


@pytest.mark.parametrize(
    ("verdicts_found", "status"),
    [
        pytest.param({"kvmtests/x86/test_a.py::test_x": "pass"}, Status.GOOD, id="pass"),
        pytest.param({"kvmtests/x86/test_a.py::test_x[a]": "xpass"}, Status.GOOD, id="xpass"),
        pytest.param(
            {"kvmtests/x86/test_a.py::test_x[a]": "pass", "kvmtests/x86/test_a.py::test_x[b]": "xfail"},
            Status.BAD,
            id="one-known-issue",
        ),
        pytest.param(
            {"kvmtests/x86/test_a.py::test_x[a]": "error", "kvmtests/x86/test_a.py::test_x[b]": "fail"},
            Status.BAD,
            id="one-fails",
        ),
        pytest.param(
            {"kvmtests/x86/test_a.py::test_x[a]": "timeout", "kvmtests/x86/test_a.py::test_x[b]": "pass"},
            Status.UNKNOWN,
            id="one-breaks-off",
        ),
        pytest.param({"kvmtests/x86/test_a.py::test_x": "skip"}, Status.ABSENT, id="skip"),
        pytest.param({"kvmtests/x86/test_b.py::test_y[t-virtual]": "fail"}, Status.BAD, id="parameter"),
        pytest.param({"kvmtests/x86/test_b.py::test_y[t-physical]": "fail"}, None, id="other-parameter"),
        pytest.param({"kvmtests/x86/test_a.py::test_xx": "fail"}, None, id="other-claim"),
    ],
)
def test_claims_come_to_one_status(verdicts_found: Mapping[str, str], status: Status | None) -> None:
    """A failure counts most, known or not; what broke off says nothing; skips alone are an absence."""
    assert status_of(CHECK, verdicts_found) is status


def test_difference_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that found other than its claims, or that is missing, is one sentence."""
    other = Check("other", lambda _: good("fine"))
    monkeypatch.setitem(BY_ARCHITECTURE, "x86_64", (CHECK, other))
    findings = [CheckFinding("a-check", Status.GOOD, "all is well")]

    said = list(disagreements("x86_64", findings, {"kvmtests/x86/test_a.py::test_x": "fail"}))

    assert said == ["a-check is good (all is well); its claims say bad", "other was not looked at"]


def judged(*phases: Mapping[str, object], loss: Loss | None = None) -> Judged:
    """Return what a lab host sent for one test."""
    return Judged(reports=[dict(phase) for phase in phases], loss=loss, complete=True)


PASSED = {"outcome": "passed", "user_properties": []}


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        pytest.param(judged(PASSED, PASSED, PASSED), "pass", id="pass"),
        pytest.param(judged({"outcome": "skipped", "user_properties": []}, PASSED), "skip", id="skip"),
        pytest.param(
            judged(PASSED, {"outcome": "skipped", "user_properties": [["verdict", "xfail"]]}, PASSED),
            "xfail",
            id="known-issue",
        ),
        pytest.param(judged(PASSED, {"outcome": "failed", "user_properties": []}), "error", id="unexplained"),
        pytest.param(judged(loss=Loss(Cause.PANIC, "it panicked")), "error", id="lost"),
    ],
)
def test_lab_host_sends_verdicts(found: Judged, verdict: str) -> None:
    """What comes from a lab host has the same verdicts as a report."""
    assert in_lab.verdict(found) == verdict


def test_lab_checkout_has_the_bundle(tmp_path: Path) -> None:
    """A lab host gets this tree's claims, and the program in the same bytes as `make precheck` gives."""
    root = in_lab.checkout(tmp_path)

    assert (root / in_lab.MODULE).with_name(in_lab.ARCHIVE).read_bytes() == bundle.build(ROOT)
    assert (root / "kvmtests/x86/test_tsc_offset.py").is_file()


def test_lab_image_takes_the_bundle_along() -> None:
    """The archive that a lab host unpacks holds the program."""
    assert image._belongs(Path(in_lab.MODULE).with_name(in_lab.ARCHIVE))


def test_unknown_lab_host_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that no lab host has is status 2."""
    status = in_lab.main(["lab-sparc"])

    assert status == 2
    assert capsys.readouterr().err.startswith("precheck.in_lab: lab-sparc: there is no such lab host")


def test_answers_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """The report of a lab host is printed as the program prints it, with whether the claims agree."""
    target = all_targets()["sim-arm64-protected"]
    report = look(target.make_backend(), target.arch, target.own_facts, 120.0)
    printed = document.render(report, ())
    claim = "kvmtests/arm64/test_counter_offset.py::test_physical_counter_is_host_counter_minus_offset[x]"

    agree = in_lab.show("lab-a", in_lab.LabAnswers(printed, {claim: "xfail"}))
    differ = in_lab.show("lab-b", in_lab.LabAnswers(printed, {claim: "pass"}))

    said = capsys.readouterr().out
    assert (agree, differ) == (True, False)
    assert "lab-a: the 1 claims say the same" in said
    assert "lab-b: DIFFERS: physical-offset is bad" in said
    assert json.loads(printed)["exit_status"] == 1
