# SPDX-License-Identifier: GPL-2.0-only
"""The line "as C:" of a failure, run by a shell as the terminal and the page show it."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tools.tests.exported import HAS_KVM, ROOT, compiled, run

pytestmark = pytest.mark.timeout(300)

NAME = 'it\'s $(touch oops) `touch oops`; "two  blanks" *?[~]'
PLANTED = f"""\
import pytest

pytestmark = pytest.mark.promise(documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_OFFSET")


@pytest.mark.parametrize("word", [1, 2], ids=[{NAME!r}, "other"])
def test_offset_is_another(vcpu, word):
    "The offset is not the one that was set, which is false."
    vcpu.tsc_offset = word

    assert vcpu.tsc_offset == 2
"""


@dataclass(frozen=True)
class FailedRun:
    """A checkout in which one claim failed, and the command for it on the terminal and in the page."""

    checkout: Path
    terminal: str
    page: str


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> FailedRun:
    """Return how a claim failed whose id has characters that a shell acts on."""
    checkout = tmp_path_factory.mktemp("checkout")
    (checkout / ".venv").symlink_to(Path(sys.executable).parents[1])
    for room in ("fixtures", "reports", "tools"):
        (checkout / room).symlink_to(ROOT / room)
    for name in ("conftest.py", "pytest.ini"):
        shutil.copy(ROOT / name, checkout)
    without_claims = shutil.ignore_patterns("test_*", "__pycache__")
    shutil.copytree(ROOT / "kvmtests", checkout / "kvmtests", ignore=without_claims)
    (checkout / "kvmtests/x86/test_planted.py").write_text(PLANTED)
    words = ["pytest", "-p", "no:cacheprovider", "--target", "sim-x86_64", "--report-dir=out", "kvmtests"]
    output = by_shell(checkout, ".venv/bin/python", "-m", *words).stdout

    (terminal,) = re.findall(r"^ *as C: (.*)$", output, re.MULTILINE)
    page = re.findall(r"<dt>as C</dt><dd><code>(.*?)</code>", (checkout / "out/report.html").read_text())
    return FailedRun(checkout, terminal, html.unescape(page[0]))


def by_shell(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Return what *words*, or one line for a shell, do in *checkout*."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = list(words) if len(words) > 1 else ["sh", "-c", *words]
    return subprocess.run(
        command, cwd=checkout, env=kept, capture_output=True, text=True, timeout=200, check=False
    )


@pytest.mark.thorough
def test_line_writes_the_program_of_that_case(failed: FailedRun) -> None:
    """A shell that runs it writes repro.c, of the failed case alone; the page shows the same line."""
    done = by_shell(failed.checkout, failed.terminal)

    text = (failed.checkout / "repro.c").read_text()
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert failed.terminal == failed.page
    assert "The offset is not the one that was set, which is false." in text
    assert text.count("int main(void)") == 1
    assert not (failed.checkout / "oops").exists()


@pytest.mark.thorough
@HAS_KVM
def test_program_that_the_line_writes_fails_as_the_claim_did(failed: FailedRun, tmp_path: Path) -> None:
    """Compiled and run, what the line wrote is `not ok` on every KVM that has the attribute."""
    by_shell(failed.checkout, failed.terminal)

    done = run(compiled((failed.checkout / "repro.c").read_text(), tmp_path))

    if done.returncode == 4:
        pytest.skip(f"this host's KVM lacks something: {done.stdout}")
    assert done.returncode == 1, done.stdout
    assert done.stdout.endswith(" == 2 does not hold: vcpu.tsc_offset == 2\n")
