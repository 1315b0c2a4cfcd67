# SPDX-License-Identifier: GPL-2.0-only
"""A small suite of claims in a folder of its own, for tests that break what it runs on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from reports import read_journal
from reports.model import Result

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 150
LEAN = ("-p", "no:hypothesispytest")
"""Loading that plug-in takes a quarter of the time of a short session."""

REPORTS = ("results.ktap", "results.tap", "junit.xml", "report.html", "kcidb.json")

FIRST = """
def test_first(vcpu):
    "A claim before the fault."
    assert vcpu.guest.read_tsc().value
"""
LAST = """
def test_last(vcpu):
    "A claim after the fault."
    assert vcpu.guest.read_tsc().value
"""


@dataclass(frozen=True, slots=True)
class EndedSession:
    """How a session ended, and what it left."""

    status: int
    output: str
    folder: Path

    @property
    def results(self) -> Mapping[str, Result]:
        """What the journal says of each test, by its name."""
        return {result.name: result for result in read_journal.read([self.folder / "journal.jsonl"]).results}

    def verdicts(self) -> dict[str, str]:
        """The verdict of each test, by its name."""
        return {name: result.verdict.value for name, result in self.results.items()}

    def has_reports(self) -> bool:
        """Whether every report is there."""
        return all((self.folder / name).is_file() for name in REPORTS)


class Suite:
    """Tests in *folder*, by default on the simulated x86 host."""

    def __init__(self, folder: Path, tests: str, conftest: str = "", target: str = "sim-x86_64") -> None:
        """Write the files; *conftest* is appended to that of the tree."""
        self.folder = folder
        self.out = folder / "out"
        self.target = target
        markers = "".join(
            f"  {name}\n" for name in ("every_target", "generation", "mode", "stress", "benchmark", "glance")
        )
        # Assertions of libraries are none of a claim's: warnings stay warnings here.
        (folder / "pytest.ini").write_text(
            f"[pytest]\npythonpath = {ROOT}\ntimeout = 60\nmarkers =\n{markers}"
        )
        (folder / "conftest.py").write_text((ROOT / "conftest.py").read_text(encoding="utf-8") + conftest)
        (folder / "test_claims.py").write_text(FIRST + tests + LAST)

    def command(self, *arguments: str) -> list[str]:
        """Return pytest's command line."""
        words = [sys.executable, "-m", "pytest", *LEAN, "-p", "no:cacheprovider", "--target", self.target]
        return [*words, "--report-dir", str(self.out), *arguments, str(self.folder)]

    def run(self, *arguments: str, before: Sequence[str] = ()) -> EndedSession:
        """Run the suite to its end, under the command *before*, if any."""
        process = self.start([*before, *self.command(*arguments)])
        return self.end(process)

    def start(self, words: Sequence[str]) -> subprocess.Popen[str]:
        """Start *words* in the suite's folder."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env={**environment, "TERM": "dumb"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, process: subprocess.Popen[str]) -> EndedSession:
        """Wait for *process*; it is killed where it does not end."""
        try:
            output, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            raise AssertionError(f"the session did not end: {output[-2000:]}") from None
        return EndedSession(process.returncode, output, self.out)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until *condition* holds; AssertionError where it never does."""
    deadline_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s, "what the test waits for did not happen"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether *pid* is a process that has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def namespaces() -> bool:
    """Whether this process may make mounts that no other process sees."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


in_namespace = pytest.mark.skipif(not namespaces(), reason="a mount namespace needs root and unshare")
