# SPDX-License-Identifier: GPL-2.0-only
"""Benchmark tables for the terminal: the cover letters' form, and the one with everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from .model import ResultEnding, Run, Sample, Verdict
from .series import CLASSIC, EVERY, Group, alone, figures, groups, mean_errors, resolution, slope

GAP = "   "


def lines(run: Run, width: int) -> Iterator[str]:
    """Yield the tables of *run*: all figures if it only measured, else the classic ones side by side.

    *width* is the terminal's, in columns.
    """
    found = groups(run)
    if _only_measured(run):
        for group in found:
            yield from (*detailed(group), "")
        return
    yield from _side_by_side(_blocks([group for group in found if not group.is_experiment]), width)
    for group in found:
        said = [f"slope {', '.join(_slopes(group.samples))}"] if group.is_experiment else []
        said += dict.fromkeys(sample.note for sample in group.samples if sample.note)
        if said:
            yield f"{group.title}: {'; '.join(said)}"


def detailed(group: Group) -> Iterator[str]:
    """Yield title, classic table and everything else that was measured of *group*."""
    yield group.title
    if group.is_experiment:
        yield from points(group)
        return
    yield from classic(group)
    yield from everything(group)
    notes = dict.fromkeys(sample.note for sample in group.samples)
    yield from filter(None, (resolution(group.samples), alone(group.samples), *notes))


def classic(group: Group) -> list[str]:
    """Return the table "Metric | Native | Trapped" in whole units, as the series' cover letters have it."""
    columns = [figures(sample) for sample in group.samples]
    rows = [
        [name, *(f"{column[key].value:.0f}{group.unit}" for column in columns)]
        for name, key in CLASSIC.items()
    ]
    return _table(["Metric", *map(_head, group.samples)], rows, "pretty", "left")


def everything(group: Group) -> list[str]:
    """Return every figure with its 95 % interval, and in ticks where the counter is known."""
    heads = [""]
    rows = [[name] for name in EVERY]
    for sample in group.samples:
        heads.append(f"{sample.variant or 'all'} {group.unit} [95 %]")
        ticks = dict(sample.figures)
        shown = figures(sample)
        for row, key in zip(rows, EVERY.values(), strict=True):
            row.append(_with_interval(shown[key].value, shown[key].low, shown[key].high))
        if ticks:
            heads.append(f"{sample.variant or 'all'} ticks")
            for row, key in zip(rows, EVERY.values(), strict=True):
                row.append(f"{ticks[key].value:.1f}")
    counted = [
        cell for one in group.samples for cell in (f"{one.measured:,}", *([""] if one.figures else []))
    ]
    return _table(heads, [*rows, ["Samples", *counted]], "simple", "left")


def points(group: Group) -> list[str]:
    """Return the mean error at each delay, and the slope of the line through all points."""
    rows = [
        [f"{delay_ms} ms", *("" if mean_us is None else f"{mean_us:,.2f} µs" for mean_us in means_us)]
        for delay_ms, means_us in mean_errors(group.samples)
    ]
    rows.append(["slope [95 %]", *map(slope, group.samples)])
    heads = ["injected delay", *(sample.variant or "all" for sample in group.samples)]
    return _table(heads, rows, "simple", "right")


def _only_measured(run: Run) -> bool:
    ran = [
        one for one in run.results if one.ending is ResultEnding.FINISHED and one.verdict is not Verdict.SKIP
    ]
    return all(result.samples for result in ran)


def _blocks(found: Sequence[Group]) -> list[list[str]]:
    """Return the classic tables under their titles; targets with one and the same table share it."""
    same: dict[tuple[str, ...], list[Group]] = {}
    for group in found:
        same.setdefault((group.metric, group.mode, *classic(group)), []).append(group)
    tallest = max((len(sharing) for sharing in same.values()), default=0)
    return [
        [
            ", ".join(filter(None, (metric, mode))),
            *(group.target.title for group in sharing),
            *[""] * (tallest - len(sharing)),
            *table,
        ]
        for (metric, mode, *table), sharing in same.items()
    ]


def _side_by_side(blocks: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    widest = max((len(line) for block in blocks for line in block), default=1)
    across = max(1, (width + len(GAP)) // (widest + len(GAP)))
    for first in range(0, len(blocks), across):
        for row in zip_longest(*blocks[first : first + across], fillvalue=""):
            yield GAP.join(line.ljust(widest) for line in row).rstrip()
        yield ""


def _slopes(samples: Sequence[Sample]) -> Iterator[str]:
    return (f"{sample.variant or 'all'} {slope(sample)}" for sample in samples)


def _head(sample: Sample) -> str:
    return (sample.variant or "all").capitalize()


def _with_interval(value: float, low: float, high: float) -> str:
    seen, first, last = f"{value:.1f}", f"{low:.1f}", f"{high:.1f}"
    return seen if first == last == seen else f"{seen} [{first}, {last}]"


def _table(heads: list[str], rows: list[list[str]], form: str, alignment: str) -> list[str]:
    try:
        from tabulate import tabulate
    except ImportError:  # A lab host, or one that runs kselftest, has pytest and no more.
        return ["  ".join(f"{cell:>20}" for cell in row) for row in (heads, *rows)]
    # Texts only: tabulate would reformat what looks like a number.
    text = tabulate(rows, heads, form, disable_numparse=True, stralign=alignment)
    return text.splitlines()
