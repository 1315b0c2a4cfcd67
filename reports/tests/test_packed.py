# SPDX-License-Identifier: GPL-2.0-only
"""Reports arrive from workers as they were sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports.packed import EARLIER, PACKED, Packer, Unpacker

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]

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


def sent(one: pytest.TestReport) -> dict[str, Any]:
    """Return what a worker sends of *one*."""
    packing = Packer().pytest_report_to_serializable(one)
    next(packing)
    data = one._to_json()
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
def test_report_arrives_as_it_was(one: pytest.TestReport, pytestconfig: pytest.Config) -> None:
    """One text is sent, and with what pytest-xdist adds every field has its value and its type."""
    data = {**sent(one), **ADDED}
    assert set(data) == {PACKED, *ADDED}

    Unpacker(pytestconfig).pytest_report_from_serializable(data)

    assert vars(pytest.TestReport._from_json(data)) == {**vars(one), **ADDED}


PHASES = [
    report(when="setup", user_properties=[]),
    report(outcome="skipped", wasxfail="listed: a reason", longrepr=(PLACE[0], 8, "Skipped"), duration=0.5),
    report(when="teardown", sections=[]),
]


@pytest.mark.parametrize("odd", [pytest.param((), id="text"), pytest.param([("raw", b"\0")], id="plain")])
def test_phases_arrive_as_they_were(odd: Any, pytestconfig: pytest.Config) -> None:
    """The phases before the last one come with it, with every field that they had and no other."""
    *earlier, last = [pytest.TestReport._from_json(each._to_json()) for each in PHASES]
    last.user_properties += odd
    setattr(last, EARLIER, earlier)

    data = {**sent(last), **ADDED}
    Unpacker(pytestconfig).pytest_report_from_serializable(data)
    arrived = pytest.TestReport._from_json(data)
    found = [*vars(arrived).pop(EARLIER), arrived]

    expected = [*PHASES[:2], last]
    assert [vars(each) for each in found] == [{**vars(each), **ADDED} for each in expected]


EACH_OUTCOME = """
    import pytest

    @pytest.fixture
    def broken():
        yield
        raise RuntimeError("in teardown")

    def test_pass(record_property): record_property("some", 7); print("\\x1b[2Jwords")
    def test_fail(): assert 1 == 2
    def test_late(broken): pass
    def test_skip(): pytest.skip("not here")
    @pytest.mark.skip(reason="nowhere")
    def test_never(): pass
    @pytest.mark.xfail
    def test_known(): assert 1 == 2
    @pytest.mark.xfail(strict=True)
    def test_strict(): pass
"""
NOTES = """
    import os
    import pathlib

    def note(*words):
        if "PYTEST_XDIST_WORKER" not in os.environ:
            with pathlib.Path("notes").open("a") as notes:
                print(*words, file=notes)

    def pytest_runtest_logreport(report):
        words = report.outcome, report.user_properties, getattr(report, "wasxfail", None)
        note("SEEN", report.nodeid, report.when, words)

    def pytest_report_from_serializable(data):
        note("ARRIVED")
"""


def noted(pytester: pytest.Pytester) -> list[str]:
    """Return what was noted in the process that the reports arrive at, and forget it."""
    notes = pytester.path / "notes"
    lines = notes.read_text().splitlines()
    notes.unlink()
    return lines


@pytest.mark.parametrize("junit", [False, True])
def test_controller_sees_what_one_process_sees(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, junit: bool
) -> None:
    """Every phase is reported with and without workers; one message brings all, or all up to a failure."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeini("[pytest]")
    pytester.makeconftest(NOTES)
    pytester.makepyfile(EACH_OUTCOME)
    options = ["-p", "reports.plugin", *(["--junitxml=found.xml"] if junit else [])]

    alone = pytester.runpytest_subprocess(*options)
    expected = noted(pytester)
    sent = pytester.runpytest_subprocess(*options, "-n1")
    found = noted(pytester)

    assert len(expected) == 7 * 3 - 1  # one is skipped before its call
    assert [line for line in found if line != "ARRIVED"] == expected
    assert found.count("ARRIVED") == 7 + 2  # two failed before their teardown
    assert sent.parseoutcomes().items() <= alone.parseoutcomes().items()  # one process also counts warnings


def test_failure_is_not_lost_with_the_worker(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed is known although the worker dies in the teardown."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeini("[pytest]")
    pytester.makeconftest(NOTES)
    pytester.makepyfile(
        "import os, pytest\n"
        "@pytest.fixture\ndef deadly():\n    yield\n    os._exit(9)\n"
        "def test_a(deadly): assert 1 == 2\n"
    )

    pytester.runpytest_subprocess("-p", "reports.plugin", "-n1")

    assert [line.split()[2:4] for line in noted(pytester) if line != "ARRIVED"][:2] == [
        ["setup", "('passed',"],
        ["call", "('failed',"],
    ]


def test_traceback_arrives_as_it_was(pytestconfig: pytest.Config) -> None:
    """The representation of an exception, with its places and its source, reads the same."""
    with pytest.raises(AssertionError) as raised:
        assert PLACE[1] == 8
    one = report(outcome="failed", longrepr=raised.getrepr(style="long"))

    data = sent(one)
    Unpacker(pytestconfig).pytest_report_from_serializable(data)

    assert pytest.TestReport._from_json(data).longreprtext == one.longreprtext


def test_what_json_lacks_travels_as_before(pytestconfig: pytest.Config) -> None:
    """A report with a value that JSON cannot write is sent and read as pytest-xdist does."""
    data = sent(report(user_properties=[("raw", b"\0")]))

    assert PACKED not in data
    Unpacker(pytestconfig).pytest_report_from_serializable(data)
    assert data["user_properties"] == [("raw", b"\0")]
