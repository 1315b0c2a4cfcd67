# SPDX-License-Identifier: GPL-2.0-only
"""The lab's tables: where the time went, and kernel by mode by subject."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.lab import timing
from fixtures.lab.timing import Timing
from reports.model import ReportTarget, Result, ResultEnding, Run, Verdict
from tools import lab_knobs, lab_matrix, lab_times


def result(target: str, subject: str, number: int, verdict: Verdict, issue: str = "") -> Result:
    """Return one result of *target*."""
    nodeid = f"kvmtests/{subject}.py::test_{number}[{target}]"
    return Result(nodeid, f"test_{number}", target, subject, verdict, known_issue=issue)


def test_phases_last_from_one_end_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends inside count from the kernel's start, which the quickest record ties to this side's clock."""
    now = [100.0]
    monkeypatch.setattr("fixtures.lab.timing.time.monotonic", lambda: now[0])
    account = Timing(now[0])
    now[0] = 100.5
    account.end("image")
    now[0] = 104.25  # on its way for 0.25 s
    account.end_inside("kernel", 2, 3)
    now[0] = 105
    account.end_inside("session", 4, 4)
    now[0] = 107
    account.end("end")

    assert account.seconds() == {"image": 0.5, "emulator": 0.5, "kernel": 2, "session": 2, "end": 2}


def test_times_of_a_run_make_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each lab host, from the files next to its logs; a second boot shows."""
    folder = tmp_path / "lab" / "lab-arm64-vhe"
    folder.mkdir(parents=True)
    timing.write(folder, "lab-arm64-vhe", [{"image": 0.25, "tests": 9.75}, {"image": 0.25}])

    assert lab_times.main([str(tmp_path)]) == 0

    last = capsys.readouterr().out.splitlines()[-1].split()
    assert last == ["lab-arm64-vhe", "+1", "0.2", "9.8", "10.0"]
    assert json.loads((folder / timing.FILE).read_text())["lab host"] == "lab-arm64-vhe"


def test_no_times_are_not_a_table(tmp_path: Path) -> None:
    """A folder without lab hosts is distinct from a table."""
    assert lab_times.main([str(tmp_path)]) == lab_times.NOTHING


def test_page_counts_claims_by_kernel_and_subject() -> None:
    """Holding claims are counted, known issues and skips marked, failures spelled out."""
    facts = (("kernel", "6.1.0"), ("qemu", "7.2"))
    run = Run(
        targets=(
            ReportTarget("lab-arm64-vhe@6.1", "lab", "arm64", "vhe", facts=facts),
            ReportTarget("lab-x86_64-svm@6.1", "lab", "x86_64", facts=(("bochs", "3.0"),)),
            ReportTarget("sim-x86_64", "sim", "x86_64"),
        ),
        results=(
            result("lab-arm64-vhe@6.1", "arm64.timers", 1, Verdict.PASS),
            result("lab-arm64-vhe@6.1", "arm64.timers", 2, Verdict.PASS),
            result("lab-arm64-vhe@6.1", "arm64.timers", 3, Verdict.XFAIL, "an-issue"),
            result("lab-arm64-vhe@6.1", "arm64.traps", 4, Verdict.SKIP),
            result("lab-x86_64-svm@6.1", "x86.clock", 5, Verdict.FAIL),
            result("lab-x86_64-svm@6.1", "x86.clock", 6, Verdict.SKIP)._replace(ending=ResultEnding.NOT_RUN),
            result("sim-x86_64", "x86.clock", 5, Verdict.PASS),
        ),
    )

    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lab_matrix.page(run).splitlines()]

    assert ["lab-arm64-vhe@6.1", "6.1.0", "vhe", "QEMU 7.2", "2, 1 k, 1 s", "0"] in lines
    assert ["lab-x86_64-svm@6.1", "did not boot", "-", "Bochs 3.0", "1 FAIL, 1 not run", "0"] in lines
    assert ["subject", "vhe 6.1"] in lines
    assert ["arm64.timers", "2, 1 k"] in lines
    assert ["x86.clock", "1 FAIL, 1 not run"] in lines
    assert ["an-issue", "lab-arm64-vhe@6.1"] in lines
    assert "sim-x86_64" not in str(lines)


def test_page_says_what_was_not_fetched() -> None:
    """A lab host whose packages are not available is a row with the reason, next to those that ran."""
    run = Run(
        targets=(ReportTarget("lab-arm64-vhe@6.1", "lab", "arm64", "vhe"),),
        results=(result("lab-arm64-vhe@6.1", "arm64.timers", 1, Verdict.PASS),),
    )

    text = lab_matrix.page(run, {"lab-arm64-vhe@6.12": "a package is gone"})

    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["lab-arm64-vhe@6.12", "not fetched", "-", "", "a package is gone.", ""] in lines
    assert ["subject", "vhe 6.1"] in lines


@pytest.mark.parametrize(
    ("why", "shown"),
    [
        pytest.param(
            "apt-get -q for Debian trixie: E: Failed to fetch http://user:word@mirror:3142/debian/pool/main/l/"
            "linux/linux-image-6.12_1%2bdeb13_ppc64el.deb  404  Not Found",
            "apt-get -q for Debian trixie: E: Failed to fetch linux-image-6.12_1%2bdeb13_ppc64el.deb  404  "
            "Not Found.",
            id="package",
        ),
        pytest.param(
            "E: The repository 'https://mirror trixie Release' is not signed",
            "E: The repository ' trixie Release' is not signed.",
            id="no-file",
        ),
        pytest.param("a/b.deb is not whole", "a/b.deb is not whole.", id="no-address"),
    ],
)
def test_page_names_a_package_without_the_archives_address(why: str, shown: str) -> None:
    """Why a lab host was not fetched names the file, and not the mirror of the computer that wrote it."""
    run = Run(
        targets=(ReportTarget("lab-ppc64le@newest", "lab", "ppc64le", ""),),
        results=(result("lab-ppc64le@newest", "powerpc.clock", 1, Verdict.PASS),),
    )

    text = lab_matrix.page(run, {"lab-ppc64le@6.12": why})

    row = next(line for line in text.splitlines() if "not fetched" in line)
    assert row.split("|")[5].strip() == shown


def test_time_of_the_emulators_own_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the lab host's clock differs from ours, phases reported at once share what passed here."""
    now = [100.0]
    monkeypatch.setattr("fixtures.lab.timing.time.monotonic", lambda: now[0])
    account = Timing(now[0], own_time=True)
    account.end("image")
    now[0] = 120
    for phase, at_s in (("kernel", 0.5), ("python", 0.75), ("devices", 1)):
        account.end_inside(phase, at_s, 1)
    now[0] = 130
    account.end_inside("pytest", 1.25, 1.25)

    assert account.seconds() == {"image": 0, "kernel": 10, "python": 5, "devices": 5, "pytest": 10}


def test_phase_of_the_emulators_own_time_ends_once() -> None:
    """A second end of a phase is also recognised there, and no time is given that cannot be."""
    account = Timing(own_time=True)
    account.end("image")
    account.end_inside("kernel", 1e14, 1)

    assert account.has_ended("kernel")
    assert not account.has_ended("python")
    assert account.seconds()["kernel"] < 60


def knobs_run(*changed: Result) -> Run:
    """Return a run of two claims with the defaults and with two sets; *changed* replaces the last results."""
    names = ["lab-x86_64-svm", "lab-x86_64-svm+npt-off", "lab-x86_64-svm+timer-advance-off"]
    facts = {names[1]: (("kvm_amd.npt", "N"),), names[2]: (("kvm.lapic_timer_advance", "N"),)}
    targets = tuple(ReportTarget(name, "lab", "x86_64", facts=facts.get(name, ())) for name in names)
    results = [result(name, "x86.clock", number, Verdict.PASS) for name in names for number in (1, 2)]
    kept = [
        one for one in results if (one.target, one.name) not in {(new.target, new.name) for new in changed}
    ]
    return Run(targets=targets, results=tuple(sorted([*kept, *changed], key=lambda one: one.target)))


def test_page_of_knobs_begins_with_what_differs() -> None:
    """A claim whose verdict is not the default's stands first, with both verdicts and the reason."""
    failed = result("lab-x86_64-svm+npt-off", "x86.clock", 2, Verdict.FAIL)._replace(message="1 | 2")

    page = lab_knobs.page(knobs_run(failed))

    first, _, rest = page.partition("## What booted")
    [row] = [line for line in first.splitlines() if "+npt-off" in line]
    cells = [each.strip() for each in row.replace("\\|", "/").strip("|").split("|")]
    assert cells == ["lab-x86_64-svm+npt-off", "`x86.clock test_2`", "pass", "fail", "1 / 2"]
    assert "kvm_amd.npt=N" in rest
    assert "kvm.lapic_timer_advance=N" in rest


def test_page_of_knobs_says_that_nothing_differs() -> None:
    """Where every set has the verdicts of the defaults, the page says so in a sentence."""
    assert "Nothing: every claim has the verdict" in lab_knobs.page(knobs_run())


def test_journal_without_a_lab_host_gives_no_page_of_knobs(tmp_path: Path) -> None:
    """A journal without lab hosts makes no page: status 4."""
    (tmp_path / "journal.jsonl").write_text("")

    assert lab_knobs.main([str(tmp_path / "journal.jsonl")]) == lab_matrix.NOTHING
