# SPDX-License-Identifier: GPL-2.0-only
"""Our reports in the hands of the programs that read them: equal verdicts everywhere.

Each client that is not installed is one skip that names its package.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from reports import junit, kcidb, ktap, merge, read_journal, squad
from reports.model import Run
from reports.tests import samples
from reports.tests.texts import NASTY, run_of
from reports.whole_file import write_file

pytestmark = pytest.mark.clients

SCHEMA = Path(__file__).parents[1] / "schemas" / "junit-strict.xsd"


def hostile_run() -> Run:
    """Return a run with every verdict, and every nasty text as parameter, message, reason and log."""
    verdicts = ("pass", "fail", "skip", "xfail", "xpass", "error", "timeout")
    found: list[dict[str, Any]] = [
        {"type": "session", "version": 1, "host": "m", "time_ns": 1_790_000_000_000_000_000},
        {"type": "target", "name": "sim-a", "kind": "sim", "simulated": True, "facts": {}},
    ]
    for number, nasty in enumerate(NASTY * 2):
        key = {"nodeid": f"kvmtests/x86/test_clock.py::test_a[sim-a-{nasty}-{number}]", "target": "sim-a"}
        found.append({"type": "log", **key, "text": f"{nasty}\n{nasty}"})
        said = {"message": nasty, "reason": nasty, "known_issue": "pvm", "file": "a.py", "line": 3}
        # Markup fails, so that a page shows it as soon as it opens.
        verdict = "fail" if "<script>" in nasty else verdicts[number % len(verdicts)]
        found.append({"type": "result", **key, **said, "verdict": verdict})
    return run_of([*found, {"type": "end", "time_ns": 2, "exit_status": 1}])


RUNS = {"hostile": hostile_run(), "ordinary": samples.run(400)}
every_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())


def program(name: str, package: str) -> str:
    """Return the path of *name*, or skip with the *package* that has it."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"no {name}: install {package}")
    return found


def library(name: str, package: str) -> ModuleType:
    """Return the module *name*, or skip with the *package* that has it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"no {name}: pip install {package}")


def call(*words: str) -> subprocess.CompletedProcess[str]:
    """Return what the program *words* did."""
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def bad(run: Run) -> list[int]:
    """Return the numbers of the results that are not ok."""
    return [number for number, result in enumerate(run.results, 1) if result.bad]


@every_run
def test_xmllint_takes_junit_by_the_strict_schema(run: Run, tmp_path: Path) -> None:
    """junit.xml is valid where one unknown attribute makes Jenkins refuse the whole file."""
    xmllint = program("xmllint", "Debian's libxml2-utils")
    report = write_file(tmp_path / "junit.xml", junit.strict(run))

    done = call(xmllint, "--noout", "--schema", str(SCHEMA), str(report))

    assert done.returncode == 0, done.stderr


@every_run
def test_xmllint_takes_the_located_flavour_with_file_and_line(run: Run, tmp_path: Path) -> None:
    """junit-located.xml differs from the strict one by file and line of a case only."""
    xmllint = program("xmllint", "Debian's libxml2-utils")
    report = write_file(tmp_path / "junit.xml", junit.located(run))
    places = '<xs:attribute name="file" type="xs:string"/><xs:attribute name="line" type="count"/>'
    schema = write_file(tmp_path / "located.xsd", [SCHEMA.read_text().replace("<!-- located -->", places)])

    done = call(xmllint, "--noout", "--schema", str(schema), str(report))
    strict = call(xmllint, "--noout", "--schema", str(SCHEMA), str(report))

    assert done.returncode == 0, done.stderr
    assert strict.returncode != 0


def test_the_strict_schema_refuses_what_junit_xml_writes_by_itself(tmp_path: Path) -> None:
    """The schema refuses something: the library's own output is not valid."""
    xmllint = program("xmllint", "Debian's libxml2-utils")
    library_itself = library("junit_xml", "junit-xml")
    suite = library_itself.TestSuite("s", [library_itself.TestCase("t")])
    report = write_file(tmp_path / "junit.xml", [library_itself.to_xml_report_string([suite])])

    assert call(xmllint, "--noout", "--schema", str(SCHEMA), str(report)).returncode != 0


@every_run
def test_junitparser_counts_what_the_model_counts(run: Run, tmp_path: Path) -> None:
    """junitparser, which recounts, agrees with the written counters."""
    junitparser = library("junitparser", "junitparser")
    report = write_file(tmp_path / "junit.xml", junit.located(run))

    suites = junitparser.JUnitXml.fromfile(str(report))
    written = (suites.tests, suites.failures, suites.errors)
    suites.update_statistics()

    assert (suites.tests, suites.failures, suites.errors) == written
    assert suites.failures + suites.errors == len(bad(run))


@every_run
def test_junit2html_renders_it(run: Run, tmp_path: Path) -> None:
    """junit2html takes the file as it is."""
    junit2html = program("junit2html", "junit2html from PyPI")
    report = write_file(tmp_path / "junit.xml", junit.strict(run))

    done = call(junit2html, str(report), str(tmp_path / "junit.html"))

    assert done.returncode == 0, done.stderr


@every_run
def test_kcidb_io_takes_the_submission(run: Run) -> None:
    """The validator of KernelCI's ingester takes the submission as schema 5.3, exactly."""
    schema = library("kcidb_io", "kcidb-io").schema.V5_3

    submission = json.loads("".join(kcidb.submission(run)))

    schema.validate_exactly(submission)
    assert Counter(test["status"] in ("FAIL", "ERROR") for test in submission["tests"])[True] == len(bad(run))


@every_run
def test_prove_fails_the_bad_ones(run: Run, tmp_path: Path) -> None:
    """prove finds plan and numbers in order, and fails exactly the results that are bad."""
    prove = program("prove", "Debian's perl")
    report = write_file(tmp_path / "results.tap", ktap.flat(run))

    done = call(prove, "--exec", "cat", str(report))

    failed = re.search(r"Failed tests?: +([-\d, \n]+?)\n *(?:Files|Non-zero|TODO|Parse)", done.stdout)
    assert "Parse errors" not in done.stdout
    assert failed is not None, done.stdout
    assert spread(failed[1]) == bad(run)


def spread(text: str) -> list[int]:
    """Return the numbers of a list such as ``2, 5-7``."""
    numbers: list[int] = []
    # prove wraps its list, and leaves the comma out where it does.
    for part in re.findall(r"\d+(?:-\d+)?", text):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


@every_run
def test_tap_py_fails_the_bad_ones(run: Run, tmp_path: Path) -> None:
    """tap.py, which LKFT reads with, sees the same results, names, skips and failures."""
    parser = library("tap.parser", "tap.py")
    report = write_file(tmp_path / "results.tap", ktap.flat(run))

    lines = list(parser.Parser().parse_file(str(report)))

    tests = [line for line in lines if line.category == "test"]
    assert [line.number for line in tests if not line.ok] == bad(run)
    assert sum(line.skip for line in tests) == sum(result.verdict == "skip" for result in run.results)
    assert not [line for line in lines if line.category == "unknown"]


@pytest.fixture
def kunit() -> str:
    """Return the kernel's kunit.py: tools/testing/kunit of the tree that KERNEL_SOURCE names."""
    tree = os.environ.get("KERNEL_SOURCE", "")
    tool = Path(tree, "tools/testing/kunit/kunit.py")
    if not tree or not tool.is_file():
        pytest.skip("KERNEL_SOURCE names no kernel tree: unpack Debian's linux-source")
    return str(tool)


@every_run
@pytest.mark.parametrize("write", [ktap.nested, ktap.flat], ids=["nested", "flat"])
def test_kunit_parser_counts_the_same(kunit: str, run: Run, write: Any, tmp_path: Path) -> None:
    """The KUnit parser counts passes, failures and skips as the model does, without an error."""
    report = write_file(tmp_path / "results.ktap", write(run))

    done = subprocess.run(
        [sys.executable, kunit, "parse", str(report)], capture_output=True, text=True, timeout=60, check=False
    )

    totals = re.search(r"Testing complete\. (.*)", done.stdout)
    assert totals is not None, done.stdout[-2000:] + done.stderr[-2000:]
    numbers = {word: int(number) for word, number in re.findall(r"(\w+): (\d+)", totals[1])}
    skipped = sum(result.verdict == "skip" for result in run.results)
    assert numbers.get("failed", 0) == len(bad(run))
    assert numbers.get("skipped", 0) == skipped
    assert numbers.get("passed", 0) == len(run.results) - len(bad(run)) - skipped
    assert not numbers.keys() & {"errors", "crashed"}


def test_squad_submission_is_small_and_plain() -> None:
    """SQUAD's tests are name to result, one file below squad-client's 5 MB for 10,000 results."""
    files = {name: "".join(lines) for name, lines in squad.submissions(samples.run(10_000))}

    tests = [text for name, text in files.items() if name.endswith(".tests.json")]
    assert max(map(len, files.values())) < 5_000_000
    assert len(tests) == len(samples.TARGETS)
    words = {entry["result"] for text in tests for entry in json.loads(text).values()}
    assert words == {"pass", "fail", "skip"}


@pytest.fixture
def unfinished() -> Run:
    """Return a run that was killed after half of its 64 results, all of them good."""
    lines = [line for line in samples.lines(64) if b'"verdict":"pass"' in line or b'"result"' not in line]
    starts_no_more = [line for line in lines if b'"type":"start"' not in line]
    return merge.merge(read_journal.parse(starts_no_more[: len(starts_no_more) // 2]))


def test_readers_notice_what_did_not_run(unfinished: Run, tmp_path: Path) -> None:
    """prove fails a document that lacks planned results; the strict schema and KCIDB's take the run."""
    prove, xmllint = program("prove", "Debian's perl"), program("xmllint", "Debian's libxml2-utils")
    schema = library("kcidb_io", "kcidb-io").schema.V5_3
    tap = write_file(tmp_path / "results.tap", ktap.flat(unfinished))
    xml = write_file(tmp_path / "junit.xml", junit.strict(unfinished))

    proved = call(prove, "--exec", "cat", str(tap))
    valid = call(xmllint, "--noout", "--schema", str(SCHEMA), str(xml))
    submission = json.loads("".join(kcidb.submission(unfinished)))

    assert not any(result.bad for result in unfinished.results)
    assert proved.returncode != 0
    assert "Bad plan" in proved.stdout
    assert valid.returncode == 0, valid.stderr
    schema.validate_exactly(submission)
    assert "MISS" in {test["status"] for test in submission["tests"]}
