# SPDX-License-Identifier: GPL-2.0-only
"""Runs that are killed at random moments, and that the judge of what they leave notices each fault.

KVMTESTS_KILLS is how many runs of `make check` are killed (default 0: a hundred take a quarter of an
hour), KVMTESTS_KILLS_LAB how many of `make lab`. By hand: `python3 -m tools.tests.kills --help`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.tests import kills, processes
from tools.tests.kills import Kill, RawJournal, Tally, Whole

COUNTS = {
    "check": int(os.environ.get("KVMTESTS_KILLS", "0")),
    "lab": int(os.environ.get("KVMTESTS_KILLS_LAB", "0")),
}
WHOLE = Whole(1.0, 2)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", COUNTS)
def test_killed_runs_leave_what_they_recorded(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is killed, and when: no result lost, no process left, and the reports say it."""
    if not COUNTS[kind]:
        pytest.skip("takes minutes; KVMTESTS_KILLS and KVMTESTS_KILLS_LAB say how many runs")

    status = kills.main([kind, str(COUNTS[kind])])

    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("kind", kills.ROLES)
def test_seeds_reach_every_role_and_signal(kind: str) -> None:
    """A hundred seeds send each signal to each part, in front of and between the tests."""
    drawn = [Kill.drawn(seed, kills.ROLES[kind]) for seed in range(1, 101)]

    wanted = {(role, number) for role in kills.ROLES[kind] for number in kills.SIGNALS[role]}
    assert {(kill.role, kill.signal) for kill in drawn} == wanted
    assert {kill.counts_results for kill in drawn} == {True, False}
    assert Kill.drawn(7, kills.ROLES[kind]) == Kill.drawn(7, kills.ROLES[kind])


def test_words_for_make_may_follow_options() -> None:
    """`check 10 --seed 7 -- K=physical` gives make its variables."""
    arguments = kills.parsed(["check", "10", "--seed", "7", "--", "TARGET=host", "K=physical"])

    assert (arguments.count, arguments.seed) == (10, 7)
    assert arguments.words == ["TARGET=host", "K=physical"]


def records(*results: str) -> bytes:
    """Return a journal that collected a and b and has the verdicts of *results*, each "name verdict"."""
    found = [{"type": "session", "time_ns": time.time_ns()}, {"type": "collection", "nodeids": ["a", "b"]}]
    for result in results:
        name, _, verdict = result.partition(" ")
        found.append({"type": "result", "nodeid": name, "verdict": verdict})
    return b"".join(json.dumps(record).encode() + b"\n" for record in found)


def test_journal_that_is_torn_has_its_whole_records(tmp_path: Path) -> None:
    """A line without its end is not a record; a test that was collected and has no result is lacking."""
    (tmp_path / "journal.jsonl").write_bytes(records("a pass") + b'{"type":"result","nodeid":"b"')

    journal = RawJournal(tmp_path / "journal.jsonl")

    assert journal.results == {"a": "pass"}
    assert journal.lacking == {"b"}
    assert RawJournal(tmp_path / "none").lacking == set()


class EndedRun(kills.MakeRun):
    """A run that was killed, with status and processes as they are given."""

    def __init__(
        self, out: Path, recorded: dict[str, str], status: int, left: list[processes.Process]
    ) -> None:
        """Have left what lies in *out*."""
        self.out = out
        self.before = b""
        self.started_ns = time.time_ns() - 10**9
        self._ended = recorded, status, left

    def kill(self, kill: Kill, whole: Whole) -> dict[str, str] | None:
        """Return what had been recorded."""
        del kill, whole
        return self._ended[0]

    def end(self) -> tuple[int | None, list[processes.Process]]:
        """Return how it ended."""
        return self._ended[1], self._ended[2]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Journal and reports of a run that was stopped after its first test, as they should be."""
    (tmp_path / "journal.jsonl").write_bytes(records("a pass"))
    for name in kills.REPORTS:
        (tmp_path / name).write_text("NOT FINISHED: 1 of 2 tests did not run")
    return tmp_path


def judged(out: Path, status: int = 1, left: tuple[processes.Process, ...] = ()) -> list[str]:
    """Return what does not hold of the run that left *out*; it was killed with the result of a recorded."""
    kill = Kill.drawn(1, ("main",))
    return list(kills.judged(EndedRun(out, {"a": "pass"}, status, list(left)), kill, WHOLE, Tally()))


def test_run_that_was_stopped_well_has_no_finding(out: Path) -> None:
    """All recorded, nothing left, reports and status say it."""
    assert judged(out) == []


def test_role_that_no_run_had_is_a_finding() -> None:
    """Where every run ended before its main process was seen, the search has found nothing out."""
    tally = Tally()
    tally.runs["make SIGTERM"] = 3
    tally.late.update({"main": 2, "make": 1})

    assert list(tally.spared()) == ["no main was found to kill in 2 runs"]


def test_lost_and_changed_results_are_found(out: Path) -> None:
    """A result that the journal held must be there, with its verdict."""
    for content in (records(), records("a fail")):
        (out / "journal.jsonl").write_bytes(content)

        assert judged(out)[0] == "1 of 1 recorded results lost, a first"


def test_process_that_is_left_is_found(out: Path) -> None:
    """It is named with its command."""
    (found,) = judged(out, left=(processes.Process(1234, (b"qemu-system-aarch64", b"-S")),))

    assert "left after" in found
    assert "1234 (qemu-system-aarch64 -S)" in found


def test_old_report_next_to_a_new_journal_is_found(out: Path) -> None:
    """A report that is older than the run belongs to another."""
    os.utime(out / "junit.xml", (1, 1))

    assert judged(out) == ["junit.xml of the earlier run is still there"]


def test_stopped_run_that_looks_whole_is_found(out: Path) -> None:
    """Status 0, a report that says nothing, and a report that is missing."""
    (out / "report.html").write_text("58 passed")
    (out / "junit.xml").unlink()

    assert judged(out, status=0) == [
        "status 0 of a stopped run",
        "junit.xml is missing",
        "report.html does not say that the run was stopped",
    ]


@pytest.fixture
def mark() -> Iterator[str]:
    """The mark of processes that a test starts; all of them are ended after it."""
    own = uuid.uuid4().hex
    yield own
    for process in processes.of_run(own):
        os.kill(process.pid, signal.SIGKILL)


@pytest.mark.thorough
def test_process_in_a_session_of_its_own_is_found(mark: str) -> None:
    """Neither a session of its own nor a dead parent hides a process; one that ends is waited for."""
    code = "import subprocess; subprocess.Popen(['sleep', '{}'], start_new_session=True)"
    for seconds in ("1", "600"):
        subprocess.run(
            [sys.executable, "-c", code.format(seconds)],
            env={**os.environ, processes.VARIABLE: mark},
            check=True,
        )

    (left,) = processes.left_after(mark, 5)

    assert left.command == (b"sleep", b"600")


@pytest.mark.parametrize(
    ("command", "role"),
    [
        pytest.param("make check O=out", "make", id="make"),
        pytest.param(".venv/bin/python -m tools.check --jobs 2", "main", id="check"),
        pytest.param("/usr/bin/python3 -m tools.lab", "main", id="lab"),
        pytest.param(".venv/bin/python -m tools.make check", "main", id="through-another-module"),
        pytest.param("python3 tools/venv.py check", "helper", id="environment"),
        pytest.param("/usr/bin/qemu-system-aarch64 -S", "emulator", id="emulator"),
        pytest.param(
            "/c/lib64/ld-linux-x86-64.so.2 --library-path /c/lib /c/usr/bin/bochs-bin -q",
            "emulator",
            id="unpacked-emulator",
        ),
        pytest.param("sed -n p", "helper", id="anything-else"),
    ],
)
def test_role_of_a_process(command: str, role: str) -> None:
    """A process is known by its command."""
    assert processes.Process(1, tuple(command.encode().split())).role == role
