# SPDX-License-Identifier: GPL-2.0-only
"""Files that targets, metrics and units name: distinct, with legal names, and readable as the umask says."""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import benchmark_csv, files, model
from reports.journal import Journal
from reports.model import Run, Sample, Verdict
from reports.tests.texts import words
from reports.text import one_line
from reports.whole_file import ReportError, write_file

LONG = "a-name-of-thirty-two-characters-" * 8


def measured(*series: tuple[str, Sample]) -> Run:
    """Return a run of one test for each target and its series."""
    results = (
        model.Result(str(number), f"t{number}", target, "s", Verdict.PASS, samples=(sample,))
        for number, (target, sample) in enumerate(series)
    )
    targets = dict.fromkeys(target for target, _ in series)
    return Run(targets=tuple(map(model.ReportTarget, targets)), results=tuple(results))


def test_names_beyond_the_limit_of_file_systems_are_cut(tmp_path: Path) -> None:
    """Targets, metrics and columns of any length make files that can be written, each its own."""
    many = tuple(f"{LONG}{number}" for number in range(8))
    run = measured(
        (LONG, Sample(LONG, values=(1,))),
        (LONG, Sample(LONG, columns=many, rows=(tuple(range(8)),))),
        (LONG, Sample(LONG, columns=many[:7], rows=(tuple(range(7)),))),
        (f"{LONG}x", Sample(LONG, values=(2,))),
    )

    written = [path for path in files.write_reports(run, tmp_path) if path.parent.name == "bench"]

    assert len({path.name for path in written}) == 4
    assert all(len(os.fsencode(path.name)) <= 255 for path in written)
    assert all(path.stat().st_size for path in written)


def test_series_whose_names_fold_into_one_have_a_file_each() -> None:
    """A dot in a target, a dash in a column, another unit or another case makes another file."""
    run = measured(
        ("x", Sample("a.b", values=(1,))),
        ("x.a", Sample("b", values=(2,))),
        ("x", Sample("read", values=(3,))),
        ("x", Sample("READ", values=(4,))),
        ("x", Sample("read", unit="ticks", values=(5,))),
        ("x", Sample("c", columns=("a-b",), rows=((6,),))),
        ("x", Sample("c", columns=("a", "b"), rows=((7, 8),))),
    )

    found = dict(benchmark_csv.csv_files(run))

    assert len({name.lower() for name in found}) == 7
    assert sorted(list(lines)[-1].rpartition(",")[2].strip() for lines in found.values()) == list("1234568")


@given(st.lists(st.tuples(words, words, words), min_size=1, max_size=5))
def test_any_names_make_legal_files(found: list[tuple[str, str, str]]) -> None:
    """Whatever a target, a metric or a unit is called, the file's name is of letters, digits and signs."""
    series = ((one_line(target) or "t", _sample(metric, unit)) for target, metric, unit in found)

    for name, lines in benchmark_csv.csv_files(measured(*series)):
        assert name.isascii()
        assert not set(name) & set('/\\\0:*?"<>| \n')
        assert name[0].isalpha()
        assert len(name) <= 255
        rows = list(csv.reader(lines))
        assert {len(row) for row in rows} == {2}


def _sample(metric: str, unit: str) -> Sample:
    return Sample(one_line(metric) or "unnamed", unit=one_line(unit) or "ns", values=(1,))


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_signs_that_begin_a_formula(sign: str) -> None:
    """A cell that a spreadsheet would compute is text, also with signs of full width."""
    target = f"{sign}cmd"
    run = Run(
        targets=(model.ReportTarget(target),), results=(model.Result("n", "t", target, "s", Verdict.PASS),)
    )

    (row,) = csv.DictReader("".join(files.WRITERS["results.csv"](run)).splitlines())

    assert row["target"] == f"'{target}"


@pytest.fixture(params=[0o022, 0o027, 0o002, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set the umask for one test."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_reports_and_journal_honour_the_umask(tmp_path: Path, umask: int) -> None:
    """The user's umask decides who may read a report."""
    report = write_file(tmp_path / "results.csv", ["a\n"])
    Journal(tmp_path / "journal.jsonl").close()

    for path in (report, tmp_path / "journal.jsonl"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_report_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    """No temporary file stays where a writer breaks off, and an older report stays whole."""
    (tmp_path / "results.csv").write_text("older\n")

    def pieces() -> Iterator[str]:
        yield "a\n"
        raise OSError(28, "No space left on device")

    with pytest.raises(ReportError, match="No space left on device"):
        write_file(tmp_path / "results.csv", pieces())

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("results.csv", "older\n")]
