# SPDX-License-Identifier: GPL-2.0-only
"""Say where the lab's time went: the phases of every lab host of a run, in seconds.

`make lab LAB=--timing` prints it after the run. The first boot counts; a lab host that died
and booted again has "+1".
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from fixtures.lab.timing import PHASES, read
from tools.arguments import Parser
from tools.interruption import started

NOTHING = 4


def main(argv: Sequence[str]) -> int:
    """Print the table of the runs in the folder that *argv* names; 4 if no lab host ran there."""
    parser = Parser(prog="tools.lab_times", description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", default="out", type=Path, help="a run's reports (default: out)")
    arguments = parser.parse_args(argv)
    boots = read(arguments.out / "lab")
    if not boots:
        sys.stderr.write(f"lab_times: no lab host left its times in {arguments.out / 'lab'}.\n")
        return NOTHING
    print(table(boots))
    return 0


def table(boots: Mapping[str, Sequence[Mapping[str, float]]], style: str = "simple") -> str:
    """Return a row for each lab host, a column for each phase, and their sum, in s."""
    rows = []
    for name, each in sorted(boots.items()):
        first = each[0]
        label = f"{name} +{len(each) - 1}" if len(each) > 1 else name
        seconds = [f"{first[phase]:.1f}" if phase in first else "" for phase in PHASES]
        rows.append([label, *seconds, f"{sum(first.values()):.1f}"])
    return tabulate(rows, headers=["lab host", *PHASES, "in all"], tablefmt=style, disable_numparse=True)


if __name__ == "__main__":
    sys.exit(started(main))
