# SPDX-License-Identifier: GPL-2.0-only
"""LAVA result lines, as Linaro's test definitions keep them: ``name result [value unit]``.

Who reads them keys results by definition and case, never by test set: target and subject stand in
each name, and no name comes twice. A measurement is a line of its own, never on the line of a
verdict: where a result carries one, SQUAD keeps the figure and drops the verdict. A test that did
not run is ``unknown``, and its target has one more test, which fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .model import Result, Run, Sample, Verdict
from .names import DistinctNames, target_slug
from .squad import COMPLETE, figure, incomplete, story, word
from .stats import summarize
from .text import clip, defuse

LOG_LIMIT = 16_000
"""Characters of a log: LAVA prints it on a console."""

_UNIT = re.compile(r"[^A-Za-z0-9/%_.-]+")


def lines(run: Run) -> Iterator[str]:
    """Yield one line for each result and each figure of *run*."""
    names = DistinctNames()
    labelled = run.simulated
    for result, case in _cases(run, names):
        yield f"{case} {word(result)}\n"
        for sample in result.samples:
            label = figure(sample, simulated=result.target in labelled)
            yield from _figures(sample, names.add(f"{case}.{label}", f"{result.nodeid} {label}"))
    for target in incomplete(run):
        yield f"{names.add(f'{target}.{COMPLETE}', target)} fail\n"


def logs(run: Run) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield (file name, text) for each result that is not a pass: CASE.log, which is shown with the case."""
    for result, name in zip(run.results, log_names(run), strict=True):
        if name:
            yield name, _log(result)


def log_names(run: Run) -> Iterator[str]:
    """Yield the name of each result's log, "" for one that has none, in their order."""
    for result, case in _cases(run, DistinctNames()):
        yield "" if result.verdict in (Verdict.PASS, Verdict.NOT_RUN) else f"{case}.log"


def _log(result: Result) -> Iterator[str]:
    yield defuse(clip(story(result), LOG_LIMIT)) + "\n"


def _cases(run: Run, names: DistinctNames) -> list[tuple[Result, str]]:
    """Return each result with its name, which *names* has then."""
    return [(result, names.add(_place(result), f"{result.target} {result.nodeid}")) for result in run.results]


def _place(result: Result) -> str:
    return f"{target_slug(result.target)}.{result.subject}.{result.name}"


def _figures(sample: Sample, name: str) -> Iterator[str]:
    if not sample.values:
        return
    seen = summarize(sample.values)
    unit = _UNIT.sub("_", sample.unit) or "none"
    for kind, value in (("mean", seen.mean), ("median", seen.median), ("p95", seen.p95)):
        # LAVA stores ten decimals; ns and ticks need far fewer.
        yield f"{name}.{kind} pass {value:.6f} {unit}\n"
