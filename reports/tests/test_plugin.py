# SPDX-License-Identifier: GPL-2.0-only
"""The plug-in inside real pytest sessions: one result per test, whatever happens to it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from reports import read_journal
from reports.model import LOCAL, ResultEnding, Run, Verdict

pytest_plugins = ["pytester"]

# Every test starts pytest, some of them several times with workers.
pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).parents[2]

TARGETS = """
import pytest

@pytest.hookimpl(optionalhook=True)
def pytest_kvm_targets(config):
    return [
        dict(name="host", kind="host", arch="x86_64", mode="", generation="upstream", simulated=False,
             usable=False, reason="cannot open /dev/kvm: load kvm_intel", facts={}),
        dict(name="sim-a", kind="sim", arch="arm64", mode="vhe", generation="series", simulated=True,
             usable=True, reason=None, facts={"cntfrq_hz": 25000000}),
    ]
"""

EVERY_VERDICT = """
import pytest

def test_pass():
    print("what the test printed")

def test_fail():
    assert 1 == 2, "value 1 is 1 before the start"

@pytest.mark.skip(reason="KVM_CAP_COUNTER_OFFSET")
def test_skip():
    pass

@pytest.mark.xfail(reason="pvm ignores offsets", strict=True)
def test_xfail():
    assert False

@pytest.mark.xfail(reason="pvm ignores offsets", strict=True)
def test_xpass():
    pass

@pytest.mark.xfail(reason="pvm ignores offsets", strict=False)
def test_loose_xpass():
    pass

@pytest.fixture
def broken():
    raise OSError(5, "no board")

def test_error(broken):
    pass

@pytest.fixture
def breaks_late():
    yield
    raise OSError(5, "cannot clean up")

def test_late_error(breaks_late):
    pass

def test_named_timeout(record_property):
    record_property("verdict", "timeout")
    record_property("message", "KVM_RUN did not end within 1 s")
    assert False

def test_named_changed(record_property):
    record_property("verdict", "changed")
    record_property("promise", "de facto: Linux 5.10 to 7.3")
"""


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a folder for pytest sessions with the plug-in, each in a process of its own."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]")
    return pytester


def run(session: pytest.Pytester, *args: str) -> pytest.RunResult:
    """Return what pytest did with the plug-in and *args*."""
    return session.runpytest_subprocess(
        "-p", "reports.plugin", "-p", "no:cacheprovider", "-pno:hypothesispytest", *args, timeout=170
    )


def journal(session: pytest.Pytester, folder: str = "out") -> Run:
    """Return what the journal in *folder* says."""
    return read_journal.read([session.path / folder / "journal.jsonl"])


def verdicts(found: Run) -> dict[str, Verdict]:
    """Return the verdict of each test."""
    return {result.name: result.verdict for result in found.results}


@pytest.mark.thorough
def test_each_test_has_the_verdict_that_its_phases_make(session: pytest.Pytester) -> None:
    """Setup, call and teardown of a test, and the properties from the harness, make one verdict."""
    session.makepyfile(EVERY_VERDICT)

    done = run(session, "--report-dir", "out")

    assert done.ret == 1
    assert verdicts(journal(session)) == {
        "test_pass": Verdict.PASS,
        "test_fail": Verdict.FAIL,
        "test_skip": Verdict.SKIP,
        "test_xfail": Verdict.XFAIL,
        "test_xpass": Verdict.XPASS,
        "test_loose_xpass": Verdict.XPASS,
        "test_error": Verdict.ERROR,
        "test_late_error": Verdict.ERROR,
        "test_named_timeout": Verdict.TIMEOUT,
        "test_named_changed": Verdict.CHANGED,
    }
    assert {result.name for result in journal(session).results if result.strict} == {"test_xpass"}


@pytest.mark.thorough
@pytest.mark.parametrize("workers", ["1", "2", "4"])
def test_reports_are_the_same_for_any_number_of_workers(session: pytest.Pytester, workers: str) -> None:
    """The same tests make the same bytes of every report, times aside."""
    session.makepyfile(EVERY_VERDICT)

    run(session, "--report-dir", "plain")
    run(session, "--report-dir", "spread", "-n", workers)

    assert reports(session.path / "spread") == reports(session.path / "plain")


def reports(folder: Path) -> dict[str, str]:
    """Return the text of each report in *folder*, times taken out."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".jsonl")
    return {str(path.relative_to(folder)): timeless(path.read_text()) for path in files}


TIMES = re.compile(
    r'time(stamp)?="[^"]*"'  # JUnit
    r'|"(start_time|duration)": ?[^,}]*|kvm_counters:[0-9a-f]{16}'  # KCIDB
    r'|"job_id": "\w+|"datetime": "[^"]*"'  # SQUAD
    r'|"d":[0-9.e-]+|<time[^<]*</time>( · [0-9.]+ s)?'  # HTML
    r"|,\d+\.\d{6},"  # CSV
)


def timeless(text: str) -> str:
    """Return *text* without dates, times, durations, and the ids that come from them."""
    return TIMES.sub("", text)


def test_exit_status_is_4_when_every_test_is_skipped(session: pytest.Pytester) -> None:
    """Nothing could run: exit status 4, as kselftest says skip."""
    session.makepyfile("import pytest\ndef test_a():\n    pytest.skip('KVM_CAP_ADJUST_CLOCK')\n")

    assert run(session, "--report-dir", "out").ret == 4


def test_exit_status_is_0_with_skips_and_expected_failures(session: pytest.Pytester) -> None:
    """Skips and expected failures next to a pass are not a failure."""
    session.makepyfile(
        """
        import pytest
        def test_a(): pass
        def test_b(): pytest.skip("KVM_CAP_ADJUST_CLOCK")
        @pytest.mark.xfail(strict=True, reason="known")
        def test_c(): assert False
        """
    )

    assert run(session, "--report-dir", "out").ret == 0


def test_sessions_without_targets_and_reports_keep_pytests_exit_status(session: pytest.Pytester) -> None:
    """Where no reports are requested and no target is declared, the status of all skipped stays 0."""
    session.makepyfile("import pytest\ndef test_a():\n    pytest.skip('no display')\n")

    done = run(session)

    assert done.ret == 0
    assert "summary by target" not in done.stdout.str()


def test_first_failure_stops_and_the_rest_is_not_run(session: pytest.Pytester) -> None:
    """With -x the tests after the failure are in the reports, as not run."""
    session.makepyfile("def test_a(): assert 0\ndef test_b(): pass\ndef test_c(): pass\n")

    done = run(session, "--report-dir", "out", "-x")

    assert done.ret == 1
    endings = {result.name: result.ending for result in journal(session).results}
    assert endings == {
        "test_a": ResultEnding.FINISHED,
        "test_b": ResultEnding.NOT_RUN,
        "test_c": ResultEnding.NOT_RUN,
    }


@pytest.mark.thorough
def test_interrupt_keeps_what_was_judged(session: pytest.Pytester) -> None:
    """Ctrl-C ends with pytest's status 2; the reports hold what was judged."""
    session.makepyfile("def test_a(): pass\ndef test_b(): raise KeyboardInterrupt\ndef test_c(): pass\n")

    done = run(session, "--report-dir", "out")

    assert done.ret == pytest.ExitCode.INTERRUPTED
    found = journal(session)
    assert verdicts(found) == {"test_a": Verdict.PASS, "test_b": Verdict.NOT_RUN, "test_c": Verdict.NOT_RUN}
    assert "KeyboardInterrupt" in found.sessions[0].stopped
    assert (session.path / "out/results.ktap").exists()


@pytest.mark.thorough
def test_crashed_worker_names_the_test(session: pytest.Pytester) -> None:
    """A worker that dies makes its test the crashed one; the others are judged."""
    session.makepyfile("import os\ndef test_a(): pass\ndef test_b(): os._exit(9)\ndef test_c(): pass\n")

    done = run(session, "--report-dir", "out", "-n", "1")

    assert done.ret == 1
    results = {result.name: result for result in journal(session).results}
    assert results["test_b"].ending is ResultEnding.CRASHED
    assert results["test_a"].verdict is results["test_c"].verdict is Verdict.PASS


def test_dead_process_names_the_test(session: pytest.Pytester) -> None:
    """Without workers a dying process leaves a journal that names the test that killed it."""
    session.makepyfile("import os\ndef test_a(): pass\ndef test_b(): os._exit(9)\ndef test_c(): pass\n")

    run(session, "--report-dir", "out")

    found = journal(session)
    assert not found.sessions[0].complete
    endings = {result.name: result.ending for result in found.results}
    assert endings == {
        "test_a": ResultEnding.FINISHED,
        "test_b": ResultEnding.CRASHED,
        "test_c": ResultEnding.NOT_RUN,
    }


def test_next_session_keeps_the_journal_of_a_dead_one(session: pytest.Pytester) -> None:
    """A journal without its end is evidence: the next session puts it aside."""
    session.makepyfile("import os\ndef test_a(): os._exit(9) if 'DIE' in os.environ else None\n")
    os.environ["DIE"] = "1"
    run(session, "--report-dir", "out")
    del os.environ["DIE"]

    run(session, "--report-dir", "out")

    kept = read_journal.read([session.path / "out/journal.jsonl.unfinished"])
    assert [result.ending for result in kept.results] == [ResultEnding.CRASHED]
    assert journal(session).sessions[0].complete


@pytest.mark.thorough
def test_module_that_cannot_be_imported_is_one_error(session: pytest.Pytester) -> None:
    """A collection error is one result, with and without workers."""
    session.makepyfile(test_ok="def test_a(): pass", test_bad="import nonsense_of_ours")

    for workers in ("0", "2"):
        done = run(session, "--report-dir", "out", "-n", workers)

        assert done.ret == 1
        bad = [result for result in journal(session).results if result.verdict is Verdict.ERROR]
        assert [(result.subject, result.name) for result in bad] == [("bad", "collection")]


def test_collect_only_writes_nothing(session: pytest.Pytester) -> None:
    """--collect-only writes no journal and no report."""
    session.makepyfile("def test_a(): pass")

    done = run(session, "--report-dir", "out", "--collect-only")

    assert done.ret == 0
    assert not (session.path / "out").exists()


def test_targets_come_from_the_hook(session: pytest.Pytester) -> None:
    """Tests go under the target that they name; an unusable target is one skip."""
    session.makeconftest(TARGETS)
    session.makepyfile(
        """
        import pytest
        @pytest.fixture(params=["sim-a"])
        def target(request, record_property):
            record_property("target", request.param)
        def test_clock(target): pass
        """
    )

    done = run(session, "--report-dir", "out")

    assert done.ret == 0
    results = [(result.target, result.name, result.verdict) for result in journal(session).results]
    assert results == [("host", "usable", Verdict.SKIP), ("sim-a", "test_clock", Verdict.PASS)]
    done.stdout.fnmatch_lines(["*sim-a (simulated)*", "not usable: host: cannot open /dev/kvm*"])


@pytest.mark.thorough
def test_parameter_that_is_called_like_a_target_is_none(session: pytest.Pytester) -> None:
    """A test that names no target has none, though its id holds the word, and so its whole file."""
    session.makeconftest(TARGETS)
    session.makepyfile(
        """
        import pytest
        @pytest.mark.parametrize("name", ["host", "sim-a"])
        def test_it(name): pass
        """
    )

    run(session, "--report-dir", "out")
    first = {result.target for result in journal(session).results if result.nodeid.endswith("]")}
    lines = (session.path / "out" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    cut = [line for line in lines if b'"result"' not in line or b"sim-a" not in line]
    (broken,) = read_journal.parse(cut)

    assert first == {LOCAL}
    assert {result.target for result in broken.results} == {LOCAL}


def test_refused_target_is_a_sentence_and_status_2(session: pytest.Pytester) -> None:
    """What the harness does not have ends the session before the first test, without a traceback."""
    session.makeconftest(
        """
        import pytest
        @pytest.hookimpl(optionalhook=True)
        def pytest_kvm_targets(config):
            raise pytest.UsageError("no target is called sim-z; see --list-targets")
        """
    )
    session.makepyfile("def test_a(): pass")

    done = run(session)

    assert done.ret == 2
    output = done.stdout.str() + done.stderr.str()
    assert "no target is called sim-z" in output
    assert "Traceback" not in output


def test_unwritable_folder_is_a_sentence_and_status_2(session: pytest.Pytester) -> None:
    """A journal that cannot be opened ends the session before the first test."""
    session.makepyfile("def test_a(): pass")
    (session.path / "out").write_text("a file, no folder")

    done = run(session, "--report-dir", "out")

    assert done.ret == 2
    output = done.stdout.str() + done.stderr.str()
    assert "cannot write the journal" in output
    assert "Traceback" not in output


def test_journal_that_takes_nothing_ends_the_session(session: pytest.Pytester) -> None:
    """A disk that is full from the start is one sentence and status 2; no test runs."""
    session.makepyfile("def test_a(): raise SystemExit")

    done = run(session, "--journal", "/dev/full")

    assert done.ret == 2
    assert "cannot write the journal /dev/full: No space left on device" in done.stderr.str()
    done.stdout.no_fnmatch_line("*test_a*")


def test_full_disk_is_a_sentence_and_the_session_continues(session: pytest.Pytester) -> None:
    """Every test is judged and shown although the journal cannot grow; the status is 1."""
    session.makepyfile(
        """
        import os, resource
        def test_a():
            # Standard output is a file here too: the journal has to be the longer one.
            print("x" * 100_000)
        def test_b():
            size = os.stat("out/journal.jsonl").st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
        def test_c(): pass
        """
    )

    done = run(session, "--journal", "out/journal.jsonl")

    assert done.ret == 1
    done.stdout.fnmatch_lines(["no target*3*", "cannot write the journal *: File too large*"])


@pytest.mark.thorough
def test_samples_go_into_the_journal_and_the_csv(session: pytest.Pytester) -> None:
    """A benchmark's series is recorded with its test, and its raw rows land in bench/."""
    session.makepyfile(
        """
        def test_benchmark(record_property):
            record_property("sample", {
                "metric": "CNTPCT", "variant": "trapped", "unit": "ns", "values": [152.0, 307.0],
                "columns": ["trapped", "cntpct"], "rows": [[1, 2**64 - 1], [1, 7]],
            })
        """
    )

    run(session, "--report-dir", "out", "-n", "1")

    (result,) = journal(session).results
    assert result.samples[0].values == (152.0, 307.0)
    csv = (session.path / "out/bench/no-target.CNTPCT.csv").read_text()
    assert csv == f"trapped,cntpct\n1,{2**64 - 1}\n1,7\n"


@pytest.mark.thorough
def test_journal_may_be_a_pipe(session: pytest.Pytester) -> None:
    """A lab host sends its journal through a device; the summary is still there."""
    session.makepyfile("def test_a(): pass")

    done = run(session, "-q", "-s", "--journal", "/dev/stderr")

    kinds = [json.loads(line)["type"] for line in done.stderr.lines if line.startswith("{")]
    assert kinds == ["session", "collection", "start", "result", "end"]
    done.stdout.fnmatch_lines(["no target*1*"])
