# SPDX-License-Identifier: GPL-2.0-only
"""The fields of a journal's records, cleaned; a field of another type counts as absent."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from . import names
from .journal import HOST, OLD_HOST
from .model import Fact, Number, ReportFigure, Sample, SlopeLine, Verdict
from .text import clean, one_line

Record = Mapping[str, Any]

FIGURES = ("mean", "sd", "p50", "p95", "p99", "p99.9", "min", "max")
"""What tables show of a series."""

MIN_HZ, MAX_HZ = 1, 10**15
"""Counters have a frequency: ticks of anything else have no length."""

_DECODE = json.JSONDecoder().raw_decode
_BLANK = " \t\r\n"
_VERDICTS = {verdict.value: verdict for verdict in Verdict}
_PLAIN = {HOST, OLD_HOST}.union(
    ("type", "nodeid", "target", "subject", "verdict", "duration_ns", "start_ns", "file", "line")
)


def decoded(line: bytes) -> Record | None:
    """Return the record in *line*, None if that is not a whole one."""
    try:
        text = line.decode().strip(_BLANK)
        record, end = _DECODE(text)
    except (ValueError, RecursionError):
        return None
    if end != len(text) or not isinstance(record, dict) or not isinstance(record.get("type"), str):
        return None
    return record


class ResultPlace(NamedTuple):
    """Where a result stands, and its verdict."""

    target: str
    subject: str
    verdict: Verdict | None
    file: str


def place(record: Record) -> ResultPlace:
    """Return what the result *record* has in common with many others; absent texts are empty."""
    fields = [record.get(name) for name in ("target", "subject", "verdict", "file")]
    try:
        return _place(*fields)
    except TypeError:  # A list or an object cannot be hashed, and is not a text.
        return _place(*(field if isinstance(field, str) else None for field in fields))


@lru_cache(maxsize=4096)
def _place(target: object, subject: object, verdict: object, file: object) -> ResultPlace:
    found = one_line(subject) if isinstance(subject, str) else ""
    return ResultPlace(
        sys.intern(one_line(target)) if isinstance(target, str) else "",
        names.slug(found) if found else "",
        _VERDICTS.get(verdict) if isinstance(verdict, str) else None,
        one_line(file) if isinstance(file, str) else "",
    )


def said(record: Record) -> dict[str, str]:
    """Return the texts of a result *record* that a plain pass lacks, by their names in `model.Result`."""
    if record.keys() <= _PLAIN:
        return {}
    return {
        "message": line(record, "message"),
        "reason": word(record, "reason"),
        "known_issue": word(record, "known_issue"),
        "sentence": word(record, "sentence"),
        "promise": word(record, "promise"),
        # Blanks of a node id count in a command.
        "repro": clean(raw(record, "repro")).replace("\n", " "),
    }


def raw(record: Record, key: str) -> str:
    """Return a text as it stands there, empty if there is none."""
    value = record.get(key)
    return value if isinstance(value, str) else ""


def line(record: Record, key: str) -> str:
    """Return a text cleaned and on one line, empty if there is none."""
    value = record.get(key)
    return one_line(value) if value and isinstance(value, str) else ""


def word(record: Record, key: str) -> str:
    """Return, as `line` does, a text that comes again and again: the same object each time."""
    value = record.get(key)
    return _cleaned(value) if value and isinstance(value, str) else ""


@lru_cache(maxsize=4096)
def _cleaned(text: str) -> str:
    return one_line(text)


def nodeids(record: Record) -> list[str]:
    """Return the node ids of a collection record, each on one line."""
    value = record.get("nodeids")
    if not isinstance(value, list):
        return []
    return [one_line(nodeid) for nodeid in value if isinstance(nodeid, str)]


def words(record: Record, key: str) -> tuple[str, ...]:
    """Return a list of texts, each on one line; empty if there is none."""
    value = record.get(key)
    return tuple(one_line(each) for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def integer(record: Record, key: str) -> int:
    """Return an integer of at most 63 bits and a sign, 0 if there is none."""
    value = record.get(key)
    return value if isinstance(value, int) and abs(value) < 1 << 63 else 0


def facts(record: Record) -> tuple[tuple[str, Fact], ...]:
    """Return the facts of a host or a target, in their order."""
    found = record.get("facts")
    if not isinstance(found, dict):
        return ()
    return tuple((one_line(str(name)), _fact(value)) for name, value in found.items())


def _fact(value: object) -> Fact:
    if isinstance(value, bool | int):
        return value
    return one_line(value if isinstance(value, str) else json.dumps(value))


def _numbers(value: object) -> tuple[Number, ...]:
    if not isinstance(value, list):
        return ()
    numbers = (item for item in value if isinstance(item, int | float) and not isinstance(item, bool))
    # Comparing leaves out NaN and infinities, and takes integers of any length.
    return tuple(item for item in numbers if -1e300 < item < 1e300)


def _cells(row: object) -> tuple[Number | str, ...]:
    if not isinstance(row, list):
        return ()
    return tuple(one_line(cell) if isinstance(cell, str) else cell for cell in row if _is_cell(cell))


def _is_cell(cell: object) -> bool:
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return -1e300 < cell < 1e300
    return isinstance(cell, str)


def sample(record: Record) -> Sample:
    """Return the series that *record* holds; what is not of its type is left out."""
    columns, rows = record.get("columns"), record.get("rows")
    heads = tuple(one_line(str(head)) for head in columns) if isinstance(columns, list) else ()
    readings = (_cells(row) for row in rows) if isinstance(rows, list) else ()
    (hz,) = _numbers([record.get("hz")]) or (0,)
    (empty_ticks,) = _numbers([record.get("empty_ticks")]) or (None,)
    fitted = _numbers(record.get("line"))
    return Sample(
        metric=line(record, "metric") or "unnamed",
        variant=line(record, "variant"),
        unit=line(record, "unit") or "ns",
        values=_numbers(record.get("values")),
        columns=heads,
        rows=tuple(row for row in readings if len(row) == len(heads)),
        note=line(record, "note"),
        count=max(0, integer(record, "count")),
        hz=hz if MIN_HZ <= hz <= MAX_HZ else 0,
        empty_ticks=empty_ticks,
        figures=_figures(record.get("figures")) if MIN_HZ <= hz <= MAX_HZ else (),
        line=SlopeLine(*fitted) if len(fitted) == 3 else None,
    )


def _figures(value: object) -> tuple[tuple[str, ReportFigure], ...]:
    """Return the figures of a series: all that tables show, or none."""
    if not isinstance(value, dict):
        return ()
    found = {name: _numbers(value.get(name)) for name in FIGURES}
    if any(len(ends) != 3 for ends in found.values()):
        return ()
    return tuple((name, ReportFigure(*ends)) for name, ends in found.items())
