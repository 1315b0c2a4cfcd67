# SPDX-License-Identifier: GPL-2.0-only
"""Readers of our reports from PyPI and npm, in an environment of their own.

They are installed on demand: `pytest -m clients` installs them into .venv/clients, by their hashes, and
the clients of kernel CIs into .venv/kernel-ci; a run without the marker uses them if they are installed.
Without a network each test that needs one is a skip.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv/clients"
NPM = ROOT / "requirements/npm"
INSTALL_S = 400
"""How long an installation may take; tests that may wait for it need more than pytest.ini allows."""


def python_client(name: str, config: pytest.Config, requirements: str = "clients") -> str:
    """Return the path of the command *name* from requirements/*requirements*.txt, or skip."""
    folder = FOLDER.with_name(requirements)
    _install(config, requirements, [sys.executable, "tools/venv.py", "--into", str(folder), requirements])
    return str(folder / "bin" / name)


def npm_client(name: str, config: pytest.Config) -> str:
    """Return the path of the command *name* from requirements/npm/package-lock.json, or skip."""
    found = shutil.which(name)
    if found is not None:
        return found
    if shutil.which("npm") is None:
        pytest.skip(f"no {name}, and no npm to get it with")
    place = FOLDER / "npm"
    place.mkdir(parents=True, exist_ok=True)
    for source in NPM.glob("package*.json"):
        shutil.copy(source, place)
    _install(config, "npm", ["npm", "ci", "--ignore-scripts", "--prefix", str(place)], place / "node_modules")
    return str(place / "node_modules/.bin" / name)


def _install(config: pytest.Config, what: str, command: list[str], made: Path | None = None) -> None:
    """Run *command* once, however many workers need it; skip where it fails or is not requested."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f".{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = made or FOLDER.with_name(what) / f".{what}"
        if not _asked_for(config):
            if not stamp.exists():
                pytest.skip("readers of reports are not installed: pytest -m clients gets them")
            return
        if made is not None and made.exists():
            return
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
    if done.returncode:
        pytest.skip(f"readers of reports cannot be installed: {(done.stderr or done.stdout).strip()[-300:]}")


def _asked_for(config: pytest.Config) -> bool:
    expression = config.option.markexpr or ""
    return "clients" in expression and "not clients" not in expression
