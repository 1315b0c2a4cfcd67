# SPDX-License-Identifier: GPL-2.0-only
"""A run outlives its readers: closed pipes, full disks, closed descriptors, narrow encodings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reports import read_journal
from tools.tests.fault_suite import is_running, wait_for
from tools.tests.usual import few_of

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).resolve().parents[2]
CHECK = f"{sys.executable} -m tools.check --jobs 0 --target"
ONE_CLAIM = "kvmtests/common/test_target.py::test_api_version_is_12"
PASSES = f"{CHECK} sim-arm64-vhe {ONE_CLAIM} --out"


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run *line* in a shell, in the checkout."""
    return subprocess.run(
        ["sh", "-c", line],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param("| true", id="reader-that-left"),
        pytest.param("2>&1 | head -n 1", id="head", marks=pytest.mark.thorough),
        pytest.param(">/dev/full", id="full", marks=pytest.mark.thorough),
        pytest.param(">/dev/full 2>&1", id="both-full", marks=pytest.mark.thorough),
        pytest.param(">&-", id="closed", marks=pytest.mark.thorough),
        pytest.param(">&- 2>&- <&-", id="all-closed"),
    ],
)
def test_run_ends_well_whatever_reads_it(tmp_path: Path, rest: str) -> None:
    """The run finishes, writes its reports, and returns its status; nothing is said about the pipe."""
    status = tmp_path / "status"

    done = shell(f"{{ {PASSES} {tmp_path}/out; echo $? >{status}; }} {rest}")

    assert status.read_text() == "0\n", done.stdout + done.stderr
    assert (tmp_path / "out/report.html").is_file()
    assert [result.verdict for result in read_journal.read([tmp_path / "out/journal.jsonl"]).results] == [
        "pass"
    ]
    assert "Error" not in done.stderr


def test_failure_is_1_though_nobody_reads(tmp_path: Path) -> None:
    """The status of a run that fails does not become that of a broken pipe."""
    claim = "kvmtests/x86/test_set_clock.py::test_unknown_flag_is_refused_and_changes_nothing"
    command = f"{CHECK} sim-x86_64 --out {tmp_path}/out -- {claim} --defect C07 --de-facto=fail"

    shell(f"{{ {command}; echo $? >{tmp_path}/status; }} | true")

    assert (tmp_path / "status").read_text() == "1\n"


@pytest.mark.parametrize("encoding", few_of(["ascii", "latin-1", "utf-8"], {"ascii"}))
def test_table_is_readable_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    """No escape stands in the summary where the encoding has no middle dot."""
    done = subprocess.run(
        [*PASSES.split(), str(tmp_path / "out")],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True,
        timeout=250,
        check=False,
    )

    (row,) = (line for line in done.stdout.splitlines() if line.startswith(b"sim-arm64-vhe (simulated) "))
    dot = "." if encoding == "ascii" else "·"
    assert row.decode(encoding).split()[3:9] == [dot] * 6


def test_file_opened_after_a_closed_descriptor_is_not_written_to(tmp_path: Path) -> None:
    """With descriptor 1 closed, the first file would get its number, and what is printed."""
    script = (
        "import sys; from tools import streams; streams.hold(); "
        f"file = open({str(tmp_path / 'file')!r}, 'w'); print('printed', flush=True)"
    )

    done = shell(f'{sys.executable} -c "{script}" >&-')

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file").read_text() == ""


PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", '''
import os, pathlib, sys, time
from tools import streams
streams.end_with_parent()
pathlib.Path(sys.argv[1], "pid").write_text(str(os.getpid()))
time.sleep(100)
''', sys.argv[1]]).wait()
"""


def test_command_ends_with_its_parent(tmp_path: Path) -> None:
    """make, killed, leaves nothing that runs on."""
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], cwd=ROOT) as parent:
        wait_for(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
        child = int((tmp_path / "pid").read_text())
        os.kill(parent.pid, signal.SIGKILL)

    wait_for(lambda: not is_running(child))
