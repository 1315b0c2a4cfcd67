# SPDX-License-Identifier: GPL-2.0-only
"""LKFT's job run here: the command line of the rendered job, LAVA's overlay, and what a console says."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures.lab.errors import LabError
from reports.squad import COMPLETE
from reports.tests.clients import INSTALL_S, python_client
from tools.lkft import command, console, job, overlay, rootfs
from tools.lkft.console import EmulatedBoard, JobResults
from tools.lkft.job import CannotRun, LavaJob

DEFINITION: dict[str, Any] = {
    "params": {"KVMTESTS_URL": "", "BOARD": "any"},
    "run": {"steps": ["cd ./automated", "./kvmtests.sh -b ${BOARD}"]},
}
JOB = LavaJob(
    job={
        "actions": [
            {
                "deploy": {
                    "images": {
                        "kernel": {"image_arg": '-kernel {kernel} -append "console=ttyAMA0 debug"'},
                        "rootfs": {"image_arg": "-initrd {rootfs}"},
                    }
                }
            },
            {
                "boot": {
                    "timeout": {"minutes": 2},
                    "auto_login": {"login_prompt": "login:"},
                    "prompts": ["root@(.*):[/~]#", "[/~] #"],
                }
            },
            {
                "test": {
                    "timeout": {"minutes": 15},
                    "definitions": [
                        {"name": "kvmtests", "lava-signal": "kmsg", "parameters": {"BOARD": "qemu-arm64"}}
                    ],
                }
            },
        ]
    },
    device={
        "actions": {
            "boot": {
                "methods": {
                    "qemu": {
                        "parameters": {
                            "command": "qemu-system-aarch64",
                            "options": ["-cpu max", "-m 4G"],
                            "extra": ["-no-reboot", "-smp 2"],
                        }
                    }
                }
            }
        }
    },
    definition=DEFINITION,
)

BOARD = """
import sys
print("Linux version 6.12", flush=True)
print("lkft login: ", end="", flush=True)
assert sys.stdin.readline() == "root\\n"
print("root@lkft:~# ", end="", flush=True)
assert sys.stdin.readline() == "/lava-0/bin/lava-test-runner /lava-0/0\\n"
print("<0>[  12.3] <LAVA_SIGNAL_STARTRUN 0_kvmtests 0_1.1>")
print("<0>[  12.4] <LAVA_SIGNAL_TESTCASE TEST_CASE_ID=host.arm64.timers.one RESULT=pass>")
print("<0>[  12.5] <LAVA_SIGNAL_TESTCASE TEST_CASE_ID=host.x.size RESULT=pass MEASUREMENT=3.0 UNITS=ns>")
print("<0>[  12.6] <LAVA_SIGNAL_TESTCASE TEST_CASE_ID=host.arm64.timers.two RESULT=fail>")
print("<0>[  12.7] <LAVA_SIGNAL_ENDRUN 0_kvmtests 0_1.1>")
print("<LAVA_TEST_RUNNER EXIT>", flush=True)
sys.stdin.readline()
"""
"""A program that says what a board says."""


def test_command_line_is_the_device_s_then_the_images() -> None:
    """Options come in the order in which LAVA joins them; only the files are ours."""
    words = JOB.command({"kernel": Path("/k/Image"), "rootfs": Path("/a b/rootfs")})

    assert words == (
        "qemu-system-aarch64 -cpu max -m 4G -no-reboot -smp 2"
        " -kernel /k/Image -append \"console=ttyAMA0 debug\" -initrd '/a b/rootfs'"
    )


def test_job_s_parameters_come_after_the_definition_s() -> None:
    """run.sh sets both, so that the job's count, and runs the steps between the two signals."""
    lines = overlay.run_script(JOB, "/lava-0/0/tests/0_kvmtests", "0_kvmtests").splitlines()

    assert lines[:3] == ["KVMTESTS_URL=''", "BOARD='any'", "BOARD='qemu-arm64'"]
    start, end = (
        next(at for at, line in enumerate(lines) if word in line) for word in ("STARTRUN", "ENDRUN")
    )
    assert lines[start + 1 : end - 2] == ["set -x", *DEFINITION["run"]["steps"]]
    assert lines[start].endswith(" >/dev/kmsg")


def test_board_is_used_as_lava_uses_it(tmp_path: Path) -> None:
    """Login, runner, signals: each case once with its result, and the console in a file."""
    program = shlex.join([sys.executable, "-c", BOARD])

    results = console.run(JOB, program, tmp_path / "console.txt", 30)

    assert results.cases == (
        ("host.arm64.timers.one", "pass"),
        ("host.x.size", "pass"),
        ("host.arm64.timers.two", "fail"),
    )
    assert results.ended
    assert "lkft login: " in (tmp_path / "console.txt").read_text()


def test_board_that_dies_is_a_sentence(tmp_path: Path) -> None:
    """A board that ends, prints nothing in time, or whose emulator is absent, cannot be judged."""
    silent = shlex.join([sys.executable, "-c", "import time; time.sleep(30)"])

    with pytest.raises(CannotRun, match="the board ended"):
        console.run(JOB, shlex.join([sys.executable, "-c", "print('panic')"]), tmp_path / "console.txt", 30)
    with (
        EmulatedBoard(silent, tmp_path / "console.txt") as board,
        pytest.raises(CannotRun, match=r"within 0\.2 s"),
    ):
        board.expect([re.compile(b"login:")], 0.2)


@pytest.mark.parametrize(
    ("cases", "ended", "status"),
    [
        pytest.param((("a", "pass"), ("b", "skip")), True, 0, id="well"),
        pytest.param((("a", "pass"), ("b", "fail")), True, 1, id="failure"),
        pytest.param((("a", "pass"),), False, 1, id="broken-off"),
        pytest.param((), True, 1, id="nothing"),
    ],
)
def test_exit_status(cases: tuple[tuple[str, str], ...], ended: bool, status: int) -> None:
    """0 only for a definition that came to its end with cases, none of which failed."""
    assert command.status_of(JobResults(cases, ended, 1, 2)) == status


@pytest.mark.thorough
@pytest.mark.clients
@pytest.mark.timeout(INSTALL_S + 1900)
def test_rendered_job_runs_here(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """The board of the very command line that tuxlava renders says a verdict of every claim in time."""
    python_client("python", pytestconfig, "kernel-ci")
    try:
        rootfs.packages("arm64").sound_files()
    except LabError as error:
        pytest.skip(f"{error}; python -m tools.lkft fetches them as well")

    results = command.run(tmp_path, "6.12", "")

    assert results.ended, (tmp_path / command.CONSOLE).read_text(errors="replace")[-2000:]
    assert len(results.cases) > 500
    assert results.test_s < 900
    assert {result for _, result in results.cases} <= {"pass", "skip"}
    assert not [name for name, _ in results.cases if name.endswith(f".{COMPLETE}")]  # of a run that broke off


@pytest.mark.clients
@pytest.mark.timeout(INSTALL_S + 60)
def test_job_is_rendered_with_the_files(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """tuxlava takes an archive as root file system: the board gets it with -initrd, and no disk."""
    python_client("python", pytestconfig, "kernel-ci")
    kernel, archive = tmp_path / "Image", tmp_path / rootfs.NAME
    for path in (kernel, archive):
        path.touch()

    rendered = job.render(command.DEVICE, kernel, archive, "kvm-arm.mode=nvhe")

    words = shlex.split(rendered.command({"kernel": kernel, "rootfs": archive}))
    assert words[0] == "qemu-system-aarch64"
    assert "virtualization=on" in words[words.index("-machine") + 1]
    assert "kvm-arm.mode=nvhe" in words[words.index("-append") + 1].split()
    assert words[words.index("-initrd") + 1] == str(archive)
    assert (rendered.test["name"], rendered.test_s) == ("kvmtests", 900)
