# SPDX-License-Identifier: GPL-2.0-only
"""The bundle of the check for a fleet: what goes in, that it is reproducible, and that old Pythons run it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import jsonschema
import pytest
from _pytest.mark import ParameterSet

from fixtures.precheck import document
from fixtures.precheck.checks import BY_ARCHITECTURE
from fixtures.precheck.known_issues import entries
from fixtures.precheck.report import HostReport
from tools.precheck import build, bundle
from tools.precheck.closure import NotSelfContained, closure
from tools.precheck.older_python import CannotLower, lower
from tools.tests.usual import few_of

ROOT = Path(__file__).parents[2]
LIMIT_S = 300
GREEK = document.render(HostReport.unusable("x86_64", "α"), ())

pytestmark = pytest.mark.timeout(LIMIT_S)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as `make precheck` builds it."""
    folder = tmp_path_factory.mktemp("precheck")
    assert build.main(["--out", str(folder)]) == 0
    return folder / build.NAME


def pythons() -> Iterator[str]:
    """Yield this Python and every other version from 3.9 on that is installed here."""
    yield sys.executable
    homes = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    for minor in range(9, 15):
        found = [str(path) for home in homes for path in sorted(home.glob(f"3.{minor}.*/bin/python"))]
        on_path = shutil.which(f"python3.{minor}")
        yield from [path for path in (*found, *([on_path] if on_path else [])) if _runs(path)][:1]


@cache
def _runs(python: str) -> bool:
    # pyenv puts programs on the path that only explain which versions there are.
    return subprocess.run([python, "--version"], capture_output=True, check=False).returncode == 0


def _versions() -> list[ParameterSet]:
    # The oldest and this one differ most; the versions between take as long again, each.
    found = sorted(set(pythons()))
    usual = {sys.executable, next((path for path in found if "3.9" in path), sys.executable)}
    return few_of(found, usual)


every_python = pytest.mark.parametrize("python", _versions())


def run(python: str, program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run *program* by *python*, without what the environment says of Python; warnings are errors."""
    return subprocess.run(
        [python, "-I", "-W", "error", str(program), *words],
        capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd="/",
    )  # fmt: skip


def test_bundle_is_the_same_whenever_it_is_built(program: Path, tmp_path: Path) -> None:
    """A copy of the tree with other times and another umask gives the same bytes."""
    tree = tmp_path / "elsewhere"
    ignored = shutil.ignore_patterns("tests", "__pycache__", ".venv", "lab", "sim")
    for room in ("fixtures", "kvmtests"):
        shutil.copytree(ROOT / room, tree / room, ignore=ignored)
    for path in tree.rglob("*"):
        os.utime(path, (10**9, 10**9))
        path.chmod(0o700)

    assert bundle.build(tree) == program.read_bytes()


@every_python
def test_every_python_builds_the_same_bundle(program: Path, python: str) -> None:
    """Python 3.11 and newer, which the tree needs, write the same bytes."""
    written = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "if sys.version_info < (3, 11): sys.exit(77)\n"
        "from pathlib import Path\n"
        "from tools.precheck import bundle\n"
        "sys.stdout.buffer.write(bundle.build(Path(sys.argv[1])))\n"
    )
    built = subprocess.run(
        [python, "-I", "-B", "-c", written, str(ROOT)], capture_output=True, timeout=LIMIT_S, check=False
    )
    if built.returncode == 77:
        pytest.skip("older than this tree's Python")

    assert built.stderr == b""
    assert built.stdout == program.read_bytes()


def test_bundle_is_small_and_executable(program: Path) -> None:
    """The program has less than 1 MB, and may be run by everyone who may read it."""
    mode = program.stat().st_mode

    assert program.stat().st_size < bundle.LARGEST
    assert mode & 0o111 == (mode & 0o444) >> 2


def test_bundle_has_no_simulator_and_no_tests(program: Path) -> None:
    """What the check does not import is not in the bundle, and nothing in it is compressed."""
    with zipfile.ZipFile(program) as archive:
        names = archive.namelist()
        methods = {entry.compress_type for entry in archive.infolist()}

    rooms = {"/".join(name.split("/")[:2]) for name in names if name.count("/") > 1}
    assert rooms == {
        "fixtures/backends", "fixtures/facts", "fixtures/guests", "fixtures/kvm", "fixtures/migration",
        "fixtures/precheck", "fixtures/uapi",
    }  # fmt: skip
    assert methods == {zipfile.ZIP_STORED}


@every_python
def test_program_checks_this_host(program: Path, python: str) -> None:
    """Every Python from 3.9 on gives a valid report on this host, whether its KVM can be used or not."""
    done = run(python, program, "--format", "json", "--limit", "60")

    assert done.stderr == ""
    found = json.loads(done.stdout)
    jsonschema.validate(found, json.loads(run(python, program, "--schema").stdout))
    assert done.returncode == found["exit_status"]
    if not found["reason"]:
        assert [each["check"] for each in found["checks"]] == [
            check.name for check in BY_ARCHITECTURE[found["arch"]]
        ]


@every_python
def test_program_compares(program: Path, python: str, tmp_path: Path) -> None:
    """Every Python from 3.9 on compares two reports, here of one host that cannot be used."""
    path = tmp_path / "none.json"
    with_none = run(python, program, "--format", "json", "--output", str(path), "--limit", "60")

    done = run(python, program, "compare", str(path), str(path))

    assert with_none.stdout == ""
    assert (done.stderr, done.returncode in {0, 1, 2}) == ("", True)
    assert done.stdout.startswith(("yes: ", "no: ", "unknown: "))


def test_program_names_its_build(program: Path) -> None:
    """--version prints a digest of all that the bundle has."""
    done = run(sys.executable, program, "--version")

    assert re.fullmatch(r"kvmtests-precheck [0-9a-f]{16}\n", done.stdout)


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"PYTHONIOENCODING": "ascii"}, id="ascii"),
        pytest.param({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, id="locale"),
    ],
)
def test_output_fits_any_encoding(program: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    """Letters that the output's encoding lacks are written by their numbers."""
    report = tmp_path / "report.json"
    report.write_text(GREEK, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, str(program), "compare", str(report), str(report)],
        env={**os.environ, **variables}, capture_output=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (2, b"")
    assert done.stdout == b"unknown: a could not be checked: \\u03b1\n"


@every_python
def test_reader_that_is_gone_is_one_sentence(program: Path, python: str) -> None:
    """A pipe without a reader is status 2 and a sentence, without a traceback."""
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [python, "-I", str(program), "--schema"],
        stdout=writing, stderr=subprocess.PIPE, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    os.close(writing)

    assert (done.returncode, done.stderr) == (
        2,
        "kvmtests-precheck: the output cannot be written: Broken pipe.\n",
    )


def test_known_issues_are_those_of_the_suite() -> None:
    """The bundle carries every entry of kvmtests/known_issues.toml."""
    text = (ROOT / "kvmtests/known_issues.toml").read_text(encoding="utf-8")

    carried = entries(bundle.known_issues(ROOT))

    assert [entry.id for entry in carried] == [
        line.split('"')[1] for line in text.splitlines() if line.startswith("id = ")
    ]


def test_claims_of_checks_exist() -> None:
    """Each check names claims that are in the suite."""
    for checks in BY_ARCHITECTURE.values():
        for claim in (claim for check in checks for claim in check.claims):
            path, _, name = claim.partition("::")
            source = (ROOT / "kvmtests" / path).read_text(encoding="utf-8")
            assert f"def {name.partition('[')[0]}(" in source, claim


@pytest.mark.parametrize(
    ("source", "lowered"),
    [
        pytest.param(
            "@dataclass(frozen=True, slots=True)\nclass A: pass  # kept",
            "@dataclass(frozen=True)\nclass A: pass  # kept",
            id="slots",
        ),
        pytest.param("@dataclass(kw_only=True)\nclass A: pass", "@dataclass()\nclass A: pass", id="kw-only"),
        pytest.param("ok = isinstance(x, A | b.B | C)", "ok = isinstance(x, (A, b.B, C))", id="isinstance"),
        pytest.param("from typing import Any, Self", "from typing import Any", id="self"),
        pytest.param("from typing import Self", "pass", id="self-alone"),
        pytest.param("from enum import StrEnum", "from str_enum import StrEnum", id="str-enum"),
        pytest.param("Fact = str | int | bool", "Fact = 'str | int | bool'", id="union"),
        pytest.param("Kind = type[A] | type[B]", "Kind = 'type[A] | type[B]'", id="union-of-classes"),
        pytest.param("BITS = A | B", "BITS = A | B", id="bits"),
        pytest.param("U = ctypes.LittleEndianUnion", "U = ctypes.Union", id="ctypes"),
        pytest.param("é = 1; ok = isinstance(é, A | B)", "é = 1; ok = isinstance(é, (A, B))", id="utf-8"),
    ],
)
def test_newer_forms_are_exchanged(source: str, lowered: str) -> None:
    """What Python 3.9 does not have is written as it has it, and all else stays."""
    assert lower(source, "module") == lowered


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        pytest.param("zip(a, b, strict=True)", "module, line 1: zip", id="zip"),
        pytest.param("from itertools import pairwise", "Python 3.9 has no pairwise", id="pairwise"),
        pytest.param("match x:\n    case 1: pass", "module, line 2: Pattern matching", id="match"),
        pytest.param("try: pass\nexcept* A: pass", "module, line 2", id="except-star"),
    ],
)
def test_what_cannot_be_exchanged_is_refused(source: str, complaint: str) -> None:
    """The build fails, and names module and line."""
    with pytest.raises(CannotLower, match=complaint):
        lower(source, "module")


def test_closure_follows_imports(tmp_path: Path) -> None:
    """Imports at the top and in functions count with their packages; those for the type checker do not."""
    sources = {
        "a/__init__.py": "",
        "a/one.py": (
            "import json\nfrom a import two\nif TYPE_CHECKING:\n    from a import four\n"
            "def f():\n    from a.b.three import x\n"
        ),
        "a/two.py": "",
        "a/b/__init__.py": "",
        "a/b/three.py": "x = 1",
        "a/four.py": "",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)

    assert list(closure(tmp_path, "a.one")) == ["a", "a.b", "a.b.three", "a.one", "a.two"]


@pytest.mark.parametrize(
    "source", ["import pytest", "from packaging.version import Version", "from . import x"]
)
def test_closure_refuses_what_is_not_ours(tmp_path: Path, source: str) -> None:
    """A library that an operator's host lacks stops the build."""
    (tmp_path / "one.py").write_text(source)

    with pytest.raises(NotSelfContained, match=r"^one imports "):
        closure(tmp_path, "one")


def test_too_large_a_bundle_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beyond the largest size nothing is written, and the status is 2."""
    monkeypatch.setattr(bundle, "LARGEST", 1000)

    status = build.main(["--out", str(tmp_path)])

    assert (status, list(tmp_path.iterdir())) == (2, [])
    assert capsys.readouterr().err.startswith("precheck: the bundle has ")


def test_folder_that_cannot_be_written_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in the folder's place is one sentence."""
    (tmp_path / "out").touch()

    status = build.main(["--out", str(tmp_path / "out")])

    said = capsys.readouterr()
    assert (status, said.out, said.err.count("\n")) == (2, "", 1)


def test_old_python_gets_a_sentence(program: Path) -> None:
    """The start of the program insists on Python 3.9 before it imports anything of ours."""
    with zipfile.ZipFile(io.BytesIO(program.read_bytes())) as archive:
        start = archive.read("__main__.py").decode()

    assert start.index("sys.version_info < (3, 9)") < start.index("import run")
    assert "sys.exit(2)" in start
