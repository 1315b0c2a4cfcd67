# SPDX-License-Identifier: GPL-2.0-only
"""Every writer against its reader, on hostile names and texts."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import junit_xml
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reports import (
    compare,
    html,
    html_data,
    junit,
    kcidb,
    ktap,
    lava,
    model,
    names,
    read_ktap,
    squad,
    summary,
    table,
    text,
)
from reports.model import Run, Verdict
from reports.tests import samples
from reports.tests.texts import NASTY, runs, texts, words

hostile = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

ILLEGAL_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def subjects_in(found: Sequence[tuple[str, str, str, Verdict, bool]]) -> list[tuple[str, str]]:
    """Return target and subject of each in *found*, once, in order."""
    return list(dict.fromkeys(one[:2] for one in found))


def failed(run: Run) -> int:
    """Return how many results fail *run* and are neither errors nor timeouts."""
    return sum(
        result.bad and result.verdict not in (Verdict.ERROR, Verdict.TIMEOUT) for result in run.results
    )


def verdicts(run: Run) -> Counter[str]:
    """Return how often each verdict occurs."""
    return Counter(result.verdict.value for result in run.results)


@given(texts)
def test_clean_leaves_nothing_hostile_and_is_stable(raw: str) -> None:
    """A cleaned text is legal in XML, has no escape sequences, and cleaning again changes nothing."""
    cleaned = text.clean(raw)

    assert not ILLEGAL_XML.search(cleaned)
    assert "\x1b" not in cleaned
    assert "\r" not in cleaned
    assert text.clean(cleaned) == cleaned
    cleaned.encode("utf-8")


@given(texts)
def test_defused_text_holds_no_trigger(raw: str) -> None:
    """Nothing that a kernel CI searches logs for is left, wherever it stood."""
    lines = text.defuse(text.clean(raw)).split("\n")

    for line in lines:
        assert not re.search(r"\[(fail|skip)\]|\b(FAIL|SKIP):|# *(SKIP|Subtest:)|<LAVA_", line)
        assert not re.match(r"\s*((not )?ok\b|1\.\.\d|K?TAP version|Bail out!)", line)


@given(words, words)
def test_kernel_names_are_stable_and_of_allowed_characters(first: str, second: str) -> None:
    """Different node ids have different names; the same id has the same, whatever it holds."""
    one, two = (names.kernel_name(f"a.py::test[{word}]", "host") for word in (first, second))

    for name in (one, two):
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name)
        assert len(name) <= names.NAME_LIMIT
        assert ".." not in name
        assert not name.endswith(".")
    assert (one == two) == (first == second or {first, second} == {"", "host"})


@hostile
@given(run=runs)
def test_nested_ktap_reads_back_with_the_same_verdicts(run: Run) -> None:
    """read_ktap undoes ktap.nested: targets, subjects, names, verdicts."""
    again = read_ktap.parse("".join(ktap.nested(run)))

    assert again.problems == ()
    expected = [
        (result.target, result.subject, result.name, result.verdict, result.bad) for result in run.results
    ]
    # Within its subject, what did not run comes after what did.
    subjects = subjects_in(expected)
    expected.sort(key=lambda one: (subjects.index(one[:2]), one[3] is Verdict.NOT_RUN))
    assert [
        (result.target, result.subject, result.name, result.verdict, result.bad) for result in again.results
    ] == expected


@pytest.mark.thorough
@hostile
@given(run=runs)
def test_flat_tap_reads_back_with_the_same_verdicts(run: Run) -> None:
    """The flat document holds every result with its verdict, or is the plan 1..0 if none ran."""
    again = read_ktap.parse("".join(ktap.flat(run)))

    if model.exit_status(run.results) == 4:
        assert [result.verdict for result in again.results] == [Verdict.SKIP]
    else:
        expected = [result.verdict for result in run.results]
        expected.sort(key=lambda verdict: verdict is Verdict.NOT_RUN)
        assert [result.verdict for result in again.results] == expected


@pytest.mark.thorough
@hostile
@given(run=runs)
def test_totals_line_counts_every_result_once(run: Run) -> None:
    """The six counters add up to the number of tests that ran; where less ran than planned a line says so."""
    *lacking, totals = ktap.totals(run.results).splitlines(keepends=True)

    ran = len(model.judged(run.results))
    planned = len(run.results)
    assert lacking == ([f"# Planned tests != run tests ({planned} != {ran})\n"] if ran < planned else [])
    assert re.fullmatch(r"# Totals: pass:\d+ fail:\d+ xfail:\d+ xpass:\d+ skip:\d+ error:\d+\n", totals)
    assert sum(map(int, re.findall(r"\d+", totals))) == ran


@pytest.mark.thorough
@hostile
@given(run=runs)
def test_junit_counters_are_its_elements(run: Run) -> None:
    """Written counters equal the elements, and those the model's verdicts.

    What did not run is one error in each suite that lacks some.
    """
    lacking = {(one.target, one.subject) for one in run.results if one.verdict is Verdict.NOT_RUN}
    for write in (junit.strict, junit.located):
        root = ET.fromstring("".join(write(run)))  # noqa: S314

        cases = root.findall("testsuite/testcase")
        seen = verdicts(run)
        assert len(cases) == int(root.attrib["tests"]) == len(model.judged(run.results)) + len(lacking)
        assert len(root.findall(".//failure")) == int(root.attrib["failures"]) == failed(run)
        errors = seen["error"] + seen["timeout"] + len(lacking)
        assert len(root.findall(".//error")) == int(root.attrib["errors"]) == errors
        assert len(root.findall(".//error[@type='not run']")) == len(lacking)
        assert len(root.findall(".//skipped")) == seen["skip"] + seen["xfail"]
        places = [(case.attrib["classname"], case.attrib["name"]) for case in cases]
        assert len(set(places)) == len(places)


@hostile
@given(
    file=texts.map(text.one_line),
    target=words.map(text.one_line),
    line=st.integers(0, 9),
    reason=st.none() | texts.map(text.one_line),
)
def test_brief_case_is_what_the_library_writes(file: str, target: str, line: int, reason: str | None) -> None:
    """A pass or skip that is written directly has what junit-xml gives it, attributes in their order."""
    verdict = Verdict.PASS if reason is None else Verdict.SKIP
    test = model.Result(
        "a", "b", target, "c", verdict, reason=reason or "", file=file, line=line, duration_ns=1_500_000
    )
    case = junit_xml.TestCase(
        "b", f"{target}.c", file=file or None, line=str(line) if file and line else None
    )
    if reason is not None:
        case.add_skipped_info(reason or "skip", reason or "skip")
    element = junit_xml.TestSuite("", [case]).build_xml_doc()[0]
    element.set("time", "0.002")

    run = Run(targets=(model.ReportTarget(target),), results=(test,))
    (found,) = ET.fromstring("".join(junit.located(run))).iter("testcase")  # noqa: S314

    assert [_content(each) for each in found.iter()] == [_content(each) for each in element.iter()]


def _content(element: ET.Element) -> tuple[object, ...]:
    return element.tag, list(element.attrib.items()), element.text


def test_output_of_a_pass_is_in_its_case() -> None:
    """A pass that printed something is not an empty element."""
    test = model.Result("a", "b", "host", "c", Verdict.PASS, log="printed")

    root = ET.fromstring("".join(junit.strict(Run(targets=(model.ReportTarget("host"),), results=(test,)))))  # noqa: S314

    assert [out.text for out in root.iter("system-out")] == ["printed"]


@pytest.mark.thorough
@hostile
@given(run=runs)
def test_kcidb_counts_agree(run: Run) -> None:
    """The submission is JSON with one test a result, its path of legal elements."""
    submitted = json.loads("".join(kcidb.submission(run)))

    seen = verdicts(run)
    statuses = Counter(test["status"] for test in submitted["tests"])
    reported = seen["changed"] + seen["xpass"] - (failed(run) - seen["fail"])
    assert statuses["PASS"] == seen["pass"] + seen["xfail"] + reported
    assert statuses["FAIL"] == failed(run)
    assert statuses["ERROR"] == seen["error"] + seen["timeout"]
    assert statuses["SKIP"] == seen["skip"]
    assert statuses["MISS"] == seen["not run"]
    for test in submitted["tests"]:
        assert re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", test["path"])


@pytest.mark.thorough
@hostile
@given(run=runs)
def test_squad_and_lava_say_the_same(run: Run) -> None:
    """SQUAD's tests and LAVA's lines hold each result once, with the same word.

    What did not run is unknown to LAVA and left out for SQUAD; a test that fails says so in both.
    """
    submitted = {name: json.loads("".join(lines)) for name, lines in squad.submissions(run)}
    lines = [line.split() for line in "".join(lava.lines(run)).splitlines()]

    assert all(len(line) == 2 for line in lines)
    assert len({line[0] for line in lines}) == len(lines)
    words = Counter(line[1] for line in lines)
    assert words.pop("unknown", 0) == verdicts(run)["not run"]
    tests = [entries for name, entries in submitted.items() if name.endswith(".tests.json")]
    assert words == Counter(entry["result"] for entries in tests for entry in entries.values())
    lacking = {one.target for one in run.results if one.verdict is Verdict.NOT_RUN}
    assert words.total() == len(model.judged(run.results)) + len(lacking)
    assert all(len(name) <= squad.NAME_LIMIT for entries in tests for name in entries)


@pytest.mark.thorough
@hostile
@given(run=runs)
def test_csv_holds_every_result(run: Run) -> None:
    """results.csv reads back row for row; no cell is a formula."""
    rows = list(csv.DictReader(io.StringIO("".join(table.rows(run)))))

    assert [row["verdict"] for row in rows] == [result.verdict.value for result in run.results]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


@pytest.mark.thorough
@hostile
@given(run=runs)
def test_html_keeps_hostile_text_text(run: Run) -> None:
    """No text opens an element, the data reads back, and every result has its letter."""
    page = "".join(html.page(run))

    assert page.count("<script") == 3
    assert "<!--" not in page
    blocks = re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', page, re.DOTALL)
    data = {name: json.loads(block) for name, block in blocks}
    letters = Counter("".join(subject["letters"] for subject in data["data"]["subjects"]))
    del letters[html_data.ABSENT]
    assert letters == Counter(html_data.letter(result) for result in run.results)


@pytest.mark.parametrize("nasty", NASTY)
def test_each_nasty_text_keeps_its_failure_a_failure(nasty: str) -> None:
    """A failing test stays one failure for KTAP whatever its message and log say."""
    run = samples.run(8)
    (bad, *others) = run.results
    message = text.one_line(nasty)
    broken = model.Result(
        **{name: getattr(bad, name) for name in ("nodeid", "name", "target", "subject")},
        verdict=Verdict.FAIL,
        message=message,
        log=text.clean(f"{nasty}\n{nasty}"),
    )
    run = Run(run.sessions, run.targets, (broken, *others))

    again = read_ktap.parse("".join(ktap.nested(run)))

    assert [result.verdict for result in again.results] == [result.verdict for result in run.results]


def test_eleven_megabyte_line_is_cut_for_those_who_cannot_take_it() -> None:
    """A line of 11 MB passes through every writer; JUnit stays below libxml2's 10 MB."""
    run = samples.run(8)
    (bad, *others) = run.results
    log = text.clip("x" * 11_000_000, text.TEXT_LIMIT)
    broken = model.Result(bad.nodeid, bad.name, bad.target, bad.subject, Verdict.FAIL, log=log)
    run = Run(run.sessions, run.targets, (broken, *others))

    sizes = {
        write: len("".join(write(run))) for write in (ktap.nested, junit.strict, kcidb.submission, html.page)
    }

    assert max(sizes.values()) < 300_000


def test_every_report_says_the_same_of_a_known_issue_that_no_longer_shows() -> None:
    """Terminal, KTAP, JUnit and the page have one sentence for an xpass, with the issue's name."""
    result = model.Result(
        "a.py::t", "t", "host", "a", Verdict.XPASS, known_issue="kvm-1", reason="kvm_pvm ignores it"
    )
    run = Run(targets=(model.ReportTarget("host"),), results=(result,))
    said = "the known issue kvm-1 no longer shows here; it was predicted because kvm_pvm ignores it"

    written = [
        "\n".join(summary.lines(run)),
        *("".join(w(run)) for w in (ktap.nested, junit.strict, html.page)),
    ]

    assert [said in one for one in written] == [True] * 4


@pytest.mark.parametrize(
    ("strict", "line", "status"),
    [
        pytest.param(False, "ok 1 t", "PASS", id="reported"),
        pytest.param(True, "not ok 1 t", "FAIL", id="strict"),
    ],
)
def test_changed_behaviour_fails_a_strict_run(strict: bool, line: str, status: str) -> None:
    """Behaviour that changed is named in every report with its promise; only a strict run fails on it."""
    result = model.Result(
        "a.py::t",
        "t",
        "host",
        "a",
        Verdict.CHANGED,
        message="behaviour changed: 1 == 2",
        promise="de facto: Linux 5.10 to 7.3",
        strict=strict,
    )
    run = Run(targets=(model.ReportTarget("host"),), results=(result,))

    written = [
        "\n".join(summary.lines(run)),
        *(
            "".join(w(run))
            for w in (
                ktap.nested,
                ktap.flat,
                junit.strict,
                html.page,
                kcidb.submission,
                table.rows,
                lambda whole: squad.tests(whole, whole.results),
            )
        ),
    ]

    assert [result.message in one and result.promise in one for one in written] == [True] * 8
    assert line in "".join(ktap.nested(run))
    assert f'"status":"{status}"' in "".join(kcidb.submission(run))
    assert ("<failure" in "".join(junit.strict(run))) is strict
    assert squad.word(result) == ("fail" if strict else "pass")
    assert model.exit_status(run.results) == int(strict)


def test_what_fails_only_strict_runs_breaks_nothing_else() -> None:
    """Against a baseline, a pass that became changed behaviour is broken in a strict run only."""
    targets = (model.ReportTarget("host"),)
    before = model.Result("a.py::t", "t", "host", "a", Verdict.PASS)
    changed = [before._replace(verdict=Verdict.CHANGED, strict=strict) for strict in (False, True)]
    baseline, *runs = [Run(targets=targets, results=(result,)) for result in (before, *changed)]

    kinds = [compare.compare(baseline, run).changes[0].kind for run in runs]

    assert kinds == [compare.Kind.OTHER, compare.Kind.BROKEN]
