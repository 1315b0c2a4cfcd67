# SPDX-License-Identifier: GPL-2.0-only
"""Compare two journals: which tests broke or are gone, which figures moved, how surely, and how far.

With --targets the verdicts of two targets: which claims differ, and which change of KVM each
difference comes from.

Exit status: 0 nothing is worse, 1 something broke, got slower, or is gone, 2 usage, 4 the journals
share no target. With --targets: 0 every difference is intended, 1 one is not, 2 usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tabulate import tabulate

from fixtures import known_issues
from reports import compare_lines, matching
from reports.compare import EFFECT, SIGNIFICANCE, WORSE, Comparison, Shift, compare
from reports.model import Run
from tools import intended
from tools.arguments import Parser
from tools.interruption import started
from tools.journals import NotAJournal, read
from tools.report import add_comparison_options

ROOT = Path(__file__).resolve().parent.parent
DIFFERS, USAGE, NOTHING = 1, 2, 4


def main(argv: Sequence[str]) -> int:
    """Compare the two journals that *argv* names; return the exit status."""
    arguments = _parse(argv)
    try:
        baseline, run = (read([path]) for path in (arguments.baseline, arguments.journal))
        found = compare(baseline, run, matching.parse(arguments.map))
    except OSError as error:
        print(f"compare: cannot read the journal {error.filename}: {error.strerror}", file=sys.stderr)
        return USAGE
    except (NotAJournal, matching.MapError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return USAGE
    if arguments.targets:
        return _between(baseline, run, *arguments.targets)
    if not found.matched.pairs:
        print("compare: the journals share no target; name those to compare with --map OLD=NEW")
        return NOTHING
    before = figures(matching.renamed(baseline, found.matched))
    return _show(found, before, figures(run), run.simulated, allow_gone=arguments.allow_gone)


def _show(
    found: Comparison,
    before: set[FigureKey],
    after: set[FigureKey],
    simulated: frozenset[str],
    *,
    allow_gone: bool,
) -> int:
    """Print verdicts, figures that are gone, and figures that moved; return the exit status."""
    for line in compare_lines.lines(replace(found, shifts=())):
        print(line)
    gone = sorted(before - after)
    for figure in gone:
        print(f"GONE        the figure {' '.join(filter(None, figure))}")
    if shared := before & after:
        print(report(found.shifts, len(shared), simulated))
    slower = any(shift.new > shift.old for shift in found.shifts)
    if slower or (gone and not allow_gone):
        return WORSE
    return found.status(allow_gone=allow_gone)


def _between(baseline: Run, run: Run, old: str, new: str) -> int:
    issues = known_issues.read(ROOT / known_issues.FILE)
    try:
        found = intended.differences((baseline, old), (run, new), issues)
    except KeyError as missing:
        print(f"compare: no such target in its journal: {missing.args[0]}", file=sys.stderr)
        return USAGE
    print(intended.report(found))
    return 0 if all(each.change for each in found) else DIFFERS


FigureKey = tuple[str, str, str, str, str]


def figures(run: Run) -> set[FigureKey]:
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
    parser = Parser(prog="compare", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("baseline", type=Path, help="journal.jsonl of the run to compare with")
    parser.add_argument("journal", type=Path, help="journal.jsonl of the run to judge")
    add_comparison_options(parser)
    parser.add_argument(
        "--targets",
        nargs=2,
        metavar=("OLD", "NEW"),
        help="compare the verdicts of the first journal's target OLD with those of the second's NEW",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(started(main))
