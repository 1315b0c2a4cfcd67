# SPDX-License-Identifier: GPL-2.0-only
"""Every test on every host: results kept apart by host and target in one journal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from reports import merge, read_journal
from reports.model import ResultEnding, Run, Verdict

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).parents[2]
HOSTS = ("--dist", "each", "--tx", "popen//id=alpha", "--tx", "popen//id=beta")

TARGETS = """
import os
import pytest

@pytest.hookimpl(optionalhook=True)
def pytest_kvm_targets(config):
    worker = os.environ.get("PYTEST_XDIST_WORKER", "controller")
    return [dict(name="host", kind="host", arch="x86_64", mode="", generation="probed", simulated=False,
                 usable=True, reason=None, facts={"board": worker})]

def pytest_collection_modifyitems(items):
    for item in items:
        item.user_properties.append(("target", "host"))
"""


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a folder for a pytest session with two hosts, both of them this computer."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]")
    pytester.makeconftest(TARGETS)
    return pytester


def run(session: pytest.Pytester) -> Run:
    """Run the session and return what its journal says."""
    options = ["-p", "reports.plugin", "-p", "no:cacheprovider", "--report-dir=out"]
    session.runpytest_subprocess(*options, *HOSTS, timeout=170)
    return read_journal.read([session.path / "out/journal.jsonl"])


def verdicts(found: Run) -> dict[tuple[str, str], Verdict]:
    """Return the verdict of each test on each target."""
    return {(result.target, result.name): result.verdict for result in found.results}


@pytest.mark.thorough
def test_each_host_has_its_own_results_and_facts(session: pytest.Pytester) -> None:
    """A test that fails on one host passes on the other; each target has its host's facts."""
    session.makepyfile(
        "import os\ndef test_a(): assert os.environ['PYTEST_XDIST_WORKER'] == 'alpha'\ndef test_b(): pass\n"
    )

    found = run(session)

    assert verdicts(found) == {
        ("host@alpha", "test_a"): Verdict.PASS,
        ("host@alpha", "test_b"): Verdict.PASS,
        ("host@beta", "test_a"): Verdict.FAIL,
        ("host@beta", "test_b"): Verdict.PASS,
    }
    assert dict(found.target("host@beta").facts) == {"board": "beta"}
    assert {one.host for one in found.sessions} >= {"alpha", "beta"}


@pytest.mark.thorough
def test_host_whose_worker_dies_continues_under_its_name(session: pytest.Pytester) -> None:
    """The test that killed it is named for that host only, and the rest also runs there."""
    session.makepyfile(
        "import os, pytest\n"
        "pytestmark = pytest.mark.parametrize('target', ['host'])\n"  # in the id, as every claim has it
        "def test_a(target): pass\n"
        "def test_b(target): 'beta' == os.environ['PYTEST_XDIST_WORKER'] and os._exit(9)\n"
        "def test_c(target): pass\n"
    )

    found = run(session)

    endings = {(result.target, result.name): result.ending for result in found.results}
    assert len(endings) == 6
    assert {key for key, ending in endings.items() if ending is not ResultEnding.FINISHED} == {
        ("host@beta", "test_b")
    }
    assert verdicts(found)["host@beta", "test_c"] is Verdict.PASS


@pytest.mark.thorough
def test_reports_name_host_and_target(session: pytest.Pytester) -> None:
    """The flat document has every test of every host under a name of its own."""
    session.makepyfile("def test_a(): pass\n")

    run(session)

    lines = (session.path / "out/results.tap").read_text().splitlines()
    assert [line.split()[2].split(".test_")[0].split(".")[:2] for line in lines if line.startswith("ok")] == [
        ["host", "alpha"],
        ["host", "beta"],
    ]


def journal(*records: Mapping[str, object]) -> Run:
    """Return what a journal of *records* says."""
    first: Mapping[str, object] = {"type": "session", "version": 1, "host": "controller", "time_ns": 1}
    lines = [json.dumps(record).encode() + b"\n" for record in (first, *records)]
    return merge.merge(read_journal.parse(lines))


def older(record: Mapping[str, object]) -> Mapping[str, object]:
    """Return *record* as journals had it when they called a host a machine."""
    renamed = {"machine" if name == "host" else name: value for name, value in record.items()}
    return {**renamed, "type": "machine"} if record["type"] == "host" else renamed


def test_older_journal_that_calls_a_host_a_machine_reads_the_same() -> None:
    """Field and record type under their former names give the same run: hosts, facts, a crashed test."""
    a = "kvmtests/x86/test_clock.py::test_a[host]"
    records: list[Mapping[str, object]] = [
        {"type": "session", "version": 1, "host": "controller", "time_ns": 1},
        *({"type": "host", "host": name, "facts": {"board": name}} for name in ("alpha", "beta")),
        *({"type": "target", "name": "host", "host": name} for name in ("alpha", "beta")),
        *({"type": "collection", "nodeids": [a], "host": name} for name in ("alpha", "beta")),
        {"type": "result", "nodeid": a, "target": "host", "verdict": "pass", "host": "alpha"},
        {"type": "start", "nodeid": a, "time_ns": 2, "host": "beta"},
    ]

    new, old = journal(*records), journal(*map(older, records))

    assert [(one.host, one.facts) for one in old.sessions[-2:]] == [
        ("alpha", (("board", "alpha"),)),
        ("beta", (("board", "beta"),)),
    ]
    assert {one.target: one.ending for one in old.results} == {
        "host@alpha": ResultEnding.FINISHED,
        "host@beta": ResultEnding.CRASHED,
    }
    assert new == old


def test_journal_that_breaks_off_names_what_ran_on_which_host() -> None:
    """A test that one host had started, and another had not, crashed on the one only."""
    a = "kvmtests/x86/test_clock.py::test_a[host]"
    found = journal(
        *({"type": "target", "name": "host", "host": name} for name in ("alpha", "beta")),
        *({"type": "collection", "nodeids": [a], "host": name} for name in ("alpha", "beta")),
        {"type": "start", "nodeid": a, "time_ns": 2, "host": "beta"},
    )

    assert {result.target: result.ending for result in found.results} == {
        "host@alpha": ResultEnding.NOT_RUN,
        "host@beta": ResultEnding.CRASHED,
    }


def test_target_of_one_host_keeps_its_name() -> None:
    """Only what several hosts have needs the host's name."""
    found = journal(
        {"type": "target", "name": "host", "host": "alpha"},
        {
            "type": "result",
            "nodeid": "a.py::test_a[host]",
            "target": "host",
            "verdict": "pass",
            "host": "alpha",
        },
        {"type": "end", "time_ns": 3, "exit_status": 0},
    )

    assert [(result.target, result.name) for result in found.results] == [("host", "test_a")]
    assert all(one.complete for one in found.sessions)
