# SPDX-License-Identifier: GPL-2.0-only
"""How sessions end early: signals, -x, and what their journals and reports say of it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reports import files
from reports.model import Verdict
from reports.tests.sessions import call, command, environment, journal, session, start, suite

# Every test starts pytest, some of them with workers, and waits for it.
pytestmark = pytest.mark.timeout(180)

WAITS = """
import os, pathlib, time
import pytest

@pytest.mark.parametrize("number", range(4))
def test_quick(number):
    pass

@pytest.mark.parametrize("number", range(4))
def test_waits(number):
    (pathlib.Path(__file__).parent / f"pid-{os.getpid()}").touch()
    time.sleep(100)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with tests that wait."""
    suite(tmp_path, WAITS)
    return tmp_path


def waiting(folder: Path, count: int) -> list[int]:
    """Return the processes in which a test waits, once there are *count* of them."""
    deadline = time.monotonic() + 100
    while len(found := list(folder.glob("pid-*"))) < count:
        assert time.monotonic() < deadline, "no test came so far"
        time.sleep(0.02)
    return [int(path.name.partition("-")[2]) for path in found]


def alive(pids: list[int]) -> Iterator[int]:
    """Yield those of *pids* that still run."""
    for pid in pids:
        path = Path(f"/proc/{pid}/stat")
        if path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z":
            yield pid


ENDINGS = [
    pytest.param(signal.SIGINT, 2, "interrupted by Ctrl-C", id="ctrl-c"),
    pytest.param(signal.SIGTERM, 128 + 15, "interrupted by SIGTERM", id="term"),
    pytest.param(signal.SIGHUP, 128 + 1, "interrupted by SIGHUP", id="hup"),
]


@pytest.mark.thorough
@pytest.mark.parametrize(("number", "status", "words"), ENDINGS)
@pytest.mark.parametrize(
    ("workers", "group"),
    [
        pytest.param("0", False, id="alone"),
        pytest.param("2", False, id="controller"),
        pytest.param("2", True, id="controller-and-workers"),
    ],
)
def test_signal_ends_the_session_in_order(
    folder: Path, workers: str, number: signal.Signals, status: int, words: str, group: bool
) -> None:
    """A signal to pytest, or to its whole group: an end record, reports, a status, no worker left."""
    process = start(folder, "-n", workers)
    pids = waiting(folder, max(1, int(workers)))

    (os.killpg if group else os.kill)(process.pid, number)
    output, _ = process.communicate(timeout=100)

    found = session(folder)
    assert (process.returncode, found.exit_status, found.stopped) == (status, status, words), output
    verdicts = [result.verdict for result in journal(folder).results]
    assert verdicts == [Verdict.PASS] * 4 + [Verdict.NOT_RUN] * 4
    assert all((folder / "out" / name).is_file() for name in files.WRITERS)
    assert f"NOT FINISHED: {words}: 4 of 8 collected tests did not run" in output
    assert not list(alive(pids))


@pytest.mark.thorough
@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("gap_s", [0.0, 0.2])
def test_second_ctrl_c_changes_nothing(folder: Path, workers: str, gap_s: float) -> None:
    """Two Ctrl-C of an impatient user: the journal does not say that all was well, nor does a report."""
    process = start(folder, "-n", workers)
    waiting(folder, max(1, int(workers)))

    os.killpg(process.pid, signal.SIGINT)
    time.sleep(gap_s)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=100)

    assert process.returncode != 0
    assert session(folder).interrupted
    assert session(folder).exit_status != 0, output
    page = (folder / "out" / "report.html").read_text()
    assert 'class="headline stopped"' in page


@pytest.mark.thorough
def test_signal_that_a_callback_swallows_ends_the_session_after_its_test(tmp_path: Path) -> None:
    """What a signal raises may be lost in a destructor or in C: the next test does not start."""
    suite(
        tmp_path,
        "import os, signal\n"
        "class Swallows:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "def test_a():\n    Swallows()\n"
        "def test_b():\n    pass\n",
    )

    done = call(tmp_path)

    assert done.returncode == 128 + signal.SIGTERM, done.stdout
    assert [result.verdict for result in journal(tmp_path).results][1:] == [Verdict.NOT_RUN]


@pytest.mark.thorough
def test_signals_that_the_caller_ignores_stay_ignored(tmp_path: Path) -> None:
    """Under nohup a hangup ends nothing."""
    suite(tmp_path, "import os, signal\ndef test_a():\n    os.kill(os.getpid(), signal.SIGHUP)\n")
    script = f"trap '' HUP; exec {' '.join(command())}"

    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environment(), capture_output=True, timeout=100, check=False
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.thorough
def test_terminal_that_goes_away_costs_no_report(folder: Path) -> None:
    """A closed terminal hangs the session up: it prints nothing, writes its reports, and gives status 129."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command()],
        cwd=folder,
        env=environment(),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    (pid,) = waiting(folder, 1)
    handle = os.pidfd_open(pid)

    os.close(controller)
    process.wait(100)

    assert session(folder).stopped == "interrupted by SIGHUP"
    assert process.returncode == 128 + signal.SIGHUP
    assert (folder / "out" / "report.html").is_file()
    os.close(handle)


@pytest.mark.thorough
@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(
    ("option", "words"),
    [("-x", "stopped after the first failure"), ("--maxfail=2", "stopped after 2 failures")],
)
def test_session_that_failures_stop_is_not_an_interruption(
    tmp_path: Path, workers: str, option: str, words: str
) -> None:
    """-x and --maxfail give status 1 and the reason in words, with and without workers."""
    suite(
        tmp_path,
        "import pytest\n@pytest.mark.parametrize('number', range(100))\ndef test_a(number):\n    assert 0\n",
    )

    done = call(tmp_path, option, "-n", workers)

    assert done.returncode == 1, done.stdout
    found = session(tmp_path)
    assert (found.stopped, found.limited, found.interrupted) == (words, True, False)
    assert f"NOT FINISHED: {words}: " in done.stdout


@pytest.mark.thorough
def test_interruption_of_the_interruption_is_none_that_is_well(tmp_path: Path) -> None:
    """A KeyboardInterrupt while pytest handles one leaves its status at 0: the results decide."""
    suite(tmp_path, "def test_a(): raise KeyboardInterrupt\ndef test_b(): pass\n")
    (tmp_path / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_keyboard_interrupt(excinfo):\n    raise KeyboardInterrupt\n"
    )

    done = call(tmp_path)

    assert done.returncode != 0
    assert session(tmp_path).interrupted
    assert 'class="headline stopped"' in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.thorough
def test_journal_names_what_was_collected_before_the_first_test(folder: Path) -> None:
    """What did not run can be named however the session ends: the collection is recorded first."""
    process = start(folder, "-n", "2")
    waiting(folder, 2)
    process.kill()
    process.communicate(timeout=100)

    kinds = [json.loads(line)["type"] for line in (folder / "out/journal.jsonl").read_text().splitlines()]
    names = {result.name for result in journal(folder).results}
    assert kinds.index("collection") < kinds.index("start")
    assert len(names) == 8
    assert all(re.fullmatch(r"test_(quick|waits)\.\d", name) for name in names)
