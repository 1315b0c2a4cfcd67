# SPDX-License-Identifier: GPL-2.0-only
"""A warning after the last test is shown, and changes neither status nor summary."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.tests.sessions import call, command, run, suite

# Every test starts pytest.
pytestmark = pytest.mark.timeout(180)

LATE = {
    "session-finish": "def pytest_sessionfinish():\n    warnings.warn('a late word')\n",
    "summary": "def pytest_terminal_summary():\n    warnings.warn('a late word')\n",
    "garbage": (
        "class Late:\n    def __del__(self):\n        raise ValueError('a late word')\n"
        "kept = [Late()]\n"
        "def pytest_unconfigure():\n    kept.clear()\n"
    ),
}


@pytest.mark.thorough
@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("late", LATE.values(), ids=LATE.keys())
def test_warning_outside_of_tests_changes_no_status(tmp_path: Path, workers: str, late: str) -> None:
    """With filterwarnings = error a warning after the last test costs neither status 0 nor the summary."""
    suite(tmp_path, "def test_a(): pass\n")
    (tmp_path / "conftest.py").write_text(f"import warnings\n{late}")

    done = call(tmp_path, "-n", workers)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "summary by target" in done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.thorough
def test_cache_that_cannot_be_written_changes_no_status(tmp_path: Path) -> None:
    """A .pytest_cache of another user, or on a read-only file system, is only a warning."""
    suite(tmp_path, "def test_a(): pass\n")
    (tmp_path / ".pytest_cache").write_text("no folder")
    words = " ".join(command()).replace("-p no:cacheprovider ", "")

    done = run(words.split(), tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "PytestCacheWarning" in done.stdout
    assert "summary by target" in done.stdout


@pytest.mark.thorough
def test_warning_in_a_test_is_still_its_failure(tmp_path: Path) -> None:
    """A warning in a test stays an error of that test."""
    suite(tmp_path, "import warnings\ndef test_a(): warnings.warn('now')\n")

    assert call(tmp_path).returncode == 1
