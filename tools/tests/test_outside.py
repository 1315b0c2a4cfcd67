# SPDX-License-Identifier: GPL-2.0-only
"""Commands that are started by another Python than the environment's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.tests.usual import few_of

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    path.stem
    for path in sorted((ROOT / "tools").glob("*.py"))
    if "__main__" in path.read_text(encoding="utf-8") and path.stem != "venv"
]
USUAL = ("check", "make")
"""What people start most; the others differ in what they import, and each takes as long to start."""

HIDE = "import sys\nsys.path[:] = [path for path in sys.path if 'site-packages' not in path]\n"


@pytest.mark.parametrize("name", few_of(COMMANDS, USUAL))
def test_bare_python_is_a_sentence_at_most(tmp_path: Path, name: str) -> None:
    """A command works with a python3 that has no packages, or says which Python has them."""
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    words = ["sh", "-c", 'exec "$0" -m "$1" --help', str(Path(sys.executable).resolve()), f"tools.{name}"]

    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "Traceback" not in done.stderr
    if " has no Python module " in done.stderr:
        assert done.returncode == 2
        assert done.stderr.endswith(": use .venv/bin/python, which `make venv` makes, instead.\n")
        assert done.stderr.count("\n") == 1
