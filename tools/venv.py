# SPDX-License-Identifier: GPL-2.0-only
"""Make the project's virtual environment from pinned requirements; no network once it is there.

Runs on a bare python3, before anything is installed: standard library only, and syntax that
an older Python still parses, so that it can say which version is needed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NEEDED = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "offline/wheels"
"""The packages that a bundle brings along (tools/bundle.py); then no index is looked at."""

GIVEN = "KVMTESTS_GIVEN"
"""The environment's name for the names of variables that make's command line set (tools/make.py)."""

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""The errors of a file system that cannot hold an environment."""

LEAST_BYTES = 16 << 20
"""The size of an environment without packages: if less is free, that was the reason."""


class Failed(Exception):
    """There is no environment; the arguments are one sentence, and the output of a program that failed."""


def main(argv: list[str]) -> int:
    """Install requirements/NAME.txt into .venv unless it is there already; 0, or 1 with one sentence.

    ``--into FOLDER`` before the names chooses another environment.
    """
    if sys.version_info < NEEDED:
        return _fail(f"python3 is {_dotted(sys.version_info)}; version {_dotted(NEEDED)} or newer is needed")
    environment = ROOT / ".venv"
    if argv[:1] == ["--into"]:
        environment, argv = Path(argv[1]), argv[2:]
    try:
        for name in argv or ["check"]:
            _provide(environment, name)
    except OSError as error:
        return _fail(f"cannot write {error.filename}: {error.strerror}")
    except Failed as error:
        return _fail(*error.args)
    except KeyboardInterrupt:  # what is half there has no stamp, and is made again
        return _fail("interrupted by Ctrl-C")
    return 0


def _provide(environment: Path, name: str) -> None:
    """Install requirements/*name*.txt into *environment* unless it is there; `Failed`."""
    requirements = ROOT / "requirements" / f"{name}.txt"
    if not requirements.is_file():
        raise Failed(f"there is no requirements/{name}.txt")
    stamp = environment / f".{name}"
    other = _is_another(environment)
    if not other and stamp.is_file() and stamp.read_text() == _fingerprint(requirements, environment):
        return
    where = environment.relative_to(ROOT) if environment.is_relative_to(ROOT) else environment
    if other:
        print(
            f"Making {where} again: it is Python {other}, PYTHON is {_dotted(sys.version_info)}", flush=True
        )
    print(f"Installing requirements/{requirements.name} into {where} (once)", flush=True)
    if other or not _works(environment / "bin/python"):
        _make(environment)
    _install(environment, requirements)
    stamp.write_text(_fingerprint(requirements, environment))


def _is_another(environment: Path) -> str:
    """Return the version of *environment* if PYTHON= on make's command line is another one, else ""."""
    version = _version(environment)
    chosen = "PYTHON" in os.environ.get(GIVEN, "").split()
    return version if chosen and version not in ("", _dotted(sys.version_info)) else ""


def _version(environment: Path) -> str:
    """Return the version of the Python that *environment* was made from, "3.11"; "" if there is none."""
    if not (environment / "pyvenv.cfg").is_file():
        return ""
    pairs = (line.partition("=") for line in (environment / "pyvenv.cfg").read_text().splitlines())
    versions = [value.strip() for key, _, value in pairs if key.strip() == "version"]
    return ".".join(versions[0].split(".")[:2]) if versions else ""


def _fingerprint(requirements: Path, environment: Path) -> str:
    text = requirements.read_bytes() + _version(environment).encode()
    return hashlib.sha256(text).hexdigest() + "\n"


def _make(environment: Path) -> None:
    # venv refuses a path that PATH cannot hold. We do not use PATH, and an environment can be moved
    # as long as nothing is installed in it.
    elsewhere = tempfile.mkdtemp() if os.pathsep in str(environment) else ""
    try:
        folder = Path(elsewhere, "venv") if elsewhere else environment
        made = _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        if made.returncode:
            reason = _refusal(made.stdout, folder)
            hint = reason or "python3 has no venv; on Debian: apt install python3-venv"
            raise Failed(f"cannot make {environment}: {hint}", made.stdout)
        if elsewhere:
            shutil.rmtree(environment, ignore_errors=True)
            shutil.move(str(folder), str(environment))
    finally:
        if elsewhere:
            shutil.rmtree(elsewhere)


def _install(environment: Path, requirements: Path) -> None:
    pip = [str(environment / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    carried = PACKAGES.is_dir()
    source = ["--no-index", "--find-links", str(PACKAGES)] if carried else []
    done = _run([*pip, *source, "--require-hashes", "-r", str(requirements)])
    if done.returncode:
        remedy = f"{PACKAGES} lacks one for this Python" if carried else "is a package index reachable?"
        reason = _refusal(done.stdout, environment) or remedy
        raise Failed(f"pip could not install requirements/{requirements.name}: {reason}", done.stdout)


def _refusal(said: str, folder: Path) -> str:
    """Return why the file system of *folder* refused a write, by a program's output *said*; or ""."""
    found = [os.strerror(number) for number in REFUSALS if os.strerror(number) in said]
    # venv hides the output of pip when it installs itself.
    if not found and shutil.disk_usage(folder if folder.exists() else folder.parent).free < LEAST_BYTES:
        found = [os.strerror(errno.ENOSPC)]
    return found[0] if found else ""


def _works(python: Path) -> bool:
    # A base interpreter that was upgraded or removed leaves a broken environment.
    if not python.exists():
        return False
    return _run([str(python), "-c", "import pip, sys; assert sys.version_info >= (3, 11)"]).returncode == 0


def _dotted(version: tuple[object, ...]) -> str:
    return ".".join(map(str, version[:2]))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def _fail(sentence: str, said: str = "") -> int:
    sys.stderr.write(f"{said}make: {sentence}.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
