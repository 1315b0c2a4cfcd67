# SPDX-License-Identifier: GPL-2.0-only
"""contrib/tmt: a test a module, and what tmt makes of a run with every verdict."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from reports import read_journal
from reports.model import Verdict, counts
from reports.tests.clients import INSTALL_S, python_client
from tools import kselftest, tmt_run, tmt_tree
from tools.tests import planted

ROOT = Path(__file__).parents[2]
WORDS = {"pass": 3, "fail": 1, "info": 2, "skip": 1, "error": 2}
"""What the planted verdicts are for tmt: an expected failure is a pass there."""

STRICT_WORDS = {"pass": 3, "fail": 1, "warn": 2, "skip": 1, "error": 2}


def test_every_module_is_a_test() -> None:
    """The files of contrib/tmt/tests are those that the modules of claims make."""
    files = dict(tmt_tree.files())

    text = "".join(files.values())
    assert all(path.read_text() == expected for path, expected in files.items())
    assert re.findall(r"^        SUBJECT: (\S+)$", text, re.MULTILINE) == kselftest.subjects()
    assert all(len(line) <= 64 for line in text.splitlines() if "summary:" in line)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with the planted claims, as metadata of tmt."""
    tree = planted.plant(tmp_path_factory.mktemp("tmt") / "tree")
    shutil.copytree(ROOT / ".fmf", tree / ".fmf")
    (tree / "contrib/tmt/tests").mkdir(parents=True)
    for name in ("plans.fmf", "tests/main.fmf"):
        shutil.copy(ROOT / "contrib/tmt" / name, tree / "contrib/tmt" / name)
    only = f"/planted:\n    summary: planted\n    environment+:\n        SUBJECT: {planted.SUBJECT}\n"
    (tree / "contrib/tmt/tests/x86.fmf").write_text(only)
    return tree


@pytest.mark.parametrize(
    ("options", "words", "overall"),
    [((), WORDS, "error"), (planted.STRICT, STRICT_WORDS, "error")],
    ids=["lenient", "strict"],
)
def test_results_are_those_of_the_journal(
    tree: Path, tmp_path: Path, options: tuple[str, ...], words: dict[str, int], overall: str
) -> None:
    """Each verdict arrives in tmt's word; the output is the program's TAP document."""
    arguments = " ".join([f"--target={planted.TARGET}", *options])
    done = subprocess.run(
        [sys.executable, "-m", "tools.tmt_run", planted.SUBJECT],
        cwd=tree,
        env={**os.environ, "TMT_TEST_DATA": str(tmp_path), "KVMTESTS_ARGS": arguments},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("TAP version 13\n1..9\n")
    run = read_journal.read([tmp_path / "journal.jsonl"])
    assert {verdict: number for verdict, number in counts(run.results).items() if number} == planted.VERDICTS
    text = (tmp_path / "results.yaml").read_text()
    assert Counter(re.findall(r"^    result: (\w+)$", text, re.MULTILINE)) == words
    assert text.startswith(f'- name: "/"\n  result: {overall}\n')
    assert '\n    result: pass\n    note:\n    - "xfail: it was planted' in text
    for log in re.findall(r'^    - "(.+\.log)"$', text, re.MULTILINE):
        assert (tmp_path / log).read_text().startswith("verdict: ")


def test_subject_that_cannot_run_is_a_skip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where nothing concerns the target the one result is a skip with the program's reason."""
    monkeypatch.setenv("TMT_TEST_DATA", str(tmp_path))
    monkeypatch.setenv("KVMTESTS_ARGS", "--target=sim-x86_64")

    assert tmt_run.main(["arm64.timers"]) == 0

    assert (tmp_path / "results.yaml").read_text() == (
        '- name: "/"\n  result: skip\n  note:\n  - "none of these claims concerns this host"\n'
    )
    assert "1..0 # SKIP" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "tmt_run: name one subject", id="none"),
        pytest.param(["x86.nothing"], "tmt_run: name one subject", id="unknown"),
        pytest.param(["x86.clock_monotonic"], "TMT_TEST_DATA names no folder", id="not-under-tmt"),
    ],
)
def test_wrong_usage_is_a_sentence(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, and one line."""
    monkeypatch.delenv("TMT_TEST_DATA", raising=False)

    assert tmt_run.main(arguments) == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.thorough
@pytest.mark.clients
@pytest.mark.timeout(INSTALL_S + 60)
def test_tmt_finds_nothing_to_complain_of(pytestconfig: pytest.Config) -> None:
    """`tmt lint` on this tree passes."""
    tmt = python_client("tmt", pytestconfig, "kernel-ci")

    done = subprocess.run([tmt, "lint"], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == 0, done.stdout
    assert not re.findall(r"^ *(?:fail|warn) .*$", done.stdout, re.MULTILINE)


@pytest.mark.thorough
@pytest.mark.clients
@pytest.mark.timeout(INSTALL_S + 200)
def test_tmt_runs_it(tree: Path, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """`tmt run --all provision -h local` ends with the journal's results, and status 2 for an error."""
    tmt = python_client("tmt", pytestconfig, "kernel-ci")
    if shutil.which("rsync", path="/usr/bin:/bin") is None:
        pytest.skip("tmt needs rsync")

    # What the tests require is in this environment, so nothing is prepared.
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    variables = [f"KVMTESTS_ARGS=--target={planted.TARGET}", f"PATH={path}"]
    done = subprocess.run(
        [tmt, "--feeling-safe", "run", "--workdir-root", tmp_path, "--all", "--skip", "prepare",
         *(word for variable in variables for word in ("-e", variable)), "provision", "-h", "local"],
        cwd=tree, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip

    assert done.returncode == 2, done.stdout + done.stderr
    (file,) = tmp_path.glob("*/contrib/tmt/plans/execute/results.yaml")
    (journal,) = tmp_path.glob("*/contrib/tmt/plans/execute/data/**/journal.jsonl")
    run = read_journal.read([journal])
    script = "import json, sys; import tmt.utils as u; print(json.dumps(u.yaml_to_list(sys.stdin.read())))"
    python = python_client("python", pytestconfig, "kernel-ci")
    read = subprocess.run(
        [python, "-c", script], input=file.read_text(), capture_output=True, text=True, timeout=50, check=True
    )
    (result,) = json.loads(read.stdout)
    assert (result["name"], result["result"]) == ("/contrib/tmt/tests/x86/planted", "error")
    assert Counter(part["result"] for part in result["subresult"]) == WORDS
    assert {verdict: number for verdict, number in counts(run.results).items() if number} == planted.VERDICTS
    said = Counter(part["note"][0].partition(":")[0] for part in result["subresult"] if part["note"])
    for verdict in (Verdict.CHANGED, Verdict.XFAIL, Verdict.XPASS, Verdict.TIMEOUT):
        assert said[verdict.value] == 1
