# SPDX-License-Identifier: GPL-2.0-only
"""The journal: nothing that was recorded is lost, however it ends, whatever is in it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import chapter, merge, names, read_journal
from reports.journal import Journal, JournalError, Sync
from reports.model import FORMER_LOCAL, LOCAL, ResultEnding, Run, Verdict
from reports.tests import samples

ROOT = Path(__file__).parents[2]


def read(*journals: bytes) -> Run:
    """Return what *journals*, each from one host, say together."""
    runs = [run for journal in journals for run in read_journal.parse(journal.splitlines(keepends=True))]
    return merge.merge(runs)


def lines(*records: dict[str, object]) -> bytes:
    """Return *records* as a journal."""
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def session(host: str = "m") -> dict[str, object]:
    """Return a session record."""
    return {"type": "session", "version": 1, "time_ns": 1, "host": host, "facts": {}}


def result(nodeid: str, verdict: str = "pass", target: str = "host") -> dict[str, object]:
    """Return a result record."""
    return {"type": "result", "nodeid": nodeid, "target": target, "verdict": verdict}


END: dict[str, object] = {"type": "end", "time_ns": 2, "exit_status": 0}
WHOLE = b"".join(samples.lines(40))


def whole_records(kept: bytes) -> Iterator[dict[str, Any]]:
    """Yield the records that *kept* holds whole, the last one perhaps without the end of its line."""
    for line in kept.split(b"\n"):
        with contextlib.suppress(ValueError):
            yield json.loads(line)


@given(cut=st.integers(0, len(WHOLE)))
def test_cut_anywhere_keeps_every_whole_record(cut: int) -> None:
    """A journal cut at any byte keeps all results before the cut, and names what was running."""
    kept = WHOLE[:cut]

    found = read(kept)

    whole = list(whole_records(kept))
    judged = {record["nodeid"] for record in whole if record["type"] == "result"}
    started = {record["nodeid"] for record in whole if record["type"] == "start"}
    collected = {nodeid for record in whole for nodeid in record.get("nodeids", ())}
    by_ending = {
        ending: {one.nodeid for one in found.results if one.ending is ending} for ending in ResultEnding
    }
    assert by_ending[ResultEnding.FINISHED] >= judged
    assert by_ending[ResultEnding.CRASHED] <= started
    assert len(started - judged - by_ending[ResultEnding.FINISHED]) == len(by_ending[ResultEnding.CRASHED])
    assert {one.nodeid for one in found.results} >= collected


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(WHOLE.splitlines(keepends=True)))))
def test_any_lines_are_read_without_an_exception(found: list[bytes]) -> None:
    """Torn, repeated, reordered, foreign and random lines make problems, never exceptions."""
    run = merge.merge(read_journal.parse(found))

    assert len({(one.target, one.subject, one.name) for one in run.results}) == len(run.results)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text("a[::]\0\ud800", max_size=5)
)
KINDS = ("session", "target", "collection", "start", "sample", "log", "result", "end")
FIELDS = (
    "version nodeid nodeids target subject verdict name facts values columns rows text time_ns exit_status "
    "file line message"
)


@pytest.mark.thorough
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(
                    ("session", "target", "collection", "start", "sample", "log", "result", "end")
                )
            },
            optional={name: st.one_of(scalars, st.lists(scalars, max_size=3)) for name in FIELDS.split()},
        ),
        max_size=6,
    )
)
@settings(max_examples=200)
def test_records_with_any_fields_are_read_without_an_exception(found: list[dict[str, object]]) -> None:
    """Fields of the wrong type, or missing, are taken as absent."""
    read(lines(session(), *found))


def test_two_records_on_one_line_are_none() -> None:
    """A line is one record and nothing else: what two writers left on it is not guessed at."""
    torn = lines(result("a.py::test_a")).rstrip() + b" " + lines(result("a.py::test_b"))

    found = read(lines(session()) + torn)

    assert found.results == ()
    assert found.problems == ("journal:2: not a complete record, left out",)


def test_texts_of_a_result_are_read() -> None:
    """Message, reason, known issue and reproduce line of a result come back as they were written."""
    texts = {"message": "m", "reason": "r", "known_issue": "k", "repro": "p"}

    (found,) = read(lines(session(), {**result("a.py::test_a", "fail"), **texts})).results

    assert (found.message, found.reason, found.known_issue, found.repro) == ("m", "r", "k", "p")


def test_unknown_version_is_left_out_with_a_sentence() -> None:
    """A session of another schema version contributes nothing but a problem."""
    found = read(lines({**session(), "version": 2}, result("a.py::test_a")))

    assert found.results == ()
    assert "schema version 2" in found.problems[0]


def test_hosts_with_the_same_target_are_kept_apart() -> None:
    """Two hosts' target "host" becomes two targets; a target of one host keeps its name."""
    host: dict[str, object] = {"type": "target", "name": "host"}
    one = lines(session("one"), host, result("a.py::test_a", "fail"), END)
    two = lines(session("two"), host, result("a.py::test_a"), result("a.py::test_b", target="lab"), END)

    found = read(one, two)

    judged = [(one.target, one.name, one.verdict) for one in found.results]
    assert judged == [
        ("host@one", "test_a", Verdict.FAIL),
        ("host@two", "test_a", Verdict.PASS),
        ("lab", "test_b", Verdict.PASS),
    ]


@pytest.mark.parametrize("written", [LOCAL, FORMER_LOCAL])
def test_tests_that_are_about_no_target_come_last(written: str) -> None:
    """Merged with targets, they stand under "no target" after all of these, also from older journals."""
    harness = lines(session("one"), result("h.py::test_h", target=written), END)
    claims = lines(session("one"), result("a.py::test_a"), result("a.py::test_b", target="sim"), END)

    found = read(harness, claims)

    assert [one.target for one in found.results] == ["host", "sim", "no target"]
    assert [target.title for target in found.targets] == ["host", "sim", "no target"]
    assert names.target_slug("no target") == "no-target"
    assert names.target_slug("no target@one") == "no-target.one"


def test_declared_target_keeps_the_name_local() -> None:
    """A harness may call a target of its own so."""
    own: dict[str, object] = {"type": "target", "name": FORMER_LOCAL}

    found = read(lines(session(), own, result("a.py::test_a", target=FORMER_LOCAL), END))

    assert [one.target for one in found.results] == [FORMER_LOCAL]


def test_a_continued_run_replaces_what_had_not_run() -> None:
    """A host that continues after a crash adds its results; the crashed test stays crashed."""
    everything: dict[str, object] = {
        "type": "collection",
        "nodeids": ["a.py::test_a", "a.py::test_b", "a.py::test_c"],
    }
    start: dict[str, object] = {"type": "start", "nodeid": "a.py::test_b", "time_ns": 1}
    first = lines(session(), everything, result("a.py::test_a"), start)
    second = lines(session(), everything, result("a.py::test_c", "fail"), END)

    found = {one.name: (one.verdict, one.ending) for one in read(first, second).results}

    assert found["test_a"] == (Verdict.PASS, ResultEnding.FINISHED)
    assert found["test_b"] == (Verdict.ERROR, ResultEnding.CRASHED)
    assert found["test_c"] == (Verdict.FAIL, ResultEnding.FINISHED)
    assert len(found) == 3


def test_stopped_session_has_no_crashed_test() -> None:
    """A test that was running when the user stopped the session did not crash."""
    found = read(
        lines(
            session(),
            {"type": "collection", "nodeids": ["a.py::t"]},
            {"type": "start", "nodeid": "a.py::t"},
            END,
        )
    )

    assert [(one.ending, one.reason) for one in found.results] == [
        (ResultEnding.NOT_RUN, chapter.INTERRUPTED)
    ]


def test_read_only_folder_is_one_sentence(tmp_path: Path) -> None:
    """A journal that cannot be opened says where, why, and what to do."""
    (tmp_path / "file").write_text("")

    with pytest.raises(JournalError, match=r"cannot write the journal .*: File exists; choose another place"):
        Journal(tmp_path / "file" / "journal.jsonl")


def test_journal_continues_in_memory_after_a_refused_write() -> None:
    """A full disk is reported once; the journal still gives all records back, the refused one too."""
    journal = Journal(Path("/dev/full"), Sync.NEVER)

    journal.write("start", nodeid="a.py::test_a")
    journal.write("end", time_ns=1)

    assert "cannot write the journal /dev/full: No space left on device" in journal.trouble
    assert [json.loads(line)["type"] for line in journal.read()] == ["start", "end"]


def test_removed_journal_is_written_again(tmp_path: Path) -> None:
    """A journal whose folder vanished is read through its descriptor, and restored when the session ends."""
    journal = Journal(tmp_path / "out" / "journal.jsonl")
    journal.write("start", nodeid="a.py::test_a")
    shutil.rmtree(tmp_path / "out")
    journal.write("end", time_ns=1)

    journal.restore()
    journal.close()

    written = (tmp_path / "out" / "journal.jsonl").read_text().splitlines()
    types = [json.loads(line)["type"] for line in written]
    assert types == ["start", "end"]


def test_journal_of_a_later_session_stays(tmp_path: Path) -> None:
    """Two sessions into one folder: each reads what it wrote, and the second's file is left alone."""
    path = tmp_path / "journal.jsonl"
    first = Journal(path)
    first.write("start", nodeid="a.py::first")
    second = Journal(path)
    second.write("start", nodeid="a.py::second")
    first.write("end", time_ns=1)

    first.restore()

    assert [json.loads(line)["type"] for line in first.read()] == ["start", "end"]
    assert b"second" in path.read_bytes()
    first.close()
    second.close()


BIG_RUN = """
import time
import pytest

@pytest.mark.parametrize("number", range(400))
def test_it(number):
    time.sleep(0.002)
"""


@pytest.mark.thorough
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("workers", "moments", "seed"), [("0", 7, 1), ("0", 7, 2), ("2", 3, 3), ("2", 3, 4)])
def test_kill_at_random_moments_loses_no_completed_test(
    tmp_path: Path, workers: str, moments: int, seed: int
) -> None:
    """SIGKILL at 20 random moments in all: every test that had completed is in the reports.

    The session reports on a pipe which tests pytest has called finished.
    """
    (tmp_path / "test_big.py").write_text(BIG_RUN)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(
        "import os\n"
        "def pytest_runtest_logfinish(nodeid):\n"
        "    if 'PYTEST_XDIST_WORKER' not in os.environ:\n"
        "        os.write(int(os.environ['DONE_FD']), (nodeid + '\\n').encode())\n"
    )
    chance = random.Random(seed)  # noqa: S311
    ended_early = 0
    for moment in range(moments):
        out = tmp_path / f"out{moment}"
        completed = _killed_run(tmp_path, out, workers, after_results=chance.randrange(1, 390))

        found = read_journal.read([out / "journal.jsonl"])

        judged = {one.nodeid for one in found.results if one.ending is ResultEnding.FINISHED}
        assert completed <= judged
        running = [one for one in found.results if one.ending is ResultEnding.CRASHED]
        assert len(running) <= max(1, int(workers))
        assert len(found.results) == 400
        ended_early += not found.sessions[0].complete
    assert ended_early >= moments - 1


def _killed_run(folder: Path, out: Path, workers: str, after_results: int) -> set[str]:
    """Kill a pytest session once so many tests are done; return which were."""
    done_read, done_write = os.pipe()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DONE_FD": str(done_write)}
    environment.pop("PYTEST_XDIST_WORKER", None)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "reports.plugin", "--report-dir", str(out)]
    process = subprocess.Popen(
        [*words, "-n", workers, "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(done_write,),
        start_new_session=True,
    )
    os.close(done_write)
    seen = b""
    deadline = time.monotonic() + 30
    while seen.count(b"\n") < after_results and time.monotonic() < deadline:
        piece = os.read(done_read, 1 << 16)
        if not piece:
            break
        seen += piece
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    while piece := os.read(done_read, 1 << 16):
        seen += piece
    os.close(done_read)
    return set(seen.decode().splitlines())
