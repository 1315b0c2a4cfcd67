# SPDX-License-Identifier: GPL-2.0-only
"""Each consumer keeps every result: its own rules applied to a run with all verdicts on 14 targets."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from reports import junit, kcidb, ktap, lava, squad, table
from reports.model import Result, Run, Verdict, by_target
from reports.names import target_slug
from reports.tests.texts import run_of
from tools import ktap_readers

SIMULATED = ("x86_64", "x86_64-series", "x86_64-proposals", "arm64-vhe", "arm64-nvhe", "arm64-vhe-ecv")
LAB = ("arm64-vhe@6.1", "arm64-vhe@6.12", "arm64-nvhe", "arm64-protected", "x86_64-svm", "x86_64-svm@7.0")
TARGETS = (
    *("host", "host@board-b"),
    *(f"sim-{name}" for name in SIMULATED),
    *(f"lab-{name}" for name in LAB),
)
WORDS = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "fail",
    Verdict.SKIP: "skip",
    Verdict.XFAIL: "pass",
    Verdict.XPASS: "fail",
    Verdict.ERROR: "fail",
    Verdict.TIMEOUT: "fail",
}
"""What is left of a verdict for a reader of pass, fail and skip (docs/reports.md)."""

KCIDB_STATUS = {"pass": "PASS", "fail": "FAIL", "skip": "SKIP"}


def records() -> Iterator[dict[str, Any]]:
    """Yield the journal of seven claims on each target, each with another verdict there."""
    yield {"type": "session", "version": 1, "host": "board", "time_ns": 1_790_000_000_000_000_000}
    for number, name in enumerate(TARGETS):
        facts = {"kernel": f"6.{number // 2}.0"}
        simulated = name.startswith("sim")
        yield {"type": "target", "name": name, "kind": "host", "simulated": simulated, "facts": facts}
    for number, target in enumerate(TARGETS):
        for place, verdict in enumerate(WORDS):
            # The first claims have one name in two subjects.
            module = "clock" if (place + number) % 7 else "tsc"
            nodeid = f"kvmtests/x86/test_{module}.py::test_claim[{target}-case-{(place + number) % 7 or 1}]"
            key = {"nodeid": nodeid, "target": target}
            if verdict is not Verdict.PASS:
                yield {"type": "log", **key, "text": f"the log of {verdict} on {target}"}
            said = (
                {"message": f"{verdict} here"}
                if verdict.bad or verdict is Verdict.XPASS
                else {"reason": f"{verdict} there"}
            )
            strict = {"strict": True} if verdict is Verdict.XPASS else {}  # else it is a pass for all readers
            yield {
                "type": "result",
                **key,
                **said,
                **strict,
                "verdict": verdict,
                "start_ns": 1_790_000_001_000_000_000,
            }
    yield {"type": "end", "time_ns": 1_790_000_002_000_000_000, "exit_status": 1}


@pytest.fixture(scope="module")
def run() -> Run:
    """Return the run of that journal."""
    found = run_of(list(records()))
    assert len(found.results) == 7 * len(TARGETS) == 98
    assert {result.verdict for result in found.results} == WORDS.keys()
    return found


def expected(run: Run) -> Counter[str]:
    """Return how many results of *run* are a pass, a failure and a skip."""
    return Counter(WORDS[result.verdict] for result in run.results)


def case_of(result: Result) -> str:
    """Return the target, subject and name of *result*."""
    return f"{target_slug(result.target)}.{result.subject}.{result.name}"


def send_to_lava(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Yield (case, result) as automated/utils/send-to-lava.sh of Linaro's test-definitions sends them."""
    for line in "".join(lines).splitlines():
        words = line.split()
        if re.search(r".* +(pass|fail|skip|unknown)$", line):
            yield words[0], words[-1]
        elif re.search(r".* (pass|fail|skip|unknown)+ .*", line):
            yield words[0], words[1]


def test_lava_keys_by_definition_and_case(run: Run) -> None:
    """Cases keep 98 of 98 results: LAVA, tuxrun and SQUAD key by definition and case."""
    kept = dict(send_to_lava(lava.lines(run)))

    assert kept == {case_of(result): WORDS[result.verdict] for result in run.results}
    assert Counter(kept.values()) == expected(run)
    assert len({re.sub(r"[^A-Za-z0-9]+", "-", case) for case in kept}) == len(run.results)
    assert not [case for case in kept if re.search(r"[\s=>/]", case) or len(case) > 200]


def test_lava_shows_a_log_for_each_case_that_is_not_a_pass(run: Run) -> None:
    """CASE.log next to the results holds verdict, message and log, and there is none for a pass."""
    logs = {name: "".join(lines) for name, lines in lava.logs(run)}

    assert logs.keys() == {f"{case_of(one)}.log" for one in run.results if one.verdict is not Verdict.PASS}
    for result in run.results:
        if result.verdict is not Verdict.PASS:
            text = logs[f"{case_of(result)}.log"]
            assert text.startswith(f"verdict: {result.verdict}\n")
            assert f"the log of {result.verdict} on {result.target}" in text
            assert (result.message or result.reason) in text


def test_squad_has_a_column_for_each_target(run: Run) -> None:
    """One submission a target: tests are SUITE/NAME, the last slash parts them, 256 characters at most."""
    files = {name: json.loads("".join(lines)) for name, lines in squad.submissions(run)}

    for target, results in by_target(run):
        tests = files[f"{target_slug(target.name)}.tests.json"]
        kept = {tuple(name.rsplit("/", 1)): entry["result"] for name, entry in tests.items()}
        assert kept == {(one.subject, one.name): WORDS[one.verdict] for one in results}
        assert all(len(name) <= 256 for name in tests)
        metadata = files[f"{target_slug(target.name)}.metadata.json"]
        assert metadata["kernel"] == target.kernel != ""
        assert metadata["datetime"] == "2026-09-21T14:13:21+00:00"
        assert "/" not in metadata["job_id"]
        assert {type(value) for value in metadata.values()} <= {str, dict, int, list}
        assert len(metadata["job_id"]) <= 128
    assert len(files) == 3 * len(TARGETS)
    jobs = {content["job_id"] for name, content in files.items() if name.endswith(".metadata.json")}
    assert len(jobs) == len(TARGETS)


def test_kcidb_keeps_each_path_of_each_platform(run: Run) -> None:
    """The dashboard groups by path and platform: 98 tests, each with the kernel that it ran on."""
    submitted = json.loads("".join(kcidb.submission(run)))

    checkouts = {checkout["id"]: checkout["misc"]["kernel"] for checkout in submitted["checkouts"]}
    kernels = {build["id"]: checkouts[build["checkout_id"]] for build in submitted["builds"]}
    kept = {
        (test["environment"]["misc"]["platform"], test["path"]): (test["status"], kernels[test["build_id"]])
        for test in submitted["tests"]
    }
    assert len(checkouts) == len({target.kernel for target in run.targets})
    assert {test["environment"]["misc"]["kernel"] for test in submitted["tests"]} == {*checkouts.values()}
    status = {verdict: KCIDB_STATUS[word] for verdict, word in WORDS.items()}
    status |= {Verdict.ERROR: "ERROR", Verdict.TIMEOUT: "ERROR"}
    assert kept == {
        (one.target, f"kselftest.kvm.{one.subject}.{one.name}"): (
            status[one.verdict],
            run.target(one.target).kernel,
        )
        for one in run.results
    }


@pytest.mark.parametrize("write", [junit.strict, junit.located], ids=["strict", "located"])
def test_gitlab_keeps_the_first_of_equal_names(run: Run, write: Any) -> None:
    """No two cases have the same class and name, of which GitLab would keep the first."""
    root = ET.fromstring("".join(write(run)))  # noqa: S314

    cases = root.findall(".//testcase")
    kept = {
        (case.attrib["classname"], case.attrib["name"]): next(iter(child.tag for child in case), "pass")
        for case in cases
    }
    assert len(kept) == len(cases) == len(run.results)
    failures = Counter(kept.values())["failure"] + Counter(kept.values())["error"]
    assert failures == expected(run)["fail"]


def test_csv_names_each_result_and_its_kernel(run: Run) -> None:
    """Target, subject and name identify a row, which has the kernel of its target."""
    rows = list(csv.DictReader(io.StringIO("".join(table.rows(run)))))

    kept = {(row["target"], row["subject"], row["name"]): (row["verdict"], row["kernel"]) for row in rows}
    assert kept == {
        (one.target, one.subject, one.name): (one.verdict, run.target(one.target).kernel)
        for one in run.results
    }


@pytest.mark.parametrize("reader", ktap_readers.READERS)
def test_readers_of_tap_count_the_same(run: Run, reader: str) -> None:
    """KUnit's parser, prove, LKFT, tap-parser and the netdev CI count the journal's verdicts."""
    lines = [ktap_readers.parse(line) for line in "".join(ktap.flat(run)).splitlines()]

    results = [line for line in lines if line is not None]
    assert Counter(ktap_readers.VERDICTS[reader](line) for line in results) == expected(run)
    assert [line.name for line in results] == list(map(case_of, run.results))
    assert len({ktap_readers.lkft_name(line) for line in results}) == len(run.results)
