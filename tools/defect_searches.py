# SPDX-License-Identifier: GPL-2.0-only
"""`make defects` with --thin and --assertions: claims that hold a rule alone, and what no defect tries out.

Both run each target once without a defect to learn which claims call which rule; both keep what they found
in a JSON file, also when they are stopped, and can build on that of an earlier run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from fixtures.defects import thin
from fixtures.defects.defect import Defect
from reports.whole_file import ReportError, write_file
from tools import defect_assertions, defect_thin
from tools.assertions import assertions
from tools.stopping import Stop

FOUND = 1
USAGE = 2
Kept = TypeVar("Kept")


def find_thin(
    wanted: Sequence[Defect], targets: Sequence[str], arguments: argparse.Namespace, stop: Stop
) -> int:
    """Look for rules that a single test function holds; return 1 if one stays so without a reason."""
    limit_s = 4 * arguments.limit
    targets = [target for target in targets if any(defect.targets[0] == target for defect in wanted)]
    try:
        earlier = _earlier(arguments.earlier, defect_thin.parse, defect_thin.ThinRules({}, ()))
        recorded = defect_thin.record(targets, arguments.jobs, limit_s, stop)
        if stop.by or len(recorded.outcomes) < len(targets):
            return _stopped(stop, " before any defect was judged")
        verdicts = defect_thin.judge(wanted, recorded, arguments.jobs, limit_s, stop)
        found = defect_thin.ThinRules(recorded.claims, verdicts).upon(earlier)
        text = defect_thin.page(found)
        _write(Path(arguments.out) / "thin", found.text(), text)
    except (ReportError, ValueError) as error:
        print(f"defects: {error}")
        return USAGE
    if stop.by:
        return _stopped(stop)
    troubles = [trouble for verdict in found.verdicts for trouble in verdict.troubles]
    if recorded.troubles or troubles:
        return _shows_nothing((*recorded.troubles, *troubles))
    unexplained = [verdict for verdict in found.verdicts if verdict.thin and verdict.rule not in thin.REASONS]
    return FOUND if unexplained else 0


def find_assertions(
    wanted: Sequence[Defect], targets: Sequence[str], arguments: argparse.Namespace, stop: Stop
) -> int:
    """Look for assertions that no defect makes fail; return 1 if there are any."""
    limit_s = 4 * arguments.limit
    try:
        found = _earlier(arguments.earlier, defect_assertions.parse, defect_assertions.FailedAssertions())
        options = defect_assertions.OPTIONS
        recorded = defect_thin.record(targets, arguments.jobs, limit_s, stop, options)
        if stop.by or len(recorded.outcomes) < len(targets):
            return _stopped(stop, " before any defect was tried")
        if recorded.troubles:
            return _shows_nothing(recorded.troubles)
        defect_assertions.look(wanted, recorded.outcomes, found, arguments.jobs, limit_s, stop)
        every = assertions(Path.cwd())
        text = defect_assertions.page(found, every)
        _write(Path(arguments.out) / "assertions", found.text(), text)
    except (ReportError, ValueError) as error:
        print(f"defects: {error}")
        return USAGE
    if stop.by:
        return _stopped(stop)
    return FOUND if defect_assertions.still_open(found, every) else 0


def _earlier(name: str | None, parse: Callable[[str], Kept], none: Kept) -> Kept:
    """Return what the file *name* of an earlier run holds, *none* without one; ValueError if it cannot."""
    if name is None:
        return none
    try:
        return parse(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{name}: {error.strerror}") from error


def _write(path: Path, kept: str, text: str) -> None:
    print(text)
    print(
        write_file(path.with_suffix(".json"), [kept]), write_file(path.with_suffix(".md"), [text]), sep="\n"
    )


def _stopped(stop: Stop, when: str = "") -> int:
    print(f"defects: stopped by {stop.by}{when}")
    return USAGE


def _shows_nothing(troubles: Iterable[str]) -> int:
    print("fails without a defect, and shows nothing:", *troubles, sep="\n  ")
    return USAGE
