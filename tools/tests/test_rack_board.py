# SPDX-License-Identifier: GPL-2.0-only
"""What a rack sends, and what it makes of what comes back, without any board."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from reports import read_journal
from reports.model import Run, Verdict
from tools import rack, rack_console, rack_journal, rack_marks, rack_tree

ROOT = Path(__file__).parents[2]
CLAIM = "kvmtests/x86/test_set_clock.py::test_set_value_takes_effect[host-zero]"
OTHER = "kvmtests/x86/test_set_clock.py::test_set_value_takes_effect[host-one]"


def record(type_: str, **fields: object) -> bytes:
    """Return one line of a board's journal."""
    return json.dumps({"type": type_, **fields}).encode() + b"\n"


BEGIN = record("session", version=1, host="localhost", time_ns=1, facts={"kernel": "Linux 6.12"})
BEGIN += record("target", name="host", kind="host", arch="x86_64", facts={})
BEGIN += record("collection", nodeids=[CLAIM, OTHER]) + record("start", nodeid=CLAIM, time_ns=2)
RESULT = record("result", nodeid=CLAIM, target="host", verdict="pass")


def collected(tmp_path: Path, journal: bytes, **ended: object) -> Run:
    """Return what is read of a board that left *journal* and *ended*."""
    folder = rack_journal.fresh(tmp_path, "alpha")
    (folder / "journal.jsonl").write_bytes(journal)
    (folder / "ended.json").write_text(json.dumps(ended))
    (tmp_path / "journal.jsonl").write_text("".join(rack_journal.lines("alpha", folder)))
    return read_journal.read([tmp_path / "journal.jsonl"])


def test_results_stand_under_the_boards_name(tmp_path: Path) -> None:
    """The session is that of the board; what the board calls itself is a fact."""
    run = collected(tmp_path, BEGIN + RESULT + record("end", time_ns=3, exit_status=0), status=0)

    assert [session.host for session in run.sessions] == ["alpha"]
    assert dict(run.sessions[0].facts)["hostname"] == "localhost"
    assert run.results[0].verdict is Verdict.PASS


def test_board_that_dies_costs_the_test_that_its_console_named(tmp_path: Path) -> None:
    """A journal may end before it, the console does not. The log is what the console said last."""
    run = collected(tmp_path, BEGIN + RESULT, lost="it does not answer", test=OTHER, console="Kernel panic")

    verdicts = {result.nodeid: result for result in run.results}
    assert verdicts[CLAIM].verdict is Verdict.PASS
    assert verdicts[OTHER].verdict is Verdict.ERROR
    assert verdicts[OTHER].message == "the board alpha was lost: it does not answer"
    assert verdicts[OTHER].log == "Kernel panic"


def test_board_that_dies_between_two_tests_keeps_both(tmp_path: Path) -> None:
    """A test that has its result keeps it; the loss is a result of its own."""
    run = collected(tmp_path, BEGIN + RESULT, lost="it does not answer", test=CLAIM, console="")

    verdicts = {result.nodeid: result.verdict for result in run.results}
    assert verdicts == {CLAIM: Verdict.PASS, "rack::alpha": Verdict.ERROR, OTHER: Verdict.NOT_RUN}


@pytest.mark.parametrize("ended", [{"lost": "it cannot be reached"}, {"status": 127}, {}])
def test_board_that_never_ran_a_test_is_an_error(tmp_path: Path, ended: dict[str, object]) -> None:
    """No journal: one result, which is not green, with the reason."""
    run = collected(tmp_path, b"", **ended)

    (lost,) = run.results
    assert (lost.verdict, lost.subject) == (Verdict.ERROR, "rack")
    assert "the board alpha was lost: " in lost.message


def test_torn_line_is_left_out(tmp_path: Path) -> None:
    """The board died while it wrote."""
    run = collected(tmp_path, BEGIN + RESULT[:20], lost="it does not answer", test=CLAIM)

    assert not run.problems
    assert run.results[0].verdict is Verdict.ERROR


def test_an_earlier_runs_files_go(tmp_path: Path) -> None:
    """What is found afterwards is this run's."""
    folder = rack_journal.fresh(tmp_path, "alpha")
    for name in ("journal.jsonl", "ended.json", "console_alpha", "mine"):
        (folder / name).touch()

    assert [path.name for path in rack_journal.fresh(tmp_path, "alpha").iterdir()] == ["mine"]


def test_last_mark_on_the_console_is_the_test(tmp_path: Path) -> None:
    """Whatever else stands there; node ids may hold spaces."""
    said = [
        b"[1.0] kvmtests: test a.py::b[x]",
        b"\xff\x1b[m[2.0] kvmtests: test a.py::c[two words]",
        b"Oops",
        b"",
    ]
    (tmp_path / "console_alpha").write_bytes(b"\r\n".join(said))

    found = rack_console.last_words(tmp_path)

    assert found["test"] == "a.py::c[two words]"
    assert found["console"].endswith("Oops\r\n")


def test_suite_that_is_sent_needs_nothing_but_python(tmp_path: Path) -> None:
    """Unpacked anywhere, a bare python3 collects the claims; the harness's own tests are not sent."""
    tree = rack_tree.build(ROOT, tmp_path / "tree.tar.gz")
    with tarfile.open(tree) as archive:
        assert not [name for name in archive.getnames() if "/tests/" in name]
    subprocess.run(["tar", "-xzf", str(tree), "-C", str(tmp_path)], check=True, timeout=50)

    words = [
        "-S",
        "-m",
        "pytest",
        "kvmtests",
        "--ignore-glob=*/test_[!c]*.py",
        "-p",
        "tools.rack_marks",
        "--collect-only",
        "-q",
        "-k",
        "clock",
    ]
    done = subprocess.run(
        [sys.executable, *words, "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={"PYTHONPATH": "vendor", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert done.returncode in (0, 4, 5), done.stdout + done.stderr


def test_marks_and_their_reader_agree() -> None:
    """What a board writes is what is looked for on its console."""
    assert rack_marks.NOTICE.removeprefix("<5>") == rack_console.MARK


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "rack: ENV names no environment of labgrid, as in ENV=lab.yaml.\n"),
        (["--env=/nonexistent.yaml"], "rack: there is no environment /nonexistent.yaml.\n"),
    ],
)
def test_without_an_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    """One sentence, status 2, and nothing is written."""
    assert rack.main([*words, f"--out={tmp_path}/out"]) == 2

    assert capsys.readouterr().err == sentence
    assert not (tmp_path / "out").exists()


def test_boards_are_chosen_by_name() -> None:
    """All of them, or those named; another name, or one that leads out of the folder, is refused."""
    assert rack.chosen(["a", "b"], []) == ["a", "b"]
    assert rack.chosen(["a", "b"], ["b"]) == ["b"]
    for boards, names in ((["a"], ["c"]), (["../a"], []), ([".."], [])):
        with pytest.raises(rack.NoRack):
            rack.chosen(boards, names)
