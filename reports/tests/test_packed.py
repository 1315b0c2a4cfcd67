# SPDX-License-Identifier: GPL-2.0-only
"""Reports arrive from workers as they were sent."""

from __future__ import annotations

from typing import Any

import pytest

from reports.packed import PACKED, Packer, Unpacker

PLACE = ("kvmtests/x86/test_tsc.py", 7, "test_reads[sim-x86_64]")
ADDED = {"item_index": 3, "worker_id": "gw1"}
"""What pytest-xdist adds to a report on its way."""


def report(**fields: Any) -> pytest.TestReport:
    """Return a report with *fields* in place of a pass's."""
    passed: dict[str, Any] = {
        "nodeid": "::".join((PLACE[0], PLACE[2])),
        "location": PLACE,
        "keywords": {"test_reads": 1, "thorough": 1},
        "outcome": "passed",
        "longrepr": None,
        "when": "call",
        "user_properties": [("target", "sim-x86_64"), ("sample", {"values": [1, 2**64, 0.5]})],
        "sections": [("Captured stdout call", "a ä \\x1b\n")],
    }
    return pytest.TestReport(**{**passed, **fields})


def sent(data: dict[str, Any]) -> dict[str, Any]:
    """Return what a worker makes of *data*, which pytest's own hook returned."""
    packing = Packer().pytest_report_to_serializable()
    next(packing)
    with pytest.raises(StopIteration) as end:
        packing.send(data)
    found: dict[str, Any] = end.value.value
    return found


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(report(), id="pass"),
        pytest.param(report(outcome="skipped", longrepr=(PLACE[0], 8, "Skipped: KVM_CAP_X")), id="skip"),
        pytest.param(report(outcome="failed", longrepr="a sentence"), id="sentence"),
        pytest.param(report(outcome="skipped", wasxfail="listed: a reason"), id="xfail"),
    ],
)
def test_report_arrives_as_it_was(one: pytest.TestReport) -> None:
    """One text is sent, and with what pytest-xdist adds every field has its value and its type."""
    data = {**sent(one._to_json()), **ADDED}
    assert set(data) == {PACKED, *ADDED}

    Unpacker().pytest_report_from_serializable(data)

    assert vars(pytest.TestReport._from_json(data)) == {**vars(one), **ADDED}


def test_traceback_arrives_as_it_was() -> None:
    """The representation of an exception, with its places and its source, reads the same."""
    with pytest.raises(AssertionError) as raised:
        assert PLACE[1] == 8
    one = report(outcome="failed", longrepr=raised.getrepr(style="long"))

    data = sent(one._to_json())
    Unpacker().pytest_report_from_serializable(data)

    assert pytest.TestReport._from_json(data).longreprtext == one.longreprtext


def test_what_json_lacks_travels_as_before() -> None:
    """A report with a value that JSON cannot write is sent and read as pytest-xdist does."""
    data = report(user_properties=[("raw", b"\0")])._to_json()

    assert sent(data) is data
    Unpacker().pytest_report_from_serializable(data)
    assert data["user_properties"] == [("raw", b"\0")]
