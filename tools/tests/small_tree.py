# SPDX-License-Identifier: GPL-2.0-only
"""A checkout with the reporter, the commands, one small module of claims, and no bench."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]

_SUITE = """
import time
import pytest

def test_passes():
    print("ok 1 said by the test")

def test_is_skipped():
    pytest.skip("KVM_CAP_COUNTER_OFFSET")

{more}
"""


def plant(tree: Path) -> None:
    """Make the checkout in *tree*; any target will do there."""
    for name in ("reports", "tools"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    for name in ("Makefile", "settings", "config"):
        shutil.copy(ROOT / name, tree / name)
    (tree / "kvmtests/x86").mkdir(parents=True)
    (tree / "fixtures").mkdir()
    (tree / "pytest.ini").write_text("[pytest]\n")
    (tree / "conftest.py").write_text("def pytest_addoption(parser):\n    parser.addoption('--target')\n")


def suite(tree: Path, more: str = "") -> None:
    """Write the module of the subject x86.clock, with *more* tests."""
    (tree / "kvmtests/x86/test_clock.py").write_text(_SUITE.format(more=more))
