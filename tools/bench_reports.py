# SPDX-License-Identifier: GPL-2.0-only
"""Measure the reporter next to its peers: .venv/bin/python -m tools.bench_reports [PART ...].

Every measurement is a process of its own; wall time, processor time and peak memory are the
kernel's (wait4). Peers that are not installed are left out by name. Prints Markdown.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from reports.tests import samples
from tools import browser
from tools.arguments import Parser
from tools.interruption import started

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 900

OURS = """
import sys
from pathlib import Path
from reports import collector, html, junit, kcidb, ktap, read_journal
from reports.whole_file import write_file
run = read_journal.read([Path(sys.argv[1])])
with collector.paused():
    for name, writer in (("a.ktap", ktap.nested), ("a.xml", junit.strict), ("a.json", kcidb.submission),
                         ("a.html", html.page)):
        if name.endswith(sys.argv[3]):
            write_file(Path(sys.argv[2], name), writer(run))
"""
PEER = """
import sys
from pathlib import Path
from junit_xml import TestCase, TestSuite, to_xml_report_string
from reports import read_journal
from tools.arguments import Parser
run = read_journal.read([Path(sys.argv[1])])
cases = []
for result in run.results:
    case = TestCase(result.name, result.subject, result.duration_ns / 1e9, result.log)
    if result.bad:
        case.add_failure_info(result.message, result.log)
    cases.append(case)
Path(sys.argv[2], "peer.xml").write_text(to_xml_report_string([TestSuite("all", cases)]))
"""
TRIVIAL = "import pytest\n@pytest.mark.parametrize('number', range({size}))\ndef test_it(number):\n    pass\n"
SEARCH = """
(() => { const took = []; for (const change of [
  () => { state.query = "offset"; }, () => { state.query = "18446744"; }, () => { state.query = "zzzz"; },
  () => { state.query = ""; state.verdicts = new Set("f"); }, () => { state.verdicts = new Set("s"); },
  () => { state.verdicts = new Set(); }]) {
  const start = performance.now(); change(); changed(); document.body.offsetHeight;
  took.push(performance.now() - start); } return took; })()
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """The time and memory that one process took."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def measure(words: Sequence[str], folder: Path) -> Cost:
    """Return what the program *words*, started in *folder*, took; CalledProcessError if it failed."""
    start_s = time.perf_counter()
    return _ended(_started(words, folder), start_s)


def side_by_side(one: Sequence[str], other: Sequence[str], folder: Path, processor: int) -> tuple[Cost, Cost]:
    """Return what two programs took on one *processor* at the same time; CalledProcessError if one failed.

    Other load on this computer slows both: the ratio of their processor times is stable where each
    time alone differs by half from run to run.
    """
    start_s = time.perf_counter()
    processes = [_started(words, folder) for words in (one, other)]
    for process in processes:
        os.sched_setaffinity(process.pid, {processor})
    first, second = (_ended(process, start_s) for process in processes)
    return first, second


def _started(words: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start *words*; modules are compiled once for each *folder*, as they are once after an installation."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(folder / "byte-code"),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    return subprocess.Popen(
        words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _ended(process: subprocess.Popen[bytes], start_s: float) -> Cost:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    wall_s = time.perf_counter() - start_s
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def writers(folder: Path, size: int, rounds: int = 3) -> Iterator[str]:
    """Yield the table of journals into reports: each row has the least of *rounds*, as noise only adds."""
    journal = folder / "journal.jsonl"
    journal.write_bytes(b"".join(samples.lines(size)))
    yield f"### {size:,} results: journal to reports, the least of {rounds} rounds\n"
    yield "| what | wall s | processor s | peak MB |\n|---|---|---|---|"
    rows = {
        "reading the journal alone": [OURS, "none"],
        "and KTAP": [OURS, ".ktap"],
        "and JUnit": [OURS, ".xml"],
        "and KCIDB": [OURS, ".json"],
        "and HTML": [OURS, ".html"],
        "KTAP + JUnit + KCIDB + HTML": [OURS, ""],
        "peer: reading, and junit-xml by itself (not valid)": [PEER, ""],
    }
    for program in (OURS, PEER):  # Only so that the modules are compiled.
        measure([sys.executable, "-c", program, os.devnull, str(folder), ""], folder)
    for name, (program, which) in rows.items():
        arguments = [sys.executable, "-c", program, str(journal), str(folder), which]
        cost = min((measure(arguments, folder) for _ in range(rounds)), key=attrgetter("cpu_s"))
        yield f"| {name} | {cost.wall_s:.1f} | {cost.cpu_s:.1f} | {cost.peak_mb:.0f} |"
    yield f"\nreport.html has {(folder / 'a.html').stat().st_size / 1e6:.1f} MB.\n"


def plugin(folder: Path, size: int, rounds: int = 5) -> Iterator[str]:
    """Yield the table of what reporting adds to *size* trivial tests: the median of *rounds*, and all.

    Each run shares a processor with bare pytest; a second bare pytest shows how stable that is.
    """
    (folder / "test_trivial.py").write_text(TRIVIAL.format(size=size))
    (folder / "pytest.ini").write_text("[pytest]\n")
    runs = {
        "bare pytest once more": [],
        "this plug-in, every report": ["-p", "reports.plugin", "--report-dir", str(folder / "out")],
        "this plug-in, journal only": ["-p", "reports.plugin", "--journal", str(folder / "j.jsonl")],
        "pytest --junitxml": [f"--junitxml={folder / 'peer.xml'}"],
    }
    if importlib.util.find_spec("pytest_html"):
        html = ["-p", "pytest_metadata.plugin", "-p", "pytest_html.plugin"]
        runs["pytest-html"] = [*html, f"--html={folder / 'peer.html'}", "--self-contained-html"]
    base = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_trivial.py"]
    yield f"### {size:,} trivial tests under pytest, each {rounds} times next to bare pytest\n"
    yield "| what | added to bare, processor time | each time | peak MB |\n|---|---|---|---|"
    measure(base, folder)  # Only so that the modules are compiled.
    processors = sorted(os.sched_getaffinity(0))
    for name, words in runs.items():
        added, peak_mb = [], 0.0
        for number in range(rounds):
            bare, ours = side_by_side(base, [*base, *words], folder, processors[number % len(processors)])
            added.append(ours.cpu_s / bare.cpu_s - 1)
            peak_mb = max(peak_mb, ours.peak_mb)
        each = " ".join(f"{one:+.0%}" for one in added)
        yield f"| {name} | {statistics.median(added):+.0%} | {each} | {peak_mb:.0f} |"
    yield ""


def page(folder: Path, size: int) -> Iterator[str]:
    """Yield how fast headless Chromium shows report.html with *size* results, and searches it."""
    program = browser.find()
    if program is None:
        yield "No Chromium is installed: the page was not measured.\n"
        return
    from reports import html
    from reports.whole_file import write_file

    ours = write_file(folder / "page.html", html.page(samples.run(size)))
    yield "### Pages in headless Chromium\n"
    yield "| page | MB | first paint ms | loaded ms | slowest search or filter ms |\n|---|---|---|---|---|"
    pages = {f"report.html, {size:,} results": ours}
    if (folder / "peer.html").exists():
        pages["peer: pytest-html, 10,000 results"] = folder / "peer.html"
    for name, path in pages.items():
        with browser.page(program) as tab:
            tab.look(width=1400, height=1000)
            tab.open(path.as_uri())
            paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            loaded = tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
            answer = f"{max(tab.evaluate(SEARCH)):.0f}" if path == ours else "-"
        yield f"| {name} | {path.stat().st_size / 1e6:.1f} | {paint:.0f} | {loaded:.0f} | {answer} |"
    yield ""


def sync(folder: Path, size: int) -> Iterator[str]:
    """Yield what each policy of forcing the journal to the disk costs a test."""
    from reports.journal import Journal, Sync

    yield "### Journal: start and result record of one test\n"
    yield "| policy | µs a test |\n|---|---|"
    for policy in Sync:
        journal = Journal(folder / f"{policy}.jsonl", policy)
        start_s = time.perf_counter()
        for number in range(size):
            nodeid = f"kvmtests/x86/test_clock.py::test_it[{number}]"
            journal.start(nodeid, number)
            journal.write("result", nodeid=nodeid, target="host", verdict="pass", duration_ns=number)
        took_s = time.perf_counter() - start_s
        journal.close()
        yield f"| {policy} | {took_s / size * 1e6:.0f} |"
    yield ""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables of the parts named in *argv*; return 0."""
    parts: dict[str, Callable[[Path], Iterator[str]]] = {
        "writers": lambda folder: writers(folder, 100_000),
        "plugin": lambda folder: plugin(folder, 10_000),
        "page": lambda folder: page(folder, 100_000),
        "sync": lambda folder: sync(folder, 3_000),
    }
    parser = Parser(prog="bench_reports", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *parts], metavar="PART", help=", ".join(parts))
    chosen = parser.parse_args(argv).parts or list(parts)
    load = os.getloadavg()[0]
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} processors, load {load:.1f} at the start.\n")
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            for line in parts[name](Path(folder)):
                print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(started(main))
