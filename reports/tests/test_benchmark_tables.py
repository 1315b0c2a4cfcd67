# SPDX-License-Identifier: GPL-2.0-only
"""Benchmark tables on the terminal, and what a journal says of a series."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from reports import benchmark_tables, read_journal, records, summary
from reports.model import ReportFigure, Result, Run, Sample, SlopeLine, Verdict
from reports.series import figures, groups
from reports.tests.measured import HOST, NVHE, counter_reads, experiment, run, series

CLASSIC = [
    "+--------------------+--------+---------+",
    "| Metric             | Native | Trapped |",
    "+--------------------+--------+---------+",
    "| Average            | 54ns   | 148ns   |",
    "| Standard Deviation | 124ns  | 122ns   |",
    "| 95th Percentile    | 258ns  | 348ns   |",
    "+--------------------+--------+---------+",
]


def test_classic_table() -> None:
    """The table is the cover letters': Metric, Native, Trapped, whole ns, though figures are ticks."""
    (group,) = groups(run((NVHE, counter_reads())))

    assert benchmark_tables.classic(group) == CLASSIC


def test_a_run_that_only_measured_shows_everything() -> None:
    """Title, classic table, each figure with its interval, resolution, the cost of the operation alone."""
    lines = list(benchmark_tables.lines(run((NVHE, counter_reads())), 80))

    assert lines[0] == "nVHE, sim-arm64-nvhe (simulated): cntpct-read"
    assert lines[1:8] == CLASSIC
    assert "54.2 [53.2, 55.2]" in lines[10]
    assert lines[-3] == "counter: 500 MHz, one tick is 2 ns"
    assert lines[-2].startswith("alone, an empty interval's median of 18.0 ns subtracted from the median: ")
    assert lines[-2].endswith("native 36.2 ns, trapped 130.4 ns")


def test_among_other_tests_tables_are_short_and_shared() -> None:
    """Next to claims only the classic table is shown; targets with one and the same table share it."""
    same = replace(NVHE, name="sim-arm64-nvhe-series")
    noted = (series("native", 20, 1, 22, note="a glance"), series("trapped", 700, 1, 800))
    found = run((HOST, noted), (NVHE, counter_reads()), (same, counter_reads()))
    whole = replace(found, results=(*found.results, Result("a::t", "t", "host", "a", Verdict.PASS)))

    lines = list(benchmark_tables.lines(whole, 90))

    assert lines[1].split("   ")[-1].strip() == "sim-arm64-nvhe (simulated)"
    assert lines[2].strip() == "sim-arm64-nvhe-series (simulated)"
    assert [line[44:].strip() for line in lines[3:10]] == CLASSIC
    assert lines[11:] == ["host: cntpct-read: a glance"]
    assert all(len(line) <= 90 for line in lines)


def test_narrow_terminal_has_one_table_below_the_other() -> None:
    """No line is longer than the widest table, and none is lost."""
    found = run((HOST, (series("native", 20, 1, 22),)), (NVHE, counter_reads()))
    whole = replace(found, results=(*found.results, Result("a::t", "t", "host", "a", Verdict.PASS)))

    lines = list(benchmark_tables.lines(whole, 20))

    assert sum("Average" in line for line in lines) == 2
    assert max(map(len, lines)) == len(CLASSIC[0])


def test_points_make_a_table_with_slopes() -> None:
    """A row for each delay that was requested, however long it took, and the slope of each method."""
    lines = list(benchmark_tables.lines(run((HOST, experiment())), 80))

    assert lines[0] == "host: restored-counter-error"
    assert [line.split()[:2] for line in lines[3:14]] == [[str(ms), "ms"] for ms in range(11)]
    assert "4,250.20 µs" in lines[7]
    assert lines[14].split() == ["slope", "[95", "%]", "1.0000", "±", "0.0001", "0.0000", "±", "0.0001"]


def test_run_without_series_has_no_tables() -> None:
    """A run of claims alone says nothing about benchmarks."""
    assert (
        summary.benchmarks(Run(targets=(HOST,), results=(Result("a", "a", "host", "a", Verdict.PASS),))) == []
    )


def test_series_without_figures_has_those_of_its_values() -> None:
    """Journals of other harnesses may hold only values: the table is there, without intervals."""
    found = figures(Sample("m", "native", "ticks", (1, 2, 3)))

    assert found["mean"] == ReportFigure(2, 2, 2)
    assert found["max"].value == 3


def test_journal_keeps_figures_and_lines() -> None:
    """What the benchmark summed up is read back as it was written."""
    given = {name: [10.5, 10, 11] for name in records.FIGURES}

    sample = _read(figures=given, hz=25_000_000, empty_ticks=3, line=[1.0, 0.5, -7.0])

    assert dict(sample.figures)["p99.9"] == ReportFigure(10.5, 10, 11)
    assert (sample.hz, sample.empty_ticks, sample.line) == (25_000_000, 3, SlopeLine(1.0, 0.5, -7.0))


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"figures": {"mean": [1, 1, 1]}, "hz": 1000}, id="some"),
        pytest.param({"figures": [1], "hz": 1000}, id="list"),
        pytest.param({"figures": {name: [1, "x", None] for name in records.FIGURES}, "hz": 5}, id="texts"),
        pytest.param({"figures": {name: [1, 1, 1] for name in records.FIGURES}, "hz": 0}, id="no-hz"),
        pytest.param({"figures": {name: [1, 1, 1] for name in records.FIGURES}, "hz": -5}, id="hz"),
        pytest.param({"figures": {name: [1e999, 1, 1] for name in records.FIGURES}, "hz": 9}, id="inf"),
        pytest.param({"line": [1, 2]}, id="short-line"),
        pytest.param({"line": "steep", "empty_ticks": "none", "hz": {}}, id="words"),
    ],
)
def test_broken_figures_are_left_out(fields: dict[str, object]) -> None:
    """Figures are whole or not there, and nothing divides by a frequency of 0."""
    sample = _read(**fields)

    assert sample.figures == ()
    assert sample.line is None
    (group,) = groups(run((HOST, (sample,))))
    assert list(benchmark_tables.detailed(group))


def _read(**fields: object) -> Sample:
    journal: list[dict[str, object]] = [
        {"type": "session", "version": 1},
        {"type": "sample", "nodeid": "a::b", "target": "host", "metric": "m", "values": [1, 2], **fields},
        {"type": "result", "nodeid": "a::b", "target": "host", "verdict": "pass"},
    ]
    (found,) = read_journal.parse([json.dumps(record).encode() + b"\n" for record in journal])
    return found.results[0].samples[0]
