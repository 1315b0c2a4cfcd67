# SPDX-License-Identifier: GPL-2.0-only
"""tmt's results.yaml: a result a target, a subresult a test, and tmt's own words."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from reports import tmt
from reports.model import Result, Run, Verdict, by_target
from reports.tests import samples
from reports.tests.clients import INSTALL_S, python_client
from reports.tests.test_clients import every_run, hostile_run
from reports.tests.texts import run_of
from reports.whole_file import write_file

READ = """
import json, sys
from pathlib import Path
import fmf.utils
import tmt.utils
from tmt.result import Result
schema = tmt.utils.load_schema(Path("results.yaml"))
read = tmt.utils.yaml_to_list(Path(sys.argv[1]).read_text())
assert not fmf.utils.validate_data(read, schema, schema_store=tmt.utils.load_schema_store()).errors
results = [Result.from_serialized(one) for one in read]
print(json.dumps([
    [one.name, one.result.value, one.note, [[s.name, s.result.value, s.note, [str(log) for log in s.log]]
     for s in one.subresult]] for one in results
]))
"""


def result(verdict: Verdict, name: str = "test_a", target: str = "host", *, strict: bool = False) -> Result:
    """Return a result with *verdict*."""
    return Result(f"kvmtests/x86/test_clock.py::{name}", name, target, "x86.clock", verdict, strict=strict)


@pytest.mark.parametrize(
    ("verdict", "strict", "word"),
    [
        pytest.param(Verdict.PASS, False, "pass", id="pass"),
        pytest.param(Verdict.FAIL, False, "fail", id="fail"),
        pytest.param(Verdict.CHANGED, False, "info", id="changed"),
        pytest.param(Verdict.CHANGED, True, "warn", id="changed-strict"),
        pytest.param(Verdict.SKIP, False, "skip", id="skip"),
        pytest.param(Verdict.XFAIL, False, "pass", id="xfail"),
        pytest.param(Verdict.XPASS, False, "info", id="xpass"),
        pytest.param(Verdict.XPASS, True, "warn", id="xpass-strict"),
        pytest.param(Verdict.ERROR, False, "error", id="error"),
        pytest.param(Verdict.TIMEOUT, False, "error", id="timeout"),
        pytest.param(Verdict.NOT_RUN, False, "pending", id="not-run"),
    ],
)
def test_each_verdict_has_a_word(verdict: Verdict, strict: bool, word: str) -> None:
    """What fails a run is fail, warn or error for tmt, which then ends with a failure; nothing else is."""
    one = result(verdict, strict=strict)

    assert tmt.outcome(one) == word
    assert one.bad == (word in ("fail", "warn", "error"))


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        pytest.param([Verdict.SKIP, Verdict.SKIP], "skip", id="nothing-ran"),
        pytest.param([Verdict.SKIP, Verdict.XPASS, Verdict.PASS], "pass", id="good"),
        pytest.param([Verdict.PASS, Verdict.FAIL, Verdict.XFAIL], "fail", id="failure"),
        pytest.param([Verdict.FAIL, Verdict.TIMEOUT], "error", id="timeout"),
        pytest.param([Verdict.PASS, Verdict.NOT_RUN], "error", id="unfinished"),
    ],
)
def test_target_is_as_bad_as_its_worst_test(verdicts: list[Verdict], word: str) -> None:
    """A target has the worst of its tests' words; if one of them did not run it is an error."""
    assert tmt.overall([result(verdict) for verdict in verdicts]) == word


@every_run
def test_each_test_is_a_subresult(run: Run) -> None:
    """Every result has a name of its own and its word; a log that is named is written, and no other."""
    text = "".join(tmt.results(run))
    parts = re.split(r"^- ", text, flags=re.MULTILINE)[1:]

    for part, (_, found) in zip(parts, by_target(run), strict=True):
        names = re.findall(r'^  - name: "(/[^"]+)"$', part, re.MULTILINE)
        words = re.findall(r"^    result: (\w+)$", part, re.MULTILINE)
        assert len({name.lower() for name in names}) == len(found)
        assert words == [tmt.outcome(one) for one in found]
    named = re.findall(r'^    - "(.+\.log)"$', text, re.MULTILINE)
    written = {name: "".join(lines) for name, lines in tmt.logs(run)}
    assert sorted(named) == sorted(written)
    assert all(len(name) <= 204 and "/" not in name for name in written)
    assert len(written) == sum(one.verdict not in (Verdict.PASS, Verdict.NOT_RUN) for one in run.results)


def test_one_target_is_the_test_itself() -> None:
    """With one target its result is "/"; of several each has its name."""
    one = "".join(tmt.results(samples.run(20, targets=1), "journal.jsonl"))
    two = "".join(tmt.results(samples.run(20, targets=2)))

    assert one.startswith('- name: "/"\n')
    assert '\n  log:\n  - "journal.jsonl"\n' in one
    assert re.findall(r'^- name: "(.+)"$', two, re.MULTILINE) == ["/host", "/sim-x86_64"]


def test_run_that_ended_early_says_so() -> None:
    """A test that did not run is pending, its target an error with the reason."""
    key = {"nodeid": "kvmtests/x86/test_clock.py::test_a[host]", "target": "host"}
    late = "kvmtests/x86/test_clock.py::test_b[host]"
    run = run_of(
        [
            {"type": "session", "version": 1, "host": "m", "time_ns": 1},
            {"type": "target", "name": "host", "kind": "host", "facts": {}},
            {"type": "collection", "nodeids": [key["nodeid"], late]},
            {"type": "result", **key, "verdict": "pass"},
        ]
    )

    text = "".join(tmt.results(run))

    assert "  result: error\n  note:\n" in text
    assert "the run never came to its end: 1 of 2 collected tests did not run" in text
    assert Counter(re.findall(r"^    result: (\w+)$", text, re.MULTILINE)) == {"pass": 1, "pending": 1}


@pytest.mark.thorough
@pytest.mark.clients
@pytest.mark.timeout(INSTALL_S + 60)
@pytest.mark.parametrize("run", [hostile_run(), samples.run(400)], ids=["hostile", "ordinary"])
def test_tmt_reads_it(run: Run, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """tmt's own reader gets the words, names and notes back, whatever a guest or a kernel wrote."""
    python = python_client("python", pytestconfig, "kernel-ci")
    file = write_file(tmp_path / "results.yaml", tmt.results(run))

    done = subprocess.run(
        [python, "-c", READ, file], capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path
    )

    assert done.returncode == 0, done.stderr
    read: list[Any] = json.loads(done.stdout)
    for (_, word, _, parts), (_, found) in zip(read, by_target(run), strict=True):
        assert word == tmt.overall(found)
        assert [part[1] for part in parts] == [tmt.outcome(one) for one in found]
        assert [part[2] for part in parts] == [tmt._notes(one) for one in found]
