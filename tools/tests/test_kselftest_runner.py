# SPDX-License-Identifier: GPL-2.0-only
"""The runner of installed programs: one TAP document, whatever the programs do."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tools import kselftest_runner

RUNNER = Path(kselftest_runner.__file__)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return an installed tree without programs: collection kvmtests, two seconds for each."""
    (tmp_path / "kvmtests").mkdir()
    (tmp_path / "kvmtests/settings").write_text("# comment\ntimeout=2\n")
    return tmp_path


def install(base: Path, **programs: str) -> None:
    """Put *programs*, names and shell lines, into the tree and onto its list."""
    with (base / "kselftest-list.txt").open("a") as listing:
        for name, lines in programs.items():
            path = base / "kvmtests" / f"{name}.sh"
            path.write_text(f"#!/bin/sh\n{lines}\n")
            path.chmod(0o755)
            listing.write(f"kvmtests:{name}.sh\n")


def command(base: Path, *options: str) -> list[str]:
    """Return the words that run the tree."""
    return [sys.executable, str(RUNNER), "--base", str(base), *options]


def run(base: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the tree to its end."""
    return subprocess.run(
        command(base, *options),
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize(
    ("lines", "line", "status"),
    [
        pytest.param("exit 0", "ok 1 selftests: kvmtests: it.sh", 0, id="pass"),
        pytest.param("exit 1", "not ok 1 selftests: kvmtests: it.sh # exit=1", 1, id="fail"),
        pytest.param("exit 4", "ok 1 selftests: kvmtests: it.sh # SKIP", 4, id="skip"),
        pytest.param("exit 77", "not ok 1 selftests: kvmtests: it.sh # exit=77", 1, id="other"),
        pytest.param("kill -KILL $$", "not ok 1 selftests: kvmtests: it.sh # exit=137", 1, id="killed"),
        pytest.param("sleep 60", "not ok 1 selftests: kvmtests: it.sh # TIMEOUT 2 seconds", 1, id="late"),
    ],
)
def test_exit_status_decides_the_line(base: Path, lines: str, line: str, status: int) -> None:
    """Result lines are those of the kernel's runner; the exit status sums them up."""
    install(base, it=lines)

    done = run(base)

    assert done.stdout.startswith("TAP version 13\n1..1\n# timeout set to 2\n")
    assert done.stdout.splitlines()[-1] == line
    assert done.returncode == status


def test_output_follows_a_number_sign(base: Path) -> None:
    """Every line of a program, an unfinished last one included, is a comment of the document."""
    install(base, it="echo ok 1 inner; echo problem >&2; printf unfinished")

    done = run(base)

    assert "\n# ok 1 inner\n# problem\n# unfinished\nok 1 selftests: kvmtests: it.sh\n" in done.stdout


@pytest.mark.thorough
def test_output_before_the_limit_is_kept(base: Path) -> None:
    """What a program said before its time was up is in the log, and so is what TERM made it say."""
    install(base, it="trap 'echo ended; exit 1' TERM; echo begun; sleep 60 & wait")

    done = run(base)

    assert "# begun\n# ended\nnot ok 1" in done.stdout


def test_program_that_ignores_term_is_killed(base: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The kernel's runner would wait for ever."""
    install(base, it="trap '' TERM; while :; do sleep 1; done")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kselftest_runner, "GRACE_S", 1)
        status = kselftest_runner.main(["--base", str(base), "-o", "1"])

    assert status == 1
    assert capfd.readouterr().out.endswith("# TIMEOUT 1 seconds\n")


def test_program_that_cannot_run_is_a_failure(base: Path) -> None:
    """A file that is missing does not stop the others."""
    install(base, gone="exit 0", there="exit 0")
    (base / "kvmtests/gone.sh").unlink()

    done = run(base)

    assert "not ok 1 selftests: kvmtests: gone.sh # exit=126\n" in done.stdout
    assert done.stdout.endswith("ok 2 selftests: kvmtests: there.sh\n")


def test_arguments_and_limit_reach_the_program(base: Path) -> None:
    """KSELFTEST_NAME_ARGS are words of the command line; kselftest_timeout is the limit."""
    install(base, it='echo "$1/$2/$kselftest_timeout"')

    done = run(base, "-o", "7", KSELFTEST_IT_SH_ARGS="--target 'two words'")

    assert "# --target/two words/7\n" in done.stdout


def test_term_ends_the_document(base: Path) -> None:
    """The running program gets TERM, those that wait are skipped, the plan holds."""
    install(base, slow="echo begun; sleep 60 & wait", waits="exit 0")

    process = subprocess.Popen(command(base, "-o", "0"), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = ""
    while "# begun" not in seen:
        seen += process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=30)

    assert process.returncode == 1
    assert rest.splitlines() == [
        "not ok 1 selftests: kvmtests: slow.sh # exit=143",
        "ok 2 selftests: kvmtests: waits.sh # SKIP not run",
    ]


@pytest.mark.thorough
def test_programs_can_be_chosen(base: Path) -> None:
    """-l lists, -t takes one, -c a collection, -d only prints; an unknown name runs nothing."""
    install(base, one="exit 0", two="exit 0")

    assert run(base, "-l").stdout == "kvmtests:one.sh\nkvmtests:two.sh\n"
    assert "1..1\n" in run(base, "-t", "kvmtests:two.sh").stdout
    assert "1..2\n" in run(base, "-c", "kvmtests").stdout
    assert run(base, "-d", "-t", "kvmtests:two.sh").stdout == f"{base}/kvmtests/two.sh\n"
    assert run(base, "-t", "kvmtests:one.sh", "-t", "kvmtests:no.sh").returncode == 2


def test_programs_can_be_left_out(base: Path) -> None:
    """-S leaves a program out of all, or of what is chosen; a name that is not there changes nothing."""
    install(base, one="exit 0", two="exit 0")

    left = run(base, "-S", "kvmtests:one.sh", "--skip", "kvmtests:of-another-kernel.sh")
    none = run(base, "-t", "kvmtests:one.sh", "-S", "kvmtests:one.sh")

    assert (left.returncode, left.stdout.splitlines()[-1]) == (0, "ok 1 selftests: kvmtests: two.sh")
    assert "1..1\n" in left.stdout
    assert (none.returncode, none.stdout) == (4, "TAP version 13\n1..0 # SKIP every program is left out\n")


@pytest.mark.thorough
def test_failures_need_not_end_with_an_error(base: Path) -> None:
    """-f ends with 0 though programs failed; what was not run, or a run that was stopped, is not green."""
    install(base, fails="exit 1", stops="kill -TERM $PPID; sleep 60 & wait")

    failed = run(base, "--no-error-on-fail", "-t", "kvmtests:fails.sh")
    stopped = run(base, "-f", "-t", "kvmtests:stops.sh")

    assert failed.stdout.endswith("not ok 1 selftests: kvmtests: fails.sh # exit=1\n")
    assert (failed.returncode, stopped.returncode) == (0, 1)
    assert run(base, "-f", "-t", "kvmtests:unknown.sh").returncode == 2


def test_each_program_may_have_a_log_of_its_own(base: Path, tmp_path: Path) -> None:
    """-p leaves result lines on standard output, and each program's output in a file; -s excludes it."""
    install(base, it="echo said", other="echo more; exit 1", linked="exit 0")
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "linked.sh").symlink_to(tmp_path / "elsewhere")

    done = run(base, "--per-test-log", TMPDIR=str(logs))
    both = run(base, "-p", "-s")

    assert done.stdout.splitlines()[:4] == [
        "TAP version 13",
        "1..3",
        "ok 1 selftests: kvmtests: it.sh",
        "not ok 2 selftests: kvmtests: other.sh # exit=1",
    ]
    assert done.stdout.endswith("not ok 3 selftests: kvmtests: linked.sh # exit=126\n")
    assert (logs / "it.sh").read_text() == "# timeout set to 2\n# selftests: kvmtests: it.sh\n# said\n"
    assert (logs / "other.sh").read_text().endswith("# more\n")
    assert not (tmp_path / "elsewhere").exists()
    assert both.returncode == 2


def test_program_may_have_a_network_namespace_of_its_own(base: Path) -> None:
    """-n runs each program where the only interface is lo."""
    install(base, it="tail -n +3 /proc/net/dev | cut -d: -f1")
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("network namespaces need root")

    done = run(base, "--netns")

    assert [line for line in done.stdout.splitlines() if line.startswith("#  ")] == ["#     lo"]
    assert done.returncode == 0


def test_summary_puts_output_into_a_file(base: Path) -> None:
    """-s leaves result lines on standard output and all else in output.log."""
    install(base, it="echo said")

    done = run(base, "-s")

    assert done.stdout == "TAP version 13\n1..1\nok 1 selftests: kvmtests: it.sh\n"
    assert "# said\n" in (base / "output.log").read_text()
