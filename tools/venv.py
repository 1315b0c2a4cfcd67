# SPDX-License-Identifier: GPL-2.0-only
"""Make the project's virtual environment from pinned requirements; no network once it is there.

Runs on a bare python3, before anything is installed: standard library only, and syntax that
an older Python still parses, so that it can say which version is needed.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

NEEDED = (3, 11)
ROOT = Path(__file__).resolve().parent.parent


def main(argv: list[str]) -> int:
    """Install requirements/NAME.txt into .venv unless it is there already; 0, or 1 with one sentence.

    ``--into FOLDER`` before the names chooses another environment.
    """
    if sys.version_info < NEEDED:
        found, needed = (".".join(map(str, version[:2])) for version in (sys.version_info, NEEDED))
        return _fail(f"python3 is {found}; version {needed} or newer is needed")
    environment = ROOT / ".venv"
    if argv[:1] == ["--into"]:
        environment, argv = Path(argv[1]), argv[2:]
    names = argv or ["check"]
    for name in names:
        requirements = ROOT / "requirements" / f"{name}.txt"
        if not requirements.is_file():
            return _fail(f"there is no requirements/{name}.txt")
        stamp = environment / f".{name}"
        wanted = _fingerprint(requirements)
        if stamp.is_file() and stamp.read_text() == wanted:
            continue
        if not _install(environment, requirements):
            return 1
        stamp.write_text(wanted)
    return 0


def _fingerprint(requirements: Path) -> str:
    text = requirements.read_bytes() + sys.version.encode()
    return hashlib.sha256(text).hexdigest() + "\n"


def _install(environment: Path, requirements: Path) -> bool:
    python = environment / "bin" / "python"
    where = environment.relative_to(ROOT) if environment.is_relative_to(ROOT) else environment
    print(f"Installing requirements/{requirements.name} into {where} (once)", flush=True)
    if not _works(python):
        made = _run([sys.executable, "-m", "venv", "--clear", str(environment)])
        if made.returncode:
            _fail("python3 cannot make a virtual environment; on Debian: apt install python3-venv", made)
            return False
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    done = _run([*pip, "--require-hashes", "-r", str(requirements)])
    if done.returncode:
        _fail(f"pip could not install requirements/{requirements.name}; is a package index reachable?", done)
        return False
    return True


def _works(python: Path) -> bool:
    # A base interpreter that was upgraded or removed leaves a dangling environment behind.
    if not python.exists():
        return False
    return _run([str(python), "-c", "import pip, sys; assert sys.version_info >= (3, 11)"]).returncode == 0


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def _fail(sentence: str, process: subprocess.CompletedProcess[str] | None = None) -> int:
    if process is not None:
        sys.stderr.write(process.stdout)
    sys.stderr.write(f"make: {sentence}.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
