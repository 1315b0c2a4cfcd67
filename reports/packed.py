# SPDX-License-Identifier: GPL-2.0-only
"""Reports on tests between pytest-xdist's processes: one text each instead of a hundred small objects.

execnet writes and reads every key and value by itself, in Python, which took a tenth of the processor
time of a run on simulated hosts. The standard library does the same to one text in C.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

PACKED = "kvmtests_json"
"""The key of the text, next to what pytest-xdist adds itself."""


class Packer:
    """Registered in a worker, which sends reports."""

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(self) -> Generator[None, dict[str, Any] | None, dict[str, Any] | None]:
        """Return the report as one text; as it was, if a plug-in put into it what JSON does not have."""
        data = yield
        try:
            return {PACKED: json.dumps(data)} if data is not None else None
        except (TypeError, ValueError):
            return data


class Unpacker:
    """Registered in the process that reports arrive at."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_from_serializable(self, data: dict[str, Any]) -> None:
        """Put what was packed into *data*, of which pytest itself then makes the report."""
        text = data.pop(PACKED, None)
        if text is not None:
            data.update(with_tuples(json.loads(text)))


def with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the *fields* of a report with the tuples that pytest has, and JSON has not."""
    for name in ("location", "longrepr"):  # a skip's longrepr: path, line, reason
        if isinstance(fields.get(name), list):
            fields[name] = tuple(fields[name])
    for name in ("user_properties", "sections"):
        if name in fields:
            fields[name] = [tuple(pair) for pair in fields[name]]
    return fields
