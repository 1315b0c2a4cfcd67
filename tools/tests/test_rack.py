# SPDX-License-Identifier: GPL-2.0-only
"""A rack under labgrid: two hosts over SSH, and a board that has nothing but its console (docs/rack.md)."""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reports import read_journal
from reports.model import Run, Verdict
from tools.rack import ENVIRONMENT
from tools.tests import rack, rack_qemu

ROOT = Path(__file__).parents[2]
TEST = "get_clock"

pytestmark = [pytest.mark.rack, pytest.mark.timeout(1200)]


@pytest.fixture(autouse=True)
def labgrid(pytestconfig: pytest.Config) -> None:
    """Install labgrid into its environment."""
    if "rack" not in (pytestconfig.option.markexpr or ""):
        pytest.skip("racks are built only with: pytest -m rack")
    words = [sys.executable, "tools/venv.py", "--into", str(ENVIRONMENT), "rack"]
    with (ROOT / ".venv/.rack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        pytest.skip(f"labgrid cannot be installed: {(done.stderr or done.stdout).strip()[-300:]}")


def run(environment: Path, out: Path, *words: str) -> tuple[int, Run, str]:
    """Run the suite on the boards of *environment*; return status, results and what was printed."""
    command = [sys.executable, "-m", "tools.rack", "--env", str(environment), f"--out={out}", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1100, check=False)
    logs = "".join(path.read_text(errors="replace") for path in out.glob("rack/*/*.log"))
    return done.returncode, read_journal.read([out / "journal.jsonl"]), done.stdout + done.stderr + logs


def test_every_claim_runs_on_both_hosts(tmp_path: Path) -> None:
    """Both hosts get the suite and run the same claims; the boards' names distinguish the results."""
    reason = rack.missing()
    if reason:
        pytest.skip(reason)
    with rack.rack(tmp_path) as environment:
        words = [f"--python={sys.executable}", f"--folder={tmp_path}/there", "--target=sim-x86_64"]
        status, found, said = run(
            environment, tmp_path / "out", *words, "-k", "test_set_value_takes_effect and zero"
        )

    assert status == 0, said
    alpha, beta = (
        [result for result in found.results if result.target == f"sim-x86_64@{name}"] for name in rack.NAMES
    )
    assert len(alpha) + len(beta) == len(found.results) > 0
    assert [result.name for result in alpha] == [result.name for result in beta]
    assert {result.verdict for result in found.results} == {Verdict.PASS}
    names = {session.host: dict(session.facts).get("hostname") for session in found.sessions}
    assert names == {"alpha": "alpha", "beta": "beta"}
    assert not list((tmp_path / "there").glob("*/*"))


@pytest.fixture
def console_only() -> None:
    """Skip where there can be no board in QEMU."""
    if reason := rack_qemu.missing():
        pytest.skip(reason)


@pytest.mark.usefixtures("console_only")
def test_board_without_a_network(tmp_path: Path) -> None:
    """The suite goes over the console, its results come back over it, and the console names each test."""
    environment = rack_qemu.environment(tmp_path)

    status, found, said = run(environment, tmp_path / "out", "-k", TEST)

    assert status == 0, said
    assert {result.verdict for result in found.results} <= {Verdict.PASS, Verdict.SKIP, Verdict.XFAIL}
    assert "cloud-amd64" in found.targets[0].kernel
    console = (tmp_path / f"out/rack/{rack_qemu.NAME}/console_{rack_qemu.NAME}").read_text(errors="replace")
    assert all(f"kvmtests: test {result.nodeid}" in console for result in found.results)


@pytest.mark.usefixtures("console_only")
def test_board_that_dies_names_the_test(tmp_path: Path) -> None:
    """A panic in the middle costs that test, with the console's last lines as its log."""
    environment = rack_qemu.environment(tmp_path, dies=True)

    status, found, said = run(environment, tmp_path / "out", "-k", TEST)

    assert status == 1, said
    (lost,) = (result for result in found.results if result.verdict is Verdict.ERROR)
    assert lost.nodeid.startswith("kvmtests/")
    assert f"the board {rack_qemu.NAME} was lost" in lost.message
    assert "Kernel panic" in lost.log


@pytest.mark.usefixtures("console_only")
def test_board_that_takes_no_file_says_so(tmp_path: Path) -> None:
    """Without a receiver on the board the reason is one sentence, and the run fails."""
    environment = rack_qemu.environment(tmp_path, receiver=False)

    status, found, said = run(environment, tmp_path / "out", "-k", TEST)

    assert status == 1, said
    (lost,) = found.results
    assert "the suite cannot be sent: No XMODEM receiver" in lost.message


def test_environments_of_the_page_are_labgrids(tmp_path: Path) -> None:
    """Each environment that docs/rack.md shows names resources and drivers that labgrid can bind."""
    page = (ROOT / "docs/rack.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```yaml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert len(shown) == 3
    program = (
        "import sys, labgrid\n"
        "environment = labgrid.Environment(sys.argv[1])\n"
        "for name in environment.config.get_targets():\n"
        "    print(name, len(environment.get_target(name).drivers))\n"
    )

    for number, text in enumerate(shown):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        words = [str(ENVIRONMENT / "bin/python"), "-c", program, str(path)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
