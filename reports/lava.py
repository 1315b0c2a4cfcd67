# SPDX-License-Identifier: GPL-2.0-only
"""LAVA result lines, as Linaro's test definitions keep them: ``name result [value unit]``.

A measurement is a line of its own, never on the line of a verdict: where a result carries
one, SQUAD keeps the figure and drops the verdict. A test that did not run is ``unknown``, and
its target has one more test, which fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .model import Result, Run, Sample
from .squad import COMPLETE, figure, incomplete, suite, word
from .stats import summarize

_UNIT = re.compile(r"[^A-Za-z0-9/%_.-]+")


def lines(run: Run) -> Iterator[str]:
    """Yield one line for each result and each figure of *run*, a test set for each suite."""
    opened = ""
    labelled = run.simulated
    for result in run.results:
        name = suite(result)
        if name != opened:
            if opened:
                yield f"lava-test-set stop {opened}\n"
            yield f"lava-test-set start {name}\n"
            opened = name
        yield f"{result.name} {word(result)}\n"
        for sample in result.samples:
            yield from _figures(result, sample, figure(sample, simulated=result.target in labelled))
    if opened:
        yield f"lava-test-set stop {opened}\n"
    for target in incomplete(run):
        yield f"lava-test-set start {target}\n{COMPLETE} fail\nlava-test-set stop {target}\n"


def _figures(result: Result, sample: Sample, name: str) -> Iterator[str]:
    if not sample.values:
        return
    seen = summarize(sample.values)
    unit = _UNIT.sub("_", sample.unit) or "none"
    for kind, value in (("mean", seen.mean), ("median", seen.median), ("p95", seen.p95)):
        # LAVA stores ten decimals; ns and ticks need far fewer.
        yield f"{result.name}.{name}.{kind} pass {value:.6f} {unit}\n"
