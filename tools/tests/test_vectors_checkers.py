# SPDX-License-Identifier: GPL-2.0-only
"""The checkers in C and Rust: they compute the whole file again, and name what a wrong formula does."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools.vectors import document
from tools.vectors.classes import CLASSES
from tools.vectors.draw import Draw
from tools.vectors.model import Method

ROOT = Path(__file__).resolve().parents[2]
DRAWN = 200
PROGRAMS = {"c": "cc", "rust": "rustc"}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", params=PROGRAMS)
def checker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the checker of a language, built with warnings as errors."""
    language = str(request.param)
    if shutil.which(PROGRAMS[language]) is None:
        pytest.skip(f"{PROGRAMS[language]} is not installed")
    folder = tmp_path_factory.mktemp(language)
    command = ["make", "-C", str(ROOT / "contrib/vectors"), f"BUILD={folder}", f"{folder}/check-{language}"]
    built = subprocess.run(command, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / f"check-{language}"


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file that is short and in which no two shortcuts of a method look alike."""
    path = tmp_path_factory.mktemp("vectors") / "vectors.json"
    path.write_text("\n".join(document.lines(drawn=DRAWN)), encoding="utf-8")
    return path


def run(checker: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run *checker*; its output is text."""
    return subprocess.run([checker, *map(str, arguments)], check=False, capture_output=True, text=True)


def changed(vectors: Path, folder: Path, change: dict[str, Any], part: str) -> tuple[Path, str]:
    """Write the file with *change* in one vector's *part*; return it and that vector's id."""
    content = json.loads(vectors.read_text(encoding="utf-8"))
    vector = next(one for one in content["vectors"] if one["id"] == "x86-offset.four-seconds")
    vector[part].update(change)
    path = folder / "changed.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path, vector["id"]


@pytest.mark.parametrize(
    "whole", [False, pytest.param(True, marks=pytest.mark.thorough)], ids=["short", "whole"]
)
def test_everything_agrees(checker: Path, vectors: Path, tmp_path: Path, whole: bool) -> None:
    """Each answer and each shortcut's error of the file is what another language computes."""
    path = tmp_path / "vectors.json"
    if whole:
        path.write_text("\n".join(document.lines()), encoding="utf-8")

    done = run(checker, path if whole else vectors)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("all answers and all errors of shortcuts agree") == len(document.METHODS)


@pytest.mark.parametrize("error_class", CLASSES)
def test_wrong_formula_of_each_class_is_caught_and_named(
    checker: Path, vectors: Path, error_class: str
) -> None:
    """With any shortcut of a class in place of the formula, the checker fails and names both."""
    done = run(checker, vectors, "--wrong", error_class)

    expected = [
        f"all as by {method.name}/{shortcut.name} [{error_class}]: {shortcut.sentence}"
        for method in document.METHODS
        for shortcut in method.shortcuts
        if shortcut.error_class == error_class
    ]
    summaries = [line for line in done.stdout.splitlines() if not line.startswith("[")]
    mismatches = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert done.returncode == 1
    assert [line.split("wrong, ")[1] for line in summaries] == expected
    assert len(mismatches) >= len(expected)
    assert all(line.startswith(f"[{error_class}] ") and ": expected " in line for line in mismatches)


def test_method_without_vectors_fails(checker: Path, vectors: Path, tmp_path: Path) -> None:
    """A file that has lost a method's vectors does not pass."""
    content = json.loads(vectors.read_text(encoding="utf-8"))
    content["vectors"] = [one for one in content["vectors"] if one["method"] != "arm64-value"]
    path = tmp_path / "lost.json"
    path.write_text(json.dumps(content), encoding="utf-8")

    done = run(checker, path)

    assert done.returncode == 1
    assert "arm64-value: 0 vectors, NOTHING TO CHECK" in done.stdout


def test_input_that_is_not_an_integer_is_named(checker: Path, vectors: Path, tmp_path: Path) -> None:
    """A damaged input is refused with its vector and name."""
    path, name = changed(vectors, tmp_path, {"tsc_offset": "0x10"}, "input")

    done = run(checker, path)

    assert done.returncode == 2
    assert name in done.stderr
    assert "tsc_offset" in done.stderr


def test_unnoticed_formula_is_status_0(checker: Path, vectors: Path, tmp_path: Path) -> None:
    """On vectors that do not show a shortcut, --wrong ends like a check that finds nothing."""
    content = json.loads(vectors.read_text(encoding="utf-8"))
    content["vectors"] = [one for one in content["vectors"] if one["id"] == "x86-ratio.same"]
    path = tmp_path / "one.json"
    path.write_text(json.dumps(content), encoding="utf-8")

    done = run(checker, path, "--wrong", "x86-ratio/scaling-ignored")

    assert (done.returncode, done.stdout) == (0, "x86-ratio: 1 of 1 right\n")


def test_changed_answer_is_noticed(checker: Path, vectors: Path, tmp_path: Path) -> None:
    """An answer that is off by one tick fails, with its vector, what was expected, and what came."""
    path, name = changed(vectors, tmp_path, {"tsc_offset": "11276535212"}, "answer")

    done = run(checker, path)

    assert done.returncode == 1
    assert f"{name}: tsc_offset: expected 11276535212, got 11276535211" in done.stdout


def test_changed_error_is_noticed(checker: Path, vectors: Path, tmp_path: Path) -> None:
    """An error that is off by one ns fails, with its vector and shortcut."""
    error = {"ticks": "-18446744073", "ns": "-7094907026"}
    path, name = changed(vectors, tmp_path, {"hz-in-int64": error}, "errors")

    done = run(checker, path)

    assert done.returncode == 1
    assert f"{name}: hz-in-int64 costs -18446744073 ticks or -7094907025 ns" in done.stdout


def answers_by(method: Method, shortcut: str, folder: Path) -> Path:
    """Write the answers of *shortcut* to all vectors of *method*, as another program would."""
    wrong = next(one.wrong for one in method.shortcuts if one.name == shortcut)
    lines = [f"{one.name} {wrong(one.values)}" for one in method.vectors(document.SEED, DRAWN)]
    path = folder / "mine.txt"
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return path


@pytest.mark.parametrize("method", document.METHODS, ids=lambda method: method.name)
def test_another_programs_mistake_is_named(
    checker: Path, vectors: Path, method: Method, tmp_path: Path
) -> None:
    """Answers in lines "ID VALUE" are judged, and the shortcut that explains them all is named."""
    shortcut = method.shortcuts[0]

    done = run(checker, vectors, "--answers", answers_by(method, shortcut.name, tmp_path))

    assert done.returncode == 1
    assert f"all as by {method.name}/{shortcut.name} [{shortcut.error_class}]" in done.stdout


def test_another_programs_right_answers_pass(checker: Path, vectors: Path, tmp_path: Path) -> None:
    """A program may answer a part of the vectors; the others are not judged."""
    method = document.METHODS[0]
    values = method.draw(Draw(f"{document.SEED}/{method.name}/0"))
    path = tmp_path / "mine.txt"
    path.write_text(f"{method.name}.0000 {method.answers(values)[method.judged]}\n", encoding="ascii")

    done = run(checker, vectors, "--answers", path)

    assert (done.returncode, done.stdout) == (0, "x86-offset: 1 of 1 right\n")


def test_answers_may_be_signed(checker: Path, vectors: Path, tmp_path: Path) -> None:
    """An offset printed as a signed number is the same 64 bits."""
    path = tmp_path / "mine.txt"
    path.write_text("arm64-offset.host-count-below -9223372036954775714\n", encoding="ascii")

    done = run(checker, vectors, "--answers", path)

    assert (done.returncode, done.stdout) == (0, "arm64-offset: 1 of 1 right\n")


def test_unknown_mistake_is_not_named(checker: Path, vectors: Path, tmp_path: Path) -> None:
    """Where no shortcut explains the answers, the checker says so and names none."""
    path = tmp_path / "mine.txt"
    path.write_text("x86-offset.at-once 1\nx86-offset.four-seconds 1\n", encoding="ascii")

    done = run(checker, vectors, "--answers", path)

    assert done.returncode == 1
    assert "x86-offset: 2 of 2 wrong; no shortcut of the file explains them all" in done.stdout


BAD_FILES = [
    pytest.param("", id="empty"),
    pytest.param('{"format": "kvmtests-vec', id="cut"),
    pytest.param('{"format": "\\', id="cut-in-an-escape"),
    pytest.param("[" * 100, id="deep"),
    pytest.param('{"format": "another"}', id="another-format"),
    pytest.param('{"format": "kvmtests-vectors"} 1', id="more-after-the-end"),
    pytest.param('{"format": "kvmtests-vectors"}', id="nothing-else"),
    pytest.param('{"format": "kvmtests-vectors", "methods": {}, "vectors": []}', id="no-vectors"),
    pytest.param('{"format": "kvmtests-vectors", "methods": {}, "vectors": [{}]}', id="empty-vector"),
    pytest.param(
        '{"format": "kvmtests-vectors", "methods": {"x86-offset": {}}, "vectors": [{}]}', id="empty-method"
    ),
]


@pytest.mark.parametrize("text", BAD_FILES)
def test_bad_file_is_one_sentence(checker: Path, text: str, tmp_path: Path) -> None:
    """A file that holds no vectors is refused with one sentence and status 2."""
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")

    done = run(checker, path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("check: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="none"),
        pytest.param(["--wrong"], id="no-class"),
        pytest.param(["--wrong", "nonsense"], id="unknown-class"),
        pytest.param(["--answers", "/nonexistent"], id="no-answers"),
    ],
)
def test_wrong_usage_is_status_2(checker: Path, vectors: Path, arguments: list[str]) -> None:
    """Usage errors end with a sentence and status 2."""
    done = run(checker, *([vectors, *arguments] if arguments else []))

    assert done.returncode == 2
    assert done.stderr


@pytest.mark.parametrize("line", ["x86-offset.at-once", "x86-offset.at-once seven", "x86-offset.at-once 1 2"])
def test_bad_answers_are_refused_by_line(checker: Path, vectors: Path, line: str, tmp_path: Path) -> None:
    """A line that is not "ID VALUE" is named by its number."""
    path = tmp_path / "mine.txt"
    path.write_text(f"x86-offset.at-once 1\n{line}\n", encoding="ascii")

    done = run(checker, vectors, "--answers", path)

    assert done.returncode == 2
    assert "line 2" in done.stderr
