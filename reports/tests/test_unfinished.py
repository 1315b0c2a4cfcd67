# SPDX-License-Identifier: GPL-2.0-only
"""A run that ended before its tests did: what did not run is never a skip, and nothing is green."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET

import pytest

from reports import (
    compare,
    html,
    junit,
    kcidb,
    ktap,
    lava,
    merge,
    model,
    read_journal,
    read_ktap,
    squad,
    summary,
    table,
    unfinished,
)
from reports.compare import Kind
from reports.model import ResultEnding, Run, Verdict

PASSED = "kvmtests/x86/test_clock.py::test_passes[host]"
SKIPPED = "kvmtests/x86/test_clock.py::test_skips[host]"
WAITING = "kvmtests/x86/test_clock.py::test_waits[host]"
OTHER = "kvmtests/x86/test_tsc.py::test_of_another_subject[host]"
FAILED = "kvmtests/x86/test_clock.py::test_fails[host]"

Record = Mapping[str, object]


def journal(*records: Record, collected: tuple[str, ...] = (PASSED, SKIPPED, WAITING, OTHER)) -> Run:
    """Return the run of a journal on the host, with *records* after its collection."""
    before: list[Record] = [
        {"type": "session", "version": 1, "time_ns": 1, "host": "m"},
        {"type": "target", "name": "host"},
        {"type": "collection", "nodeids": collected},
    ]
    lines = [json.dumps(record).encode() + b"\n" for record in (*before, *records)]
    return merge.merge(read_journal.parse(lines))


def result(nodeid: str, verdict: str, **more: object) -> Record:
    """Return a result record."""
    return {"type": "result", "nodeid": nodeid, "target": "host", "verdict": verdict, **more}


def end(status: int = 0, **more: object) -> Record:
    """Return an end record."""
    return {"type": "end", "time_ns": 2, "exit_status": status, **more}


RAN = (result(PASSED, "pass"), result(SKIPPED, "skip", reason="KVM_CAP_OF_TOMORROW"))


@pytest.fixture
def run() -> Run:
    """Return a run of four tests, of which two ran; its end record says that all was well."""
    return journal(*RAN, end(0))


def test_results_that_fall_short_are_an_interruption_whatever_the_end_record_says(run: Run) -> None:
    """Exit status 0 in the journal does not hide tests that have no result."""
    (session,) = run.sessions

    assert session.interrupted
    assert [one.ending for one in run.results].count(ResultEnding.NOT_RUN) == 2
    assert unfinished.sentence(run) == "interrupted: 2 of 4 collected tests did not run"
    assert model.exit_status(run.results) == 1


def test_run_without_an_end_is_unfinished() -> None:
    """A journal that breaks off is one of a run that died, also where every test has its result."""
    died = journal(*RAN)
    at_its_end = journal(*RAN, collected=(PASSED, SKIPPED))

    assert unfinished.sentence(died) == f"{unfinished.DIED}: 2 of 4 collected tests did not run"
    assert unfinished.sentence(at_its_end) == unfinished.DIED


def test_run_that_a_failure_stopped_was_not_interrupted() -> None:
    """With -x the rest did not run because the user wanted it so; that counts as not run all the same."""
    ended = end(1, stopped="stopped after the first failure", limited=True)
    stopped = journal(result(FAILED, "fail"), ended, collected=(FAILED, WAITING))

    assert not stopped.sessions[0].interrupted
    assert (
        unfinished.sentence(stopped) == "stopped after the first failure: 1 of 2 collected tests did not run"
    )


def test_older_journals_say_in_pytests_words_that_a_failure_stopped_them() -> None:
    """A journal from before the field `limited` has the words of pytest."""
    stopped = journal(
        result(FAILED, "fail"), end(1, stopped="stopping after 1 failures"), collected=(FAILED, WAITING)
    )

    assert not stopped.sessions[0].interrupted


def test_whole_run_has_nothing_to_say() -> None:
    """A run whose every test has its result is finished."""
    whole = journal(*RAN, end(0), collected=(PASSED, SKIPPED))

    assert unfinished.sentence(whole) == ""
    assert not whole.sessions[0].interrupted


def test_terminal_names_what_did_not_run(run: Run) -> None:
    """The summary has a column of its own, the names, and the sentence as its last line."""
    lines = list(summary.lines(run))

    (row,) = (line.split() for line in lines if line.startswith("host "))
    heads = [*Verdict]
    assert row[1 + heads.index(Verdict.SKIP)] == "1"
    assert row[1 + heads.index(Verdict.NOT_RUN)] == "2"
    assert "NOT RUN host x86.clock test_waits" in lines
    assert lines[-1] == f"NOT FINISHED: {unfinished.sentence(run)}"


def test_terminal_names_ten_and_counts_the_rest() -> None:
    """A thousand tests that did not run do not make a thousand lines."""
    many = tuple(f"kvmtests/x86/test_clock.py::test_{number}[host]" for number in range(1000))

    lines = [line for line in summary.lines(journal(end(0), collected=many)) if line.startswith("NOT RUN")]

    assert len(lines) == summary.MISSING_SHOWN + 1
    assert "990 more" in lines[-1]


@pytest.mark.parametrize("write", [ktap.nested, ktap.flat])
def test_ktap_plans_what_did_not_run_and_has_no_result_of_it(run: Run, write: object) -> None:
    """Two of four planned tests have a result line; comments name the others, and no line skips them."""
    assert callable(write)
    text = "".join(write(run))

    assert "# interrupted: 2 of 4 collected tests did not run\n" in text
    assert "# Planned tests != run tests (4 != 2)\n" in text
    assert re.findall(r"^ *#:not-run: (?:x86\.clock\.)?test_waits$", text, re.MULTILINE)
    assert not re.search(r"ok \d+ (\S+\.)?test_(waits|of_another_subject)", text)
    assert text.count("# SKIP") == 1
    assert read_ktap.parse(text).problems == ()


def test_ktap_groups_that_lack_results_are_not_ok(run: Run) -> None:
    """No subject and no target is ok where tests of it did not run."""
    text = "".join(ktap.nested(run))

    assert "  not ok 1 x86.clock\n" in text
    assert "  not ok 2 x86.tsc\n" in text
    assert "\nnot ok 1 host\n" in text


def test_tap_of_a_run_in_which_nothing_ran_is_not_a_skip() -> None:
    """An interruption before the first test is not the plan 1..0, which readers take for a skip."""
    text = "".join(ktap.flat(journal(end(0))))

    assert "1..4\n" in text
    assert "SKIP" not in text


@pytest.mark.parametrize("write", [junit.strict, junit.located])
def test_junit_has_an_error_in_each_suite_that_lacks_tests(run: Run, write: object) -> None:
    """A suite of which tests did not run has one error that names them; none of them is skipped."""
    assert callable(write)
    root = ET.fromstring("".join(write(run)))  # noqa: S314

    errors = root.findall(".//error")
    assert [error.attrib["type"] for error in errors] == ["not run", "not run"]
    assert "1 of 3 tests of this suite did not run: interrupted" in errors[0].attrib["message"]
    assert "test_waits" in str(errors[0].text)
    assert len(root.findall(".//skipped")) == 1


def test_submissions_say_that_the_run_is_unfinished(run: Run) -> None:
    """KCIDB: MISS. SQUAD: left out, and a test that fails. LAVA: unknown, and the same test."""
    statuses = [test["status"] for test in json.loads("".join(kcidb.submission(run)))["tests"]]
    files = {name: json.loads("".join(lines)) for name, lines in squad.submissions(run)}
    tests, metadata = files["host.tests.json"], files["host.metadata.json"]
    lines = "".join(lava.lines(run)).splitlines()

    assert statuses == ["PASS", "SKIP", "MISS", "MISS"]
    assert [entry["result"] for entry in tests.values()] == ["pass", "skip", "fail"]
    assert "2 of 4" in tests["kvmtests/run-complete"]["log"]
    assert (metadata["not_run"], metadata["unfinished"]) == (2, unfinished.sentence(run))
    assert "host.x86.clock.test_waits unknown" in lines
    assert "host.run-complete fail" in lines


def test_csv_has_the_word(run: Run) -> None:
    """The columns verdict and ending of results.csv show that a test did not run."""
    rows = list(csv.DictReader(io.StringIO("".join(table.rows(run)))))

    said = {(row["verdict"], row["ending"]) for row in rows if row["name"] == "test_waits"}
    assert said == {("not run", "not-run")}


def test_page_is_not_green(run: Run) -> None:
    """The headline begins with the interruption, in another colour, and the table has the column."""
    page = "".join(html.page(run))

    said = "Interrupted: 2 of 4 collected tests did not run; nothing fails on host: 1 passed, 1 skipped."
    assert f'<p class="headline stopped">{said}</p>' in page
    assert f"<title>KVM guest counters: {said}</title>" in page
    assert 'class="headline good"' not in page
    assert '<th scope="col" class="number">not run</th>' in page


def test_baseline_comparison_has_a_kind_for_it(run: Run) -> None:
    """A test that passed before and did not run now is neither a new skip nor fixed."""
    before = journal(*RAN, result(WAITING, "fail"), result(OTHER, "pass"), end(1))

    found = compare.compare(before, run)

    assert [change.new.name for change in found.of(Kind.NOT_RUN)] == ["test_waits", "test_of_another_subject"]
    assert found.of(Kind.SKIPPED) == found.of(Kind.REPAIRED) == []
