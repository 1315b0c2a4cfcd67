# SPDX-License-Identifier: GPL-2.0-only
"""make vectors-check: the file that it writes, the programs that it runs, and its exit status."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tools.vectors import check, document

CC = pytest.mark.skipif(shutil.which("cc") is None, reason="cc is not installed")

pytestmark = pytest.mark.timeout(300)


@pytest.mark.thorough
@CC
def test_checkers_read_the_file_of_the_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both languages agree on each method, whatever characters the folder's name has."""
    monkeypatch.chdir(tmp_path)
    folder = 'it\'s a "$(touch pwned)"; touch pwned #'

    status = check.main(["--out", folder, "--drawn", "2"])

    said = capfd.readouterr().out
    assert status == 0, said
    assert said.startswith("C:\n")
    agreed = said.partition("Rust:")[0].count("all answers and all errors of shortcuts agree")
    assert agreed == len(document.METHODS)
    assert json.loads((tmp_path / folder / "vectors.json").read_text())["format"] == document.FORMAT
    assert [path.name for path in tmp_path.iterdir()] == [folder]


@pytest.mark.thorough
@CC
def test_disagreement_is_status_1(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong answer in the file is named by the checker, and the command fails."""
    vectors = json.loads("\n".join(document.lines(drawn=0)))
    vectors["vectors"][0]["answer"] = {"tsc_offset": "7"}
    path = tmp_path / "vectors.json"
    path.write_text(json.dumps(vectors))
    check.build({"PATH": "/usr/bin:/bin"})

    status = check.run(path)

    assert status == 1
    assert f"{vectors['vectors'][0]['id']}: tsc_offset: expected" in capfd.readouterr().out


def test_compiler_that_fails_is_status_2(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What make says of a compiler that is not there follows one sentence; no checker runs."""
    shutil.copytree(check.CHECKERS, tmp_path / "vectors", ignore=shutil.ignore_patterns("build"))
    monkeypatch.setattr(check, "CHECKERS", tmp_path / "vectors")
    monkeypatch.setenv("CC", str(tmp_path / "no-compiler"))
    monkeypatch.setenv("RUSTC", str(tmp_path / "none-either"))  # or it would build the other one meanwhile

    status = check.main(["--out", str(tmp_path / "out"), "--drawn", "0"])

    said = capfd.readouterr()
    assert (status, said.out) == (2, "")
    assert said.err.startswith("vectors-check: the checkers of contrib/vectors cannot be built:\n")
    assert "no-compiler" in said.err


def test_build_is_apart_from_the_make_that_starts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """make's command line stands in MAKEFLAGS, which the build of the checkers does not see."""
    (tmp_path / "Makefile").write_text("all:\n\t@echo $(O) >seen\n")
    monkeypatch.setattr(check, "CHECKERS", tmp_path)

    check.build({"PATH": "/usr/bin:/bin", "MAKEFLAGS": " -- O=there", "MAKEOVERRIDES": "O=there"})

    assert (tmp_path / "seen").read_text() == "\n"


def test_folder_that_cannot_be_written_is_status_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file in the folder's place is one sentence."""
    (tmp_path / "out").touch()

    status = check.main(["--out", str(tmp_path / "out"), "--drawn", "0"])

    said = capfd.readouterr()
    assert (status, said.out) == (2, "")
    assert said.err.startswith("vectors-check: ")
    assert said.err.count("\n") == 1


def test_negative_number_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """--drawn below 0 is one sentence and status 2."""
    with pytest.raises(SystemExit) as ended:
        check.main(["--drawn", "-1"])

    assert ended.value.code == 2
    assert "argument --drawn: this is a number from 0 on" in capsys.readouterr().err
