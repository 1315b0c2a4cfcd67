# SPDX-License-Identifier: GPL-2.0-only
"""bench/*.csv: the raw readings of the benchmark series of a run."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .model import Run, Sample
from .names import digest, slug, target_slug
from .table import defused

NAME_LIMIT = 200
"""Longest file name: file systems have 255 bytes, and a temporary name needs some of them."""


class _Kind(NamedTuple):
    """What series have in common that share a file."""

    target: str
    metric: str
    label: str
    columns: tuple[str, ...]
    unit: str  # Empty where columns say what the numbers are.

    @property
    def stem(self) -> str:
        """The file's name without its suffix, unless another series has the same."""
        return f"{target_slug(self.target)}.{slug(self.metric)}{self.label}"


def csv_files(run: Run) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield (file name, lines) for each target and metric with samples; no name comes twice.

    Series with raw columns are written with them; others as ``variant,value_UNIT``.
    Series with different columns, or different units, never share a file.
    """
    labelled = run.simulated
    files: dict[_Kind, list[Sample]] = defaultdict(list)
    for result in run.results:
        for sample in result.samples:
            label = ".simulated" if result.target in labelled else ""
            unit = "" if sample.columns else sample.unit
            files[_Kind(result.target, sample.metric, label, sample.columns, unit)].append(sample)
    for (kind, samples), name in zip(files.items(), _names(files), strict=True):
        yield f"{name}.csv", _rows(samples) if kind.columns else _values(samples)


def _names(kinds: Iterable[_Kind]) -> Iterator[str]:
    """Yield a name for each of *kinds*: as short as it can be, and no two that differ in case only."""
    every = list(kinds)
    shared = Counter(kind.stem.lower() for kind in every)
    names = [
        kind.stem if shared[kind.stem.lower()] == 1 else f"{kind.stem}.{_distinction(kind)}" for kind in every
    ]
    seen = Counter(name.lower() for name in names)
    for kind, name in zip(every, names, strict=True):
        if seen[name.lower()] == 1 and len(name) <= NAME_LIMIT:
            yield name
        else:
            yield f"{name[: NAME_LIMIT - 7]}-{digest(repr(kind))}"


def _distinction(kind: _Kind) -> str:
    return "-".join(map(slug, kind.columns)) or "values"


def _rows(samples: list[Sample]) -> Iterator[str]:
    yield ",".join(slug(column) for column in samples[0].columns) + "\n"
    for sample in samples:
        for row in sample.rows:
            # Texts are names of variants; numbers keep all their digits.
            yield ",".join(slug(cell) if isinstance(cell, str) else str(cell) for cell in row) + "\n"


def _values(samples: list[Sample]) -> Iterator[str]:
    yield _line("variant", f"value_{samples[0].unit}")
    for sample in samples:
        variant = slug(sample.variant) if sample.variant else ""
        for value in sample.values:
            yield f"{variant},{value}\n"


def _line(*cells: str) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([defused(cell) for cell in cells])
    return out.getvalue()
