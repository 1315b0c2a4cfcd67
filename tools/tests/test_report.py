# SPDX-License-Identifier: GPL-2.0-only
"""The command that merges journals into reports."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from reports.lock import Lock
from reports.tests import samples
from tools import report


def journal(path: Path, verdict: str, host: str = "m") -> Path:
    """Write a journal of one result."""
    nodeid = "kvmtests/x86/test_a.py::test_a[host]"
    records: list[dict[str, object]] = [
        {"type": "session", "version": 1, "host": host, "time_ns": 1},
        {"type": "target", "name": "host"},
        {
            "type": "result",
            "nodeid": nodeid,
            "target": "host",
            "verdict": verdict,
        },
        {"type": "end", "time_ns": 2, "exit_status": 0},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_rendering_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """Reports are a pure function of their journals."""
    (tmp_path / "journal.jsonl").write_bytes(b"".join(samples.lines(200)))

    for name in ("one", "two"):
        assert report.main([str(tmp_path / "journal.jsonl"), "--out", str(tmp_path / name)]) == 0

    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) > 10
    assert all(
        (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files
    )


def test_hosts_are_kept_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same target of two hosts is two targets of one report."""
    one = journal(tmp_path / "one.jsonl", "pass", "one")
    two = journal(tmp_path / "two.jsonl", "fail", "two")

    assert report.main([str(one), str(two), "--out", str(tmp_path / "out")]) == 0

    printed = capsys.readouterr().out
    assert "host@one" in printed
    assert "FAIL    host@two x86.a test_a" in printed


def test_baseline_names_what_broke_with_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What broke since the baseline is on the terminal, on the page, and in the exit status."""
    old = journal(tmp_path / "old.jsonl", "pass")
    new = journal(tmp_path / "new.jsonl", "fail")

    status = report.main([str(new), "--baseline", str(old), "--out", str(tmp_path / "out")])

    assert status == 1
    assert "BROKEN      host x86.a test_a: pass -> fail" in capsys.readouterr().out
    assert "broken" in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize(
    ("old", "new", "options", "status"),
    [
        pytest.param("fail", "pass", [], 0, id="repaired"),
        pytest.param("fail", "fail", [], 0, id="no-worse"),
        pytest.param("pass", "skip", [], 1, id="no-longer-judged"),
        pytest.param("pass", "skip", ["--allow-gone"], 0, id="allowed"),
        pytest.param("pass", "fail", ["--allow-gone"], 1, id="broken-is-never-allowed"),
        pytest.param("pass", "pass", ["--map", "host=host"], 0, id="mapped"),
        pytest.param("pass", "pass", ["--map", "host"], 2, id="wrong-map"),
    ],
)
def test_status_says_whether_something_is_worse(
    tmp_path: Path, old: str, new: str, options: list[str], status: int
) -> None:
    """0 nothing worse, 1 worse or gone, 2 usage."""
    one, two = journal(tmp_path / "old.jsonl", old), journal(tmp_path / "new.jsonl", new)
    where = ["--out", str(tmp_path / "out")]

    assert report.main([str(two), "--baseline", str(one), *options, *where]) == status


def test_options_of_a_comparison_need_a_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--allow-gone without --baseline compares nothing, and is refused in one sentence."""
    good = journal(tmp_path / "j.jsonl", "pass")

    with pytest.raises(SystemExit) as ended:
        report.main([str(good), "--allow-gone", "--out", str(tmp_path / "out")])

    assert ended.value.code == 2
    assert "name it with --baseline JOURNAL" in capsys.readouterr().err


def test_missing_journal_is_a_sentence_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A journal that is not there is named."""
    assert report.main([str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "out")]) == 2

    assert "cannot read the journal" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"all:\n\ttrue\n" * 50, b'{"version": 1}\n', bytes(range(256))])
def test_file_that_is_not_a_journal_is_a_sentence_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    """A file without a record is refused, as journal and as baseline, and no empty report is written."""
    (tmp_path / "other").write_bytes(content)
    good = journal(tmp_path / "j.jsonl", "pass")
    where = ["--out", str(tmp_path / "out")]

    assert report.main([str(good), str(tmp_path / "other"), *where]) == 2
    assert report.main([str(good), "--baseline", str(tmp_path / "other"), *where]) == 2

    sentence = f"report: {tmp_path}/other is not a journal: no line of it is a record\n"
    assert capsys.readouterr().err == 2 * sentence
    assert not (tmp_path / "out").exists()


def test_folder_in_use_is_a_sentence_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While a run writes there, no report is written."""
    good = journal(tmp_path / "j.jsonl", "pass")

    with Lock(tmp_path / "out"):
        assert report.main([str(good), "--out", str(tmp_path / "out")]) == 2

    assert f"another run writes into {tmp_path}/out (process {os.getpid()}" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_unwritable_folder_is_a_sentence_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that cannot be made is named, and nothing half-written stays."""
    (tmp_path / "out").write_text("")

    status = report.main([str(journal(tmp_path / "j.jsonl", "pass")), "--out", str(tmp_path / "out")])

    assert status == 2
    assert "cannot write the report" in capsys.readouterr().err


def test_history_reads_folders_and_journals_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Journals below a folder are runs; the one reported on counts once; other files are passed over."""
    (tmp_path / "runs/one").mkdir(parents=True)
    journal(tmp_path / "runs/one/journal.jsonl", "pass")
    new = journal(tmp_path / "runs/new.jsonl", "fail")
    (tmp_path / "runs/other.jsonl").write_text("no journal\n")

    status = report.main([str(new), "--history", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])

    assert status == 0
    assert "history of 2 runs" in capsys.readouterr().out
    assert '<h2 id="history">' in (tmp_path / "out/report.html").read_text()


def test_history_that_is_not_a_journal_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file or a folder that is not there is named, and status 2."""
    good = journal(tmp_path / "j.jsonl", "pass")
    where = ["--out", str(tmp_path / "out")]

    assert report.main([str(good), "--history", str(tmp_path / "none"), *where]) == 2

    assert f"cannot read the journal {tmp_path}/none" in capsys.readouterr().err
