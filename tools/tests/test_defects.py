# SPDX-License-Identifier: GPL-2.0-only
"""make defects: its table, its exit status, and runs that hang or die."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tools import defects
from tools.defect_jobs import Job, JobOutcome, Notice, run_all
from tools.defect_verdicts import DefectVerdict, silent_claims, summary, table, thin_rules, write
from tools.defects import main
from tools.stopping import Stop

VERDICT = DefectVerdict(
    id="C01",
    symptom="KVM_SET_CLOCK ignores the realtime.",
    part="clock",
    variation="RealtimeIgnored",
    targets=("sim-x86_64",),
    noticed_by="x86/test_set_clock.py::test_a",
    by_name=True,
    first="kvmtests/x86/test_set_clock.py::test_a[sim-x86_64]",
    first_s=0.5,
    tests=("kvmtests/x86/test_set_clock.py::test_a[sim-x86_64]",),
    asked=("kvmtests/x86/test_set_clock.py::test_a", "kvmtests/x86/test_set_clock.py::test_b"),
    message="1 is outside",
    seconds=1.0,
    trouble="",
)
UNNOTICED = replace(VERDICT, id="C02", by_name=False, first="", first_s=0.0, tests=(), message="")
BY_OTHERS = replace(VERDICT, id="C03", by_name=False, first="kvmtests/x86/test_b.py::test_b[sim-x86_64]")


def test_table_shows_which_claim_noticed() -> None:
    """A defect is noticed by the claim that is there for it, by others, or by none."""
    lines = table([VERDICT, UNNOTICED, BY_OTHERS]).splitlines()[2:]

    assert [line.split()[0] for line in lines] == ["C01", "C02", "C03"]
    assert [" yes " in lines[0], " NO " in lines[1], " by others " in lines[2]] == [True] * 3
    assert lines[2].endswith("x86/test_b.py::test_b")


def test_summary_names_the_unnoticed() -> None:
    """The last line counts, and names the defects that no claim noticed."""
    text = summary([VERDICT, UNNOTICED, BY_OTHERS], 12.4)

    assert text == ("2 of 3 defects noticed, 1 by the claim that is there for them; 12 s; unnoticed: C02")


def test_claims_that_never_fail_are_silent() -> None:
    """A claim that ran for every defect and noticed none is named."""
    assert silent_claims([VERDICT, UNNOTICED]) == ("kvmtests/x86/test_set_clock.py::test_b",)


def test_rules_that_one_function_holds_are_thin() -> None:
    """A rule whose defects only one test function noticed is named with it, in however many cases it did."""
    first, other = "kvmtests/x86/test_set_clock.py::test_a", "kvmtests/x86/test_b.py::test_b"
    twice = replace(VERDICT, tests=(f"{first}[a]", f"{first}[b]"))
    elsewhere = replace(VERDICT, id="C07", tests=(f"{first}[a]", f"{other}[a]"))

    assert thin_rules([twice]) == {"KvmClock.elapsed_ns": first}
    assert thin_rules([twice, elsewhere]) == {"KvmClock.elapsed_ns": first}
    assert thin_rules([twice, replace(BY_OTHERS, id="C02", tests=(f"{other}[a]",))]) == {}
    assert thin_rules([UNNOTICED]) == {}


def test_unknown_defect_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """A typo in an id is one sentence and exit status 2."""
    assert main(["C99"]) == 2
    assert "there is no defect C99; docs/defects.md lists all" in capsys.readouterr().out


def test_json_and_page_are_written(tmp_path: Path) -> None:
    """The page shows what the JSON holds, and is made from it again byte by byte."""
    verdicts = [VERDICT, UNNOTICED, BY_OTHERS]

    found, page = write(verdicts, tmp_path / "out", 12.4)
    first = page.read_bytes()
    page.unlink()

    assert b"2 of 3 defects noticed, 1 by the claim that is there for them" in first
    assert b"no nested virtualisation" in first
    assert main(["--page", str(found), "--out", str(tmp_path / "out")]) == 0
    assert page.read_bytes() == first


def test_page_of_another_file_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is missing, or that is not ours, is status 2."""
    (tmp_path / "x.json").write_text("[]")

    assert main(["--page", str(tmp_path / "x.json"), "--out", str(tmp_path)]) == 2
    assert main(["--page", str(tmp_path / "y.json"), "--out", str(tmp_path)]) == 2

    said = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[2] for line in said] == [
        "this JSON holds no defects",
        "No such file or directory",
    ]


def test_run_that_hangs_is_stopped() -> None:
    """A process that does not end is killed, counts as a timeout, and delays no other."""
    outcomes = run_all([_job("hang"), _job("well")], processes=2, limit_s=1.0, work=act)

    assert [notice.verdict for notice in outcomes["hang"].notices] == ["timeout"]
    assert outcomes["well"].notices == []


def test_run_that_dies_is_trouble() -> None:
    """A process that ends without a result has noticed nothing, and its exit status is reported."""
    outcomes = run_all([_job("die")], processes=1, limit_s=30.0, work=act)

    assert outcomes["die"].notices == []
    assert outcomes["die"].trouble == "the process ended with 3"


@pytest.mark.thorough
def test_stopped_run_keeps_what_ended() -> None:
    """After a signal no run is waited for, and a run that did not end has no outcome."""
    stop = Stop()
    timer = threading.Timer(3, lambda: setattr(stop, "by", "SIGINT"))
    timer.start()

    outcomes = run_all([_job("well"), _job("hang"), _job("late")], 1, limit_s=60.0, work=act, stop=stop)

    assert list(outcomes) == ["well"]
    assert not multiprocessing.active_children()


def test_ctrl_c_does_not_cut_a_run_short() -> None:
    """A terminal sends it to every process: half of a run would look like one that noticed nothing."""
    outcomes = run_all([_job("interrupted")], processes=1, limit_s=30.0, work=act)

    assert outcomes["interrupted"].asked == ("continued",)


def test_what_was_judged_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After Ctrl-C or TERM the JSON, its page and the last line say what was judged, and what was not."""

    def some(jobs: Iterable[Job], *_: object, stop: Stop) -> dict[str, JobOutcome]:
        if stop.by:
            return {}
        signal.raise_signal(signal.SIGTERM)
        noticed = [Notice("kvmtests/x86/test_a.py::test_a[x]", "fail", "", 0.1)]
        return {next(iter(jobs)).name: JobOutcome(noticed)}

    monkeypatch.setattr(defects, "run_all", some)
    monkeypatch.setattr(defects, "warm_up", lambda _: "")

    status = main(["C01", "C02", "C03", "--no-baseline", "--out", str(tmp_path)])

    assert status == 2
    found = json.loads((tmp_path / "defects.json").read_text())
    assert [defect["id"] for defect in found["defects"]] == ["C01"]
    assert found["stopped"] == {"by": "SIGTERM", "wanted": 3}
    sentence = "stopped by SIGTERM, 2 of 3 defects not judged"
    assert sentence in capsys.readouterr().out
    assert sentence in (tmp_path / "defects.html").read_text()


def _job(name: str) -> Job:
    return Job(name, "", (), ())


def act(job: Job, pipe: Connection) -> None:
    """Hang, die, be interrupted, or notice nothing, as the job's name says."""
    if job.name == "interrupted":
        os.kill(os.getpid(), signal.SIGINT)
        pipe.send(JobOutcome(asked=("continued",)))
        return
    if job.name == "hang":
        time.sleep(60)
    if job.name == "die":
        os._exit(3)
    pipe.send(JobOutcome())
