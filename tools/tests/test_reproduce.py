# SPDX-License-Identifier: GPL-2.0-only
"""The line "reproduce:" of each kind of result, run by a shell as it is printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import vendor
from tools.tests.fault_suite import LEAN, ROOT, EndedSession, Suite
from tools.tests.usual import few_of

DEFECT = "C01"

# Every test starts pytest twice.
pytestmark = pytest.mark.timeout(300)


def repeated(
    suite: Suite, ended: EndedSession, name: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Return what a shell in the suite's folder makes of the printed line of the test *name*."""
    (line,) = (result.repro for result in ended.results.values() if result.repro and name in result.name)
    assert f"reproduce: {line}\n" in ended.output
    return by_shell(suite.folder, line, **environment)


def by_shell(folder: Path, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Return what a shell in *folder* makes of *line*."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    return subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env={**kept, "PYTEST_ADDOPTS": " ".join(LEAN), **environment},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def failing(name: str) -> str:
    """Return a module with one test that fails for the parameter called *name*, and passes for another."""
    return (
        "import pytest\n"
        f"@pytest.mark.parametrize('word', [1, 2], ids=[{name!r}, 'other'])\n"
        "def test_fails(target, word):\n    assert word == 2\n"
    )


def ran(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return how many tests passed, failed and so on, by pytest's last line."""
    last = re.findall(r"^=* ?((?:\d+ \w+(?:, )?)+) in ", done.stdout, re.MULTILINE)[-1]
    counts = (part.split() for part in last.split(", "))
    return {word: int(number) for number, word in counts if word != "deselected"}


SHELL_CHARACTERS = """it's a "quoted" word; $(touch oops) `touch oops`; touch oops; two  blanks *?[~] !&|<>"""


def test_failure_with_shell_characters_in_its_id(tmp_path: Path) -> None:
    """Whatever stands in a parameter is one word of the command, and just that test runs."""
    suite = Suite(tmp_path, failing(SHELL_CHARACTERS))
    ended = suite.run()

    done = repeated(suite, ended, "test_fails")

    assert ran(done) == {"failed": 1}, done.stdout + done.stderr
    assert not (tmp_path / "oops").exists()


@pytest.fixture(scope="module")
def words_of_cis(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """A suite that ran, with a failure whose parameter holds what searches of kernel CIs act on."""
    name = "[SKIP] FAIL: x # SKIP # not ok <LAVA_SIGNAL_TESTCASE it's reboot: System halted " + "y" * 500
    suite = Suite(tmp_path_factory.mktemp("words"), failing(name))
    assert suite.run().status == 1
    return suite


@pytest.mark.parametrize(
    "report", few_of(["results.tap", "results.ktap", "lava/*.log"], {"results.ktap", "lava/*.log"})
)
def test_line_in_a_report_that_words_of_kernel_cis_are_taken_out_of(words_of_cis: Suite, report: str) -> None:
    """What a CI's search would act on is taken apart in the line, which a shell runs all the same."""
    (written,) = words_of_cis.out.glob(report)
    (line,) = re.findall(r"^[ #]*reproduce: (.*)$", written.read_text(), re.MULTILINE)

    done = by_shell(words_of_cis.folder, line)

    assert ran(done) == {"failed": 1}, done.stdout + done.stderr
    assert not re.search(r"\[SKIP\]|FAIL:|# *(SKIP|not ok)|<LAVA|reboot: System", line)


def test_known_issue_that_no_longer_shows(tmp_path: Path) -> None:
    """An unexpected pass has a line of its own target."""
    (tmp_path / "kvmtests").mkdir()
    (tmp_path / "kvmtests" / "known_issues.toml").write_text(
        "[[issue]]\nid = 'listed'\ntests = 'test_now_works'\nwhen = { kind = 'sim' }\n"
        "symptom = 'x'\nreason = 'it is like that'\nreference = 'docs'\n"
    )
    suite = Suite(tmp_path, "def test_now_works(target):\n    pass\n")
    ended = suite.run("--strict-known-issues")

    done = repeated(suite, ended, "test_now_works")

    assert ended.verdicts()["test_now_works"] == "xpass"
    assert ran(done) == {"failed": 1}, done.stdout + done.stderr
    assert "the known issue listed no longer shows here" in done.stdout


@pytest.mark.parametrize("workers", few_of(["0", "2"], {"0"}))
def test_test_that_kills_its_process(tmp_path: Path, workers: str) -> None:
    """A worker that died, and a session that did: the line kills its process again, as the test does."""
    suite = Suite(tmp_path, "import os\ndef test_dies(target):\n    os._exit(9)\n")
    ended = suite.run("-n", workers)
    if workers == "0":
        merged = subprocess.run(
            [sys.executable, "-m", "tools.report", str(suite.out / "journal.jsonl"), "--out", str(suite.out)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        ended = EndedSession(merged.returncode, merged.stdout, suite.out)

    done = repeated(suite, ended, "test_dies")

    assert ended.results["test_dies"].ending == "crashed"
    assert "--target sim-x86_64" in ended.results["test_dies"].repro
    assert done.returncode == 9, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("marker", "arguments"),
    [
        ("benchmark", ["--benchmark", "--benchmark-iterations", "7", "--benchmark-single-exits"]),
        pytest.param("stress", ["--stress"], marks=pytest.mark.thorough),
    ],
)
def test_test_that_runs_when_called_only(tmp_path: Path, marker: str, arguments: list[str]) -> None:
    """Benchmarks and stress tests are deselected without their option: the line has it."""
    tests = (
        f"import pytest\n@pytest.mark.{marker}\ndef test_fails(target, request):\n"
        "    given = request.config.getoption\n"
        "    assert 0, [given('benchmark_iterations'), given('benchmark_single_exits')]\n"
    )
    suite = Suite(tmp_path, tests)
    ended = suite.run(*arguments)

    done = repeated(suite, ended, "test_fails")

    assert ran(done) == {"failed": 1}, done.stdout + done.stderr
    assert ("[7, True]" in done.stdout) is (marker == "benchmark")


@pytest.mark.thorough
def test_glance_at_a_benchmark(tmp_path: Path) -> None:
    """A benchmark that ran among other tests is run so again."""
    tests = (
        "import pytest\n@pytest.mark.benchmark\n@pytest.mark.glance\n"
        "def test_fails(target, recorder):\n    assert 0\n"
    )
    suite = Suite(tmp_path, tests)
    ended = suite.run("--benchmark-glance")

    done = repeated(suite, ended, "test_fails")

    assert ran(done) == {"failed": 1}, done.stdout + done.stderr
    assert "--benchmark-glance" not in ended.output.partition("test_last")[2]


def test_failure_under_a_defect(tmp_path: Path) -> None:
    """What fails because of an injected defect fails because of it again."""
    tests = "def test_fails(target, request):\n    assert request.config.getoption('--defect') is None\n"
    suite = Suite(tmp_path, tests)
    ended = suite.run("--defect", DEFECT)

    done = repeated(suite, ended, "test_fails")

    assert f"--defect {DEFECT}" in ended.results["test_fails"].repro
    assert ran(done) == {"failed": 1}, done.stdout + done.stderr


def test_module_that_cannot_be_imported(tmp_path: Path) -> None:
    """A module that cannot be imported also has a line."""
    suite = Suite(tmp_path, "import nonsense_of_ours\n")
    ended = suite.run()

    done = repeated(suite, ended, "collection")

    assert "No module named 'nonsense_of_ours'" in done.stdout


def test_checkout_names_its_own_environment(tmp_path: Path) -> None:
    """If there is a .venv, the line begins with it, whichever Python the run had."""
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    suite = Suite(tmp_path, "def test_fails(target):\n    assert 0\n")
    ended = suite.run()

    done = repeated(suite, ended, "test_fails")

    assert ended.results["test_fails"].repro.startswith(".venv/bin/python -m pytest ")
    assert ran(done) == {"failed": 1}, done.stdout + done.stderr


def test_installed_tree_names_what_runs_there(tmp_path: Path) -> None:
    """Without .venv the line uses the tree's own packages and the host's python3."""
    suite = Suite(tmp_path, "")
    vendor.copy(tmp_path / "vendor")
    commands = tmp_path / "bare"
    commands.mkdir()
    (commands / "python3").symlink_to(Path(sys.executable).resolve())
    path = f"{commands}:/usr/bin:/bin"
    # The simulator's CPU emulator is compiled and is not copied: no target is used here.
    plugins = "pytest_plugins = ['fixtures.plugins.reproduce', 'reports.plugin']\n"
    (tmp_path / "conftest.py").write_text(plugins)
    (tmp_path / "test_claims.py").write_text("def test_fails():\n    assert 0\n")
    words = ["env", "PYTHONPATH=vendor", f"PATH={path}", "python3", "-m", "pytest"]
    words += ["-p", "no:cacheprovider", "--journal", str(suite.out / "journal.jsonl")]
    ended = suite.end(suite.start(words))

    done = repeated(suite, ended, "test_fails", PATH=path)

    assert ended.results["test_fails"].repro.startswith("env PYTHONPATH=vendor python3 -m pytest ")
    assert ran(done) == {"failed": 1}, done.stdout + done.stderr
