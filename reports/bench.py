# SPDX-License-Identifier: GPL-2.0-only
"""Benchmark series out of a run: the raw readings as CSV."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from .model import Run, Sample
from .names import slug


def csv_files(run: Run) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield (file name, lines) for each target and metric with samples.

    Series with raw columns are written with them; others as ``variant,value_UNIT``.
    Series with different columns never share a file.
    """
    files: dict[str, list[Sample]] = defaultdict(list)
    for result in run.results:
        for sample in result.samples:
            heads = "-".join(sample.columns)
            stem = slug(f"{result.target}.{slug(sample.metric)}", f"{result.target} {sample.metric} {heads}")
            files[f"{stem}.csv"].append(sample)
    for name, samples in files.items():
        columns = samples[0].columns
        same = [sample for sample in samples if sample.columns == columns]
        yield name, _rows(same) if columns else _values(same)


def _rows(samples: list[Sample]) -> Iterator[str]:
    yield ",".join(slug(column) for column in samples[0].columns) + "\n"
    for sample in samples:
        for row in sample.rows:
            yield ",".join(map(str, row)) + "\n"


def _values(samples: list[Sample]) -> Iterator[str]:
    yield f"variant,value_{samples[0].unit}\n"
    for sample in samples:
        for value in sample.values:
            yield f"{slug(sample.variant) if sample.variant else ''},{value}\n"
