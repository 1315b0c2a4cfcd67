# SPDX-License-Identifier: GPL-2.0-only
"""Two runs, one folder: the second says who holds it and touches nothing."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.lock import FILE, Held, Lock

HOLDER = """
import pathlib, sys, time
from reports.lock import Lock
lock = Lock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Give a process that holds the lock of *tmp_path*."""
    words = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_second_run_reports_who_holds_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """The sentence has the folder, the process, since when, and what to do."""
    with pytest.raises(Held) as raised:
        Lock(tmp_path)

    said = str(raised.value)
    assert said.startswith(f"another run writes into {tmp_path} (process {holder.pid}, since 2")
    assert said.endswith("; wait for its end, or choose another folder with O= or --report-dir")


def test_lock_ends_with_its_process(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """A process that was killed holds nothing."""
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(timeout=30)

    with Lock(tmp_path):
        assert f"process {os.getpid()}," in (tmp_path / FILE).read_text()
    assert not (tmp_path / FILE).exists()


def test_file_removed_between_opening_and_locking_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that opens the file just before its holder removes it locks the next one."""
    first = Lock(tmp_path)
    real = fcntl.flock

    def late(fd: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        first.release()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    second = Lock(tmp_path)

    with pytest.raises(Held):
        Lock(tmp_path)
    second.release()


def test_release_counts_in_forked_processes(tmp_path: Path) -> None:
    """A forked process also has the descriptor, and keeps nothing locked by it."""
    lock = Lock(tmp_path)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write_end)
        os.read(read_end, 1)
        os._exit(0)

    lock.release()
    Lock(tmp_path).release()

    os.close(write_end)
    assert os.waitpid(child, 0)[1] == 0
    os.close(read_end)


def test_started_programs_do_not_hold_it(tmp_path: Path) -> None:
    """An emulator that outlives the run does not keep other runs from the folder."""
    lock = Lock(tmp_path)
    with subprocess.Popen(["sleep", "100"], close_fds=False) as program:
        lock.release()
        Lock(tmp_path).release()
        program.kill()


def test_folder_that_takes_no_file_is_not_an_error_of_the_lock(tmp_path: Path) -> None:
    """Where the lock cannot be written, the next writer gives the reason."""
    (tmp_path / "file").touch()

    Lock(tmp_path / "file").release()


def test_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    """The lock's line never goes into a file of another program."""
    (tmp_path / "mine").write_text("mine")
    (tmp_path / FILE).symlink_to("mine")

    Lock(tmp_path).release()

    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("text", ["", "\x1b]0;title\x07", "x" * 5000])
def test_line_of_others_is_not_shown_as_ours(
    tmp_path: Path, holder: subprocess.Popen[str], text: str
) -> None:
    """What is not plain text in the lock's file is not shown, and what is long is cut."""
    assert holder.pid
    (tmp_path / FILE).write_text(text)

    with pytest.raises(Held) as raised:
        Lock(tmp_path)

    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < len(str(tmp_path)) + 400


def test_session_of_pytest_is_refused(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """pytest --report-dir ends before its first test, status 2, one sentence, and writes no file."""
    (tmp_path / "test_a.py").write_text("def test_a():\n    raise SystemExit('ran')\n")
    words = [sys.executable, "-m", "pytest", "-p", "reports.plugin", "--report-dir", str(tmp_path)]

    done = subprocess.run(
        [*words, "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path / "test_a.py")],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(f"(process {holder.pid}, since") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, "test_a.py"]


def test_a_run_leaves_no_lock(tmp_path: Path) -> None:
    """The folder of a run that ended holds reports only."""
    with Lock(tmp_path), pytest.raises(Held):
        Lock(tmp_path)

    assert list(tmp_path.iterdir()) == []
