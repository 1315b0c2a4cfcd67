# SPDX-License-Identifier: GPL-2.0-only
"""Benchmark series out of a run: the raw readings as CSV."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from .model import Run, Sample
from .names import slug, target_slug


def csv_files(run: Run) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield (file name, lines) for each target and metric with samples.

    Series with raw columns are written with them; others as ``variant,value_UNIT``.
    Series with different columns never share a file.
    """
    labelled = run.simulated
    files: dict[tuple[str, tuple[str, ...]], list[Sample]] = defaultdict(list)
    for result in run.results:
        for sample in result.samples:
            label = ".simulated" if result.target in labelled else ""
            stem = f"{target_slug(result.target)}.{slug(sample.metric)}{label}"
            files[stem, sample.columns].append(sample)
    for (stem, columns), samples in files.items():
        shared = sum(other == stem for other, _ in files) > 1
        name = f"{stem}.{'-'.join(map(slug, columns)) or 'values'}.csv" if shared else f"{stem}.csv"
        yield name, _rows(samples) if columns else _values(samples)


def _rows(samples: list[Sample]) -> Iterator[str]:
    yield ",".join(slug(column) for column in samples[0].columns) + "\n"
    for sample in samples:
        for row in sample.rows:
            # Texts are names of variants; numbers keep all their digits.
            yield ",".join(slug(cell) if isinstance(cell, str) else str(cell) for cell in row) + "\n"


def _values(samples: list[Sample]) -> Iterator[str]:
    yield f"variant,value_{samples[0].unit}\n"
    for sample in samples:
        for value in sample.values:
            yield f"{slug(sample.variant) if sample.variant else ''},{value}\n"
