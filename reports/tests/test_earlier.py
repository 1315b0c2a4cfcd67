# SPDX-License-Identifier: GPL-2.0-only
"""Reports of an earlier run never stay next to a newer journal, and files of others always do."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports import earlier, files, lock, read_journal
from reports.model import Run
from reports.tests.sessions import call, command, run, suite

# Every test starts pytest.
pytestmark = pytest.mark.timeout(180)

SAMPLES = """
import os, pytest

@pytest.mark.parametrize("metric", ["first", "second"])
def test_benchmark(metric, record_property):
    if "DIES" in os.environ:
        os._exit(9)
    if metric not in os.environ["METRICS"]:
        return
    record_property("sample", {"metric": metric, "unit": "ns", "values": [1.0, 2.0]})
"""


@pytest.mark.thorough
def test_reports_of_an_earlier_run_go_before_the_first_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that dies leaves its journal and its lock in the folder, and files of others as they were."""
    suite(tmp_path, SAMPLES)
    monkeypatch.setenv("METRICS", "first second")
    assert call(tmp_path).returncode == 0
    others = [tmp_path / "out" / name for name in ("notes.txt", "bench/mine.csv", "squad/mine.json")]
    for path in others:
        path.write_text("mine")
    monkeypatch.setenv("DIES", "1")

    call(tmp_path)

    left = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")}
    own = {"journal.jsonl", lock.FILE}  # The next run takes the lock of a process that died.
    assert left == own | {"notes.txt", "bench", "bench/mine.csv", "squad", "squad/mine.json"}


def test_reports_that_a_run_does_not_have_go_with_the_earlier_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raw readings that were not measured again do not stay next to those that were."""
    suite(tmp_path, SAMPLES)
    monkeypatch.setenv("METRICS", "first second")
    call(tmp_path)
    first = {path.name for path in (tmp_path / "out" / "bench").glob("*.csv")}
    monkeypatch.setenv("METRICS", "second")

    files.write_reports(_without_first(tmp_path), tmp_path / "out")

    assert first == {"no-target.first.csv", "no-target.second.csv"}
    assert {path.name for path in (tmp_path / "out" / "bench").glob("*.csv")} == {"no-target.second.csv"}


def _without_first(folder: Path) -> Run:
    lines = (folder / "out" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run,) = read_journal.parse([line for line in lines if b'"metric":"first"' not in line])
    return run


@pytest.mark.thorough
def test_reports_next_to_a_journal_that_is_replaced_also_go(tmp_path: Path) -> None:
    """--journal alone over an earlier journal: the reports that were made of that one go."""
    suite(tmp_path, "def test_a(): pass\n")
    call(tmp_path)
    assert (tmp_path / "out" / "junit.xml").exists()

    run([*command()[:-2], "--journal", "out/journal.jsonl"], tmp_path)

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["journal.jsonl"]


def test_reports_next_to_another_journal_stay(tmp_path: Path) -> None:
    """--journal into a folder that holds no journal of ours touches nothing there."""
    suite(tmp_path, "def test_a(): pass\n")
    (tmp_path / "junit.xml").write_text("somebody else's")

    run([*command()[:-2], "--journal", "journal.jsonl"], tmp_path)

    assert (tmp_path / "junit.xml").read_text() == "somebody else's"


def test_table_of_names_has_every_report() -> None:
    """What is removed is what is written, and the lab's pages."""
    assert {*files.WRITERS, "report.html", "lab-matrix.md", "lab-knobs.md", "moves.md", "moves.json"} == set(
        earlier.NAMES
    )


def test_every_folder_of_many_reports_is_known() -> None:
    """What is removed from a folder is what is written there."""
    assert files.FAMILIES.keys() == earlier.FOLDERS.keys()


@pytest.mark.parametrize("folder", earlier.FOLDERS)
@pytest.mark.parametrize("line", ["../../victim", "a/../../victim", "/victim", "victim.txt"])
def test_list_of_reports_names_nothing_elsewhere(tmp_path: Path, folder: str, line: str) -> None:
    """A list from another writer removes no file outside of its folder, and none of another kind."""
    ending = earlier.FOLDERS[folder]
    (tmp_path / folder).mkdir()
    (tmp_path / f"victim{ending}").touch()
    (tmp_path / folder / "victim.txt").touch()
    (tmp_path / folder / earlier.LIST).write_text(f"{line}{ending if '/' in line else ''}\n")

    assert [path.name for path in earlier.found(tmp_path)] == [earlier.LIST]


@pytest.mark.thorough
def test_reports_under_the_names_of_the_last_release_go(tmp_path: Path) -> None:
    """SQUAD's files had other names, under which none of an earlier run stays."""
    suite(tmp_path, "def test_a(): pass\n")
    (tmp_path / "out" / "squad").mkdir(parents=True)
    (tmp_path / "out" / "squad" / "tests.json").touch()

    call(tmp_path)

    assert not (tmp_path / "out" / "squad" / "tests.json").exists()


@pytest.mark.thorough
def test_usage_error_leaves_the_earlier_reports(tmp_path: Path) -> None:
    """A session that does not begin takes nothing away."""
    suite(tmp_path, "def test_a(): pass\n")
    call(tmp_path)
    (tmp_path / "conftest.py").write_text(
        "import pytest\n@pytest.hookimpl(optionalhook=True)\n"
        "def pytest_kvm_targets(config):\n    raise pytest.UsageError('no such target')\n"
    )

    done = call(tmp_path)

    assert done.returncode == 2
    assert (tmp_path / "out" / "junit.xml").exists()
