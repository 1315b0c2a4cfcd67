# SPDX-License-Identifier: GPL-2.0-only
"""A checkout with the reporter, the commands and one small module of claims, without the harness."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tools import venv

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
    (tree / "fixtures/targets.py").write_text("def named_target(name):\n    return None\n\nprobe = None\n")
    (tree / "pytest.ini").write_text("[pytest]\n")
    (tree / "conftest.py").write_text("def pytest_addoption(parser):\n    parser.addoption('--target')\n")


def suite(tree: Path, more: str = "") -> None:
    """Write the module of the subject x86.clock, with *more* tests."""
    (tree / "kvmtests/x86/test_clock.py").write_text(_SUITE.format(more=more))


def furnish(tree: Path) -> None:
    """Give the checkout an environment that is complete as tools/venv.py sees it: this Python's."""
    python = tree / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tree / ".venv/pyvenv.cfg").write_text(f"version = {'.'.join(map(str, sys.version_info[:3]))}\n")
    (tree / "requirements").mkdir()
    (tree / ".venv/rack").mkdir()
    for name, environment in (("check", ".venv"), ("dev", ".venv"), ("rack", ".venv/rack")):
        requirements = tree / f"requirements/{name}.txt"
        requirements.write_text("")
        (tree / environment / f".{name}").write_text(venv._fingerprint(requirements, tree / environment))


def hide_packages(folder: Path) -> Path:
    """Return a folder for PYTHONPATH that takes site-packages away: the base Python may have pytest."""
    place = folder / "hide"
    place.mkdir()
    lines = ["import sys", "sys.path[:] = [path for path in sys.path if 'site-packages' not in path]"]
    (place / "sitecustomize.py").write_text("\n".join(lines))
    return place
