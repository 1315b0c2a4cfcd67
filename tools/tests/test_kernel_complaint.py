# SPDX-License-Identifier: GPL-2.0-only
"""A real kernel that logs a warning during a test: the test fails, and each report has the kernel's line.

One lab host of each architecture, skipped where its parts were not fetched (`make lab`).
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from fixtures.lab import availability
from fixtures.lab.errors import LabError
from fixtures.lab.hosts import LAB_HOSTS

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 600
CLAIM = "kvmtests/common/test_target.py::test_api_version_is_12"
LINE = "WARNING: CPU: 0 PID: 1 at virt/kvm/kvm_main.c:1 kvm_trial+0x1/0x2 <script>&amp;"
"""What the kernel is made to log: a warning, with what a page would take for markup."""

pytestmark = pytest.mark.timeout(LIMIT_S)


@dataclass(frozen=True, slots=True)
class ComplainedRun:
    """How a run ended in which the kernel complained, and its reports."""

    lab_host: str
    status: int
    output: str
    folder: Path

    def text(self, name: str) -> str:
        """Return the report called *name*."""
        return (self.folder / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=["lab-arm64-vhe", "lab-x86_64-svm"])
def complaint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ComplainedRun:
    """One claim on a lab host whose kernel logs LINE meanwhile."""
    name = str(request.param)
    try:
        availability.check(LAB_HOSTS[name])
    except LabError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp(name)
    words = ["--target", name, "--provoke-kernel", LINE, f"--report-dir={folder}", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", CLAIM, *words],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    return ComplainedRun(name, done.returncode, done.stdout + done.stderr, folder)


@pytest.mark.thorough
def test_run_fails_and_names_the_line(complaint: ComplainedRun) -> None:
    """pytest ends with status 1, and its output has the kernel's line."""
    assert complaint.status == 1, complaint.output
    assert f"the kernel logged: {LINE}" in complaint.output


@pytest.mark.thorough
def test_ktap_has_the_line(complaint: ComplainedRun) -> None:
    """KTAP has `not ok`, and the line in a diagnostic above it."""
    lines = [line.strip() for line in complaint.text("results.ktap").splitlines()]

    said = lines.index(f"# the kernel logged: {LINE}")
    failed = next(
        number for number, line in enumerate(lines) if re.match(r"not ok \d+ test_api_version", line)
    )
    assert said < failed


@pytest.mark.thorough
def test_junit_has_the_line(complaint: ComplainedRun) -> None:
    """JUnit's failure has it as its message, whole after an XML parser has read it."""
    document = ET.fromstring(complaint.text("junit.xml"))  # noqa: S314  # we wrote it
    found = [each.get("message") for each in document.iter("failure")]

    assert found == [f"the kernel logged: {LINE}"]


@pytest.mark.thorough
def test_page_has_the_line_as_text(complaint: ComplainedRun) -> None:
    """report.html shows it, and nothing in it is markup."""
    page = complaint.text("report.html")

    assert html.escape(f"the kernel logged: {LINE}", quote=False) in page
    assert LINE not in page
