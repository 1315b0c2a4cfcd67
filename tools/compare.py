# SPDX-License-Identifier: GPL-2.0-only
"""Compare the benchmarks of two journals: which figures moved, how surely, and how far.

Exit status: 0 nothing got slower, 1 something did, 2 usage, 4 the journals share no figures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from reports.compare import EFFECT, SIGNIFICANCE, Shift, compare
from reports.model import Run
from tools.arguments import Parser
from tools.journals import NotAJournal, read

SLOWER, USAGE, NOTHING = 1, 2, 4


def main(argv: Sequence[str]) -> int:
    """Compare the two journals that *argv* names; return the exit status."""
    arguments = _parse(argv)
    try:
        baseline, run = (read([path]) for path in (arguments.baseline, arguments.journal))
    except OSError as error:
        print(f"compare: cannot read the journal {error.filename}: {error.strerror}", file=sys.stderr)
        return USAGE
    except NotAJournal as error:
        print(f"compare: {error}", file=sys.stderr)
        return USAGE
    shared = figures(baseline) & figures(run)
    if not shared:
        print("compare: the journals share no figures; were both made by `make bench` on the same targets?")
        return NOTHING
    shifts = compare(baseline, run).shifts
    print(report(shifts, len(shared), run.simulated))
    return SLOWER if any(shift.new > shift.old for shift in shifts) else 0


def figures(run: Run) -> set[tuple[str, str, str, str, str]]:
    """Return what identifies each figure of *run*: target, subject, test, metric, variant."""
    return {
        (result.target, result.subject, result.name, sample.metric, sample.variant)
        for result in run.results
        for sample in result.samples
        if sample.values
    }


def report(shifts: Sequence[Shift], compared: int, simulated: frozenset[str]) -> str:
    """Return the table of *shifts*, or a sentence if nothing moved."""
    judged = (
        f"{compared} figures compared by the Mann-Whitney rank test, p <= {SIGNIFICANCE:g} / {compared}, "
        f"and Cliff's |delta| >= {EFFECT:g}"
    )
    if not shifts:
        return f"nothing moved: {judged}"
    return f"{tabulate([_row(shift, simulated) for shift in shifts], headers=_HEADS)}\n\n{judged}"


_HEADS = ["", "target", "metric", "variant", "old median", "new median", "ratio", "p", "delta"]


def _row(shift: Shift, simulated: frozenset[str]) -> list[str]:
    return [
        "SLOWER" if shift.new > shift.old else "faster",
        f"{shift.target} (simulated)" if shift.target in simulated else shift.target,
        shift.metric,
        shift.variant,
        f"{shift.old:.1f} {shift.unit}",
        f"{shift.new:.1f} {shift.unit}",
        f"{shift.new / shift.old:.2f}" if shift.old else "",
        f"{shift.p_value:.1g}",
        f"{shift.delta:+.2f}",
    ]


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="compare", description=__doc__.splitlines()[0])
    parser.add_argument("baseline", type=Path, help="journal.jsonl of the run to compare with")
    parser.add_argument("journal", type=Path, help="journal.jsonl of the run to judge")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
