# SPDX-License-Identifier: GPL-2.0-only
"""The environment is made once, from the chosen Python, or one sentence says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import venv
from tools.tests.fault_suite import ROOT, in_namespace

THIS = ".".join(map(str, sys.version_info[:2]))


class Programs:
    """What stands in for venv and pip: notes their words, and makes what venv makes."""

    def __init__(self) -> None:
        self.words: list[list[str]] = []
        self.said = ""

    def __call__(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Stand in for one program."""
        self.words.append(words)
        if "venv" in words and not self.said:
            folder = Path(words[-1])
            (folder / "bin").mkdir(parents=True)
            (folder / "bin/python").symlink_to(sys.executable)
            (folder / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {THIS}.1\n")
        return subprocess.CompletedProcess(words, int(bool(self.said)), self.said)

    def started(self) -> list[str]:
        """Return which were started, in order."""
        names = ("venv", "pip")
        return [name for words in self.words for name in names if words[1:3] == ["-m", name]]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Give the stand-ins, in a checkout that needs nothing."""
    found = Programs()
    monkeypatch.setattr(venv, "_run", found)
    monkeypatch.setattr(venv, "ROOT", tmp_path)
    monkeypatch.delenv(venv.GIVEN, raising=False)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/check.txt").write_text("")
    return found


def test_second_start_does_nothing(programs: Programs) -> None:
    """What is complete is neither made nor looked at by a program."""
    assert venv.main([]) == 0
    first = programs.started()

    assert venv.main([]) == 0

    assert first == programs.started() == ["venv", "pip"]


@pytest.mark.parametrize(("given", "again"), [("PYTHON K", True), ("K", False)])
def test_another_python_is_taken_where_it_is_asked_for(
    programs: Programs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: str,
    again: bool,
) -> None:
    """PYTHON= makes the environment again if its version differs; without it what is there serves."""
    assert venv.main([]) == 0
    (tmp_path / ".venv/pyvenv.cfg").write_text("version = 3.99.2\n")
    stamp = venv._fingerprint(tmp_path / "requirements/check.txt", tmp_path / ".venv")
    (tmp_path / ".venv/.check").write_text(stamp)
    monkeypatch.setenv(venv.GIVEN, given)
    monkeypatch.setattr(venv, "_make", lambda _: programs.words.append(["", "-m", "venv"]))
    capsys.readouterr()

    assert venv.main([]) == 0

    assert (programs.started()[2:] == ["venv", "pip"]) == again
    sentence = f"Making .venv again: it is Python 3.99, PYTHON is {THIS}\n"
    assert capsys.readouterr().out.startswith(sentence) == again


def test_folder_with_a_colon(tmp_path: Path, programs: Programs) -> None:
    """venv refuses a path that PATH cannot hold, so the environment is moved there."""
    folder = tmp_path / "with:colon"

    assert venv.main(["--into", str(folder), "check"]) == 0

    assert ":" not in programs.words[0][-1]
    assert (folder / "pyvenv.cfg").is_file()
    assert not Path(programs.words[0][-1]).parent.exists()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("Error: [Errno 28] No space left on device\n", "No space left on device.\n"),
        ("No module named venv\n", "python3 has no venv; on Debian: apt install python3-venv.\n"),
    ],
)
def test_environment_that_cannot_be_made(
    programs: Programs, capsys: pytest.CaptureFixture[str], said: str, sentence: str
) -> None:
    """The last line is the cause, and nothing is advised that does not help."""
    programs.said = said

    assert venv.main([]) == 1

    assert capsys.readouterr().err.endswith(f"/.venv: {sentence}")


@in_namespace
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param("size=64k", "No space left on device", id="full"),
        pytest.param("ro", "Read-only file system", id="read-only", marks=pytest.mark.thorough),
    ],
)
def test_file_system_that_takes_no_environment(tmp_path: Path, options: str, reason: str) -> None:
    """A full disk and a read-only file system are named in the last line; no traceback of ours."""
    (tmp_path / "disk").mkdir()
    script = f'mount -t tmpfs -o {options} none "$0" && exec "$@"'
    words = ["unshare", "-m", "sh", "-c", script, str(tmp_path / "disk"), sys.executable]

    done = subprocess.run(
        [*words, str(ROOT / "tools/venv.py"), "--into", str(tmp_path / "disk/env"), "check"],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"make: cannot make {tmp_path}/disk/env: {reason}."
    assert "tools/venv.py" not in done.stderr
