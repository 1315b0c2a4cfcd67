# SPDX-License-Identifier: GPL-2.0-only
"""Known issues in the forms of CI systems, each read by its system's rules."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fixtures.facts import Fact
from fixtures.kernel_release import Prediction
from fixtures.known_issues import KnownIssue, load
from reports import lava
from reports.tests.clients import INSTALL_S, python_client
from reports.tests.texts import run_of
from tools.known_issues import __main__ as command
from tools.known_issues import expunge, openqa, predicted, skipgen, squad

TEXT = r"""
[[issue]]
id = "counter"
tests = 'test_timers\.py::test_(a|b)'
when = { arch = "arm64", kind = ["host", "lab"], mode = ["nvhe", "protected"], kernel = "<6.12" }
symptom = 'x'
reason = "the counter: stands # still"
reference = "docs/findings/counter.md"

[[issue]]
id = "anywhere"
tests = '::test_b'
when = { kind = "host", unless = { mended = true } }
symptom = 'x'
reason = "it is like that"
reference = "docs/findings/anywhere.md"
"""
ISSUES = load(TEXT, "text")
A, B, C = (f"kvmtests/arm64/test_timers.py::{name}" for name in ("test_a[minus-one]", "test_b", "test_c"))
HOST: dict[str, Fact] = {"kind": "host", "arch": "arm64"}


def issue(name: str) -> KnownIssue:
    """Return the issue *name*."""
    return next(one for one in ISSUES if one.id == name)


@pytest.mark.parametrize(
    ("name", "facts", "likely"),
    [
        pytest.param("counter", {"mode": "nvhe", "kernel": "6.10"}, Prediction.YES, id="all-hold"),
        pytest.param("counter", {"mode": "nvhe", "kernel": "6.12"}, Prediction.NO, id="newer-kernel"),
        pytest.param("counter", {"mode": "nvhe", "kernel": "6.1.90"}, Prediction.MAYBE, id="stable-kernel"),
        pytest.param("counter", {"mode": "vhe"}, Prediction.NO, id="one-does-not"),
        pytest.param("counter", {"kernel": "6.10"}, Prediction.MAYBE, id="one-is-not-given"),
        pytest.param("anywhere", {}, Prediction.MAYBE, id="repair-is-not-given"),
        pytest.param("anywhere", {"mended": True}, Prediction.NO, id="repaired"),
        pytest.param("anywhere", {"mended": False}, Prediction.YES, id="not-repaired"),
    ],
)
def test_facts_that_are_not_given_leave_it_open(
    name: str, facts: dict[str, Fact], likely: Prediction
) -> None:
    """An issue concerns a host for sure only where every fact that it needs is given."""
    assert predicted.likelihood(issue(name), {**HOST, **facts}) == likely


@pytest.fixture
def found() -> list[predicted.ExpectedFailure]:
    """The failures that are predicted on an nVHE host of which no more is known."""
    facts = {**HOST, "mode": "nvhe", "kernel": "6.10"}
    return list(predicted.failures(ISSUES, [A, B, C], facts))


def test_surest_issue_names_the_case(found: list[predicted.ExpectedFailure]) -> None:
    """Each case comes once, on the host, with the issue that is the surest."""
    assert [(one.nodeid, one.issue.id, one.sure) for one in found] == [
        ("kvmtests/arm64/test_timers.py::test_a[host-minus-one]", "counter", True),
        ("kvmtests/arm64/test_timers.py::test_b[host]", "counter", True),
    ]


def test_kdevops_has_a_line_a_case(found: list[predicted.ExpectedFailure]) -> None:
    """failures.txt has GROUP/TEST on each line and nothing else."""
    lines = list(expunge.lines(found))

    assert lines == ["arm64.timers/test_a.minus-one", "arm64.timers/test_b"]
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", line) for line in lines)


def test_openqa_finds_the_case(found: list[predicted.ExpectedFailure]) -> None:
    """By its rules: collection, then the case as TAP names it, then each condition as an expression."""
    issues = json.loads("\n".join(openqa.lines(found)))

    (condition,) = issues["kvmtests"]["arm64.timers.test_a.minus-one"]
    assert condition["message"].startswith("counter: the counter: stands # still (docs/findings/")
    assert re.search(condition["arch"], "aarch64")
    assert not re.search(condition["arch"], "x86_64")
    assert len(issues["kvmtests"]) == 2


def test_squad_has_the_names_that_come_by_way_of_lava(found: list[predicted.ExpectedFailure]) -> None:
    """A test is SUITE/CASE with the cases of lava/results.txt."""
    run = run_of(
        [
            {"type": "session", "version": 1, "host": "m", "time_ns": 1},
            {"type": "target", "name": "host", "kind": "host", "facts": {}},
            *({"type": "result", "nodeid": one.nodeid, "target": "host", "verdict": "pass"} for one in found),
            {"type": "end", "time_ns": 2, "exit_status": 0},
        ]
    )
    lines = list(squad.lines(found, "https://s", "https://p/", ["lkft/next"], ["rpi"]))

    named = [line.strip().removeprefix("test_name: ") for line in lines if "test_name" in line]
    assert named == [f"kvmtests/{line.split()[0]}" for line in lava.lines(run)]


@pytest.mark.clients
@pytest.mark.timeout(INSTALL_S + 60)
@pytest.mark.parametrize("none", [False, True], ids=["some", "none"])
def test_yaml_is_what_its_readers_need(
    found: list[predicted.ExpectedFailure], none: bool, pytestconfig: pytest.Config
) -> None:
    """skipgen's and qa-reports-known-issues' keys and types, as a YAML reader gets them, also of no issue."""
    python = python_client("python", pytestconfig, "kernel-ci")

    def read(text: str) -> Any:
        script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"
        done = subprocess.run([python, "-c", script], input=text, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    chosen = [] if none else found
    skips = read("\n".join(skipgen.lines(chosen, "https://p/", ["rpi"], [])))["skiplist"]
    (project,) = read("\n".join(squad.lines(chosen, "https://s", "https://p/", ["lkft/next"], ["rpi"])))[
        "projects"
    ]

    assert [test for skip in skips for test in skip["tests"]] == [one.nodeid for one in chosen]
    for skip in skips:
        assert skip.keys() == {"reason", "url", "environments", "boards", "branches", "tests"}
        assert (skip["boards"], skip["branches"]) == (["rpi"], "all")
    assert len(project["known_issues"]) == len(chosen)
    for known in project["known_issues"]:
        assert set(known["projects"]) <= set(project["projects"])
        assert set(known["environments"]) <= set(project["environments"])
        assert (known["active"], known["intermittent"]) == (True, False)
        assert known["url"] == "https://p/docs/findings/counter.md"


@pytest.mark.thorough
@pytest.mark.timeout(120)
def test_our_own_issues_have_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole way: the physical counter's cases on an arm64 host in protected mode, and none of x86."""
    assert command.main(["--form", "expunge", "--fact", "arch=arm64", "--fact", "mode=protected"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert "arm64.timers_and_offsets/test_reset_keeps_the_counters.physical" in lines
    assert {line.partition(".")[0] for line in lines} == {"arm64"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["--form", "skipgen", "--fact", "arch"], "a fact is NAME=VALUE, not 'arch'", id="fact"),
        pytest.param(["--form", "squad", "--project", "a/b"], "squad needs --project", id="squad"),
        pytest.param(["--form", "toml"], "invalid choice", id="form"),
    ],
)
def test_wrong_usage_is_a_sentence(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, and one line."""
    with pytest.raises(SystemExit) as ended:
        command.main(words)

    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in error
    assert error.count("\n") == 1


def test_file_that_cannot_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A site's own file with a mistake is refused before any claim is collected."""
    (tmp_path / "ours.toml").write_text("[[issue]]\nid = 'x'\n")

    assert command.main(["--form", "json", "--known-issues", str(tmp_path / "ours.toml")]) == 2

    assert "ours.toml: an issue has just the keys" in capsys.readouterr().err
