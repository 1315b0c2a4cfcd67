# SPDX-License-Identifier: GPL-2.0-only
"""A tree with the whole harness and one module of claims that has every verdict, for CIs' definitions."""

from __future__ import annotations

import shutil
from pathlib import Path

from reports.model import Verdict
from tools import kselftest

ROOT = Path(__file__).parents[2]
SUBJECT = "x86.planted"
TARGET = "sim-x86_64"

_CLAIMS = '''"""Claims with every verdict."""

import time

import pytest

from fixtures.kvm.errors import CapabilityMissing

pytestmark = pytest.mark.promise(architectural="Intel SDM 3B, Time-Stamp Counter")


@pytest.mark.parametrize("number", [1, 2])
def test_passes(vcpu, number):
    """The counter runs."""
    assert vcpu.guest.read_tsc().value


def test_fails(vcpu):
    """The counter stands."""
    assert vcpu.guest.read_tsc().value == 0


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_changed(target):
    """Kernels have always done this."""
    assert 2 == 3


def test_is_skipped(target):
    """What is absent is not tested."""
    raise CapabilityMissing("KVM_CAP_COUNTER_OFFSET")


def test_is_known(target):
    """A known issue predicts this."""
    assert 0 == 5


def test_is_mended(target):
    """A known issue predicts that this fails."""


@pytest.fixture
def broken(target):
    raise OSError("the harness is broken # SKIP not really")


def test_errs(broken):
    """The harness fails here."""


@pytest.mark.timeout(1)
def test_hangs(target):
    """This never ends."""
    time.sleep(50)
'''

_ISSUES = r"""
[[issue]]
id = "planted"
tests = '^kvmtests/x86/test_planted\.py::test_is_(known|mended)'
when = { kind = "sim", arch = "x86_64" }
symptom = '^assert 0 == 5$'
reason = "it was planted: so that it is found"
reference = "docs/words.md"
"""

VERDICTS = {verdict: 1 for verdict in Verdict if verdict is not Verdict.NOT_RUN} | {Verdict.PASS: 2}
"""How often each verdict comes where no option makes a failure of one."""

STRICT = ("--de-facto=fail", "--strict-known-issues")


def plant(tree: Path) -> Path:
    """Copy into *tree* what runs the suite, with the planted claims in place of ours; return it."""
    ignored = shutil.ignore_patterns("tests", "__pycache__")
    for name in ("fixtures", "reports", "tools"):
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    for name in ("conftest.py", "pytest.ini", "settings"):
        shutil.copy(ROOT / name, tree / name)
    (tree / "kvmtests/x86").mkdir(parents=True)
    for folder in ("kvmtests", "kvmtests/x86"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=_all_but_surroundings, dirs_exist_ok=True)
    (tree / "kvmtests/x86/test_planted.py").write_text(_CLAIMS)
    (tree / "kvmtests/known_issues.toml").write_text(_ISSUES)
    return tree


def _all_but_surroundings(folder: str, names: list[str]) -> list[str]:
    """Leave out of kvmtests/ its claims and folders: conftest.py and modules that claims share remain."""
    return [
        name
        for name in names
        if (Path(folder) / name).is_dir() or name.startswith("test_") or not name.endswith(".py")
    ]


def install(base: Path) -> Path:
    """Lay out *base* as `make install` would, with the planted claims' program alone; return it."""
    tree = plant(base / "kvmtests")
    program = tree / kselftest.program_of(SUBJECT)
    shutil.copy(ROOT / "tools/kselftest_program.sh", program)
    program.chmod(0o755)
    (base / "kselftest-list.txt").write_text(f"kvmtests:{program.name}\n")
    shutil.copy(ROOT / "tools/run_kselftest.sh", base)
    (base / "run_kselftest.sh").chmod(0o755)
    return base
