# SPDX-License-Identifier: GPL-2.0-only
"""make defects ARGS=--assertions: which statements are assertions, and which of them a defect failed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from fixtures.defects.table import DEFECTS
from tools import defect_assertions
from tools.assertions import assertions, at, of_module
from tools.defect_assertions import AssertionListener, FailedAssertions, look, page, parse, still_open
from tools.defect_jobs import Job, JobOutcome
from tools.stopping import Stop

ROOT = Path(__file__).resolve().parents[2]
MODULE = "kvmtests/x86/test_set_clock.py"
SOURCE = """
def test_a(vm):
    before = 1

    with refused(EINVAL):
        vm.set(
            2)
    for each in (1, 2):
        assert (before ==
                each)
    assert vm.read() == 1
    assert vm.read() == 1


def helper():
    def inner():
        assert True, "why"
        agree(script)
        if not seen:
            raise OutsideWindow("it", 1, window)
        raise CapabilityMissing("KVM_CAP_X")
    with open("x"), pytest.raises(OSError):
        inner()
"""


def test_assertions_are_found() -> None:
    """Each assert and each refused call is one, in the order of the lines, and named by what it says."""
    found = list(of_module("m.py", SOURCE))

    assert [(one.function, one.text, one.first, one.last) for one in found] == [
        ("test_a", "refused(EINVAL): vm.set(2)", 5, 5),
        ("test_a", "before == each", 9, 10),
        ("test_a", "vm.read() == 1", 11, 11),
        ("test_a", "vm.read() == 1 (2)", 12, 12),
        ("helper", "True", 17, 17),
        ("helper", "agree(script)", 18, 18),
        ("helper", "raise OutsideWindow('it', 1, window)", 20, 20),
        ("helper", "pytest.raises(OSError): inner()", 22, 22),
    ]


def test_line_belongs_to_the_assertion_that_spans_it() -> None:
    """A line between assertions, and one of another module, belongs to none."""
    found = list(of_module("m.py", SOURCE))

    assert [at(found, "m.py", line) for line in (10, 8)] == [found[1], None]
    assert at(found, "n.py", 10) is None


def test_names_are_unique() -> None:
    """No two assertions of the claims have the same name."""
    names = [one.name for one in assertions(ROOT)]

    assert len(set(names)) == len(names) > 1000


def test_claim_reaches_the_assertions_of_its_helpers(tmp_path: Path) -> None:
    """Calls, imported modules, tables of functions, and fixtures of conftest.py are followed."""
    folder = tmp_path / "kvmtests/x86"
    folder.mkdir(parents=True)
    check = "\n\ndef {name}():\n    assert '{name}'\n"
    (folder / "conftest.py").write_text(check.format(name="fixed"), encoding="utf-8")
    (folder / "shared.py").write_text(
        "".join(check.format(name=name) for name in ("imported", "of_module", "unused")), encoding="utf-8"
    )
    (folder / "test_a.py").write_text(
        "from kvmtests.x86 import shared\nfrom kvmtests.x86.shared import imported as other\n"
        + check.format(name="tabled")
        + "\nCASES = {'one': tabled}\n\n@mark(CASES)\ndef test_a(fixed):\n"
        "    other()\n    shared.of_module()\n",
        encoding="utf-8",
    )

    claims = {one.function: one.claims for one in assertions(tmp_path)}

    reached = frozenset({"kvmtests/x86/test_a.py::test_a"})
    names = ("fixed", "imported", "of_module", "tabled")
    assert claims == {**dict.fromkeys(names, reached), "unused": frozenset()}


def test_every_helper_is_reached() -> None:
    """No assertion of the claims is in a helper that no claim calls."""
    assert [one.name for one in assertions(ROOT) if not one.claims] == []


@pytest.mark.thorough
def test_assertion_that_a_defect_fails_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim that is there for a defect fails at its assertion, which is then no longer open."""
    monkeypatch.chdir(ROOT)
    claim = f"kvmtests/{DEFECTS['C01'].noticed_by}"
    recorded = {"sim-x86_64": JobOutcome(asked=(claim,), held=frozenset({claim}), calls={})}
    places = [place for place in assertions(ROOT) if place.place == claim]
    assert still_open(FailedAssertions(held={"sim-x86_64": [claim]}), places) == places

    found = look([DEFECTS["C01"]], recorded, FailedAssertions(), 1, 60.0, Stop())

    assert [place for place in places if place.name in found.failed]
    assert found.tried == ["C01"]


def test_later_run_builds_on_an_earlier_one() -> None:
    """What assertions.json keeps is read back, and the page counts by folder."""
    place = next(place for place in assertions(ROOT) if place.module == MODULE)
    found = FailedAssertions(held={"sim-x86_64": sorted(place.claims)})
    assert "| x86 | 0 | 1 |\n| all | 0 | 1 |" in page(found, [place])
    found.note("C01", JobOutcome(assertions=(place.name, place.name)))

    again = parse(found.text())

    assert (again.failed, again.tried) == ({place.name: ["C01"]}, ["C01"])
    assert "| x86 | 1 | 0 |\n| all | 1 | 0 |" in page(again, [place])


def test_other_json_is_refused() -> None:
    """A file that --assertions did not write is one sentence."""
    with pytest.raises(ValueError, match="holds no assertions"):
        parse('{"x": 1}')


def test_hang_ends_its_claim_and_not_the_run() -> None:
    """After a guest has hung the claim's other cases are left out; the fifth hang ends the run."""
    job = Job("C01", "C01", ("sim-x86_64",), (), only=("m::a", "m::b"))
    listener = AssertionListener(job, ROOT, {"m::a": {"x"}, "m::b": {"y"}})
    session = SimpleNamespace(shouldstop=False)
    listener.pytest_sessionstart(cast("pytest.Session", session))
    hang = pytest.TestReport(
        "m::a[1]", ("m", 1, "a"), {}, "failed", None, "call", user_properties=[("verdict", "timeout")]
    )

    listener.pytest_runtest_logreport(hang)

    cases = [cast("pytest.Item", SimpleNamespace(nodeid=name)) for name in ("m::a[2]", "m::b[1]")]
    assert [listener.pytest_runtest_protocol(case) for case in cases] == [True, None]
    assert not session.shouldstop
    for _ in range(4):
        listener.pytest_runtest_logreport(hang)
    assert session.shouldstop


def test_defect_is_tried_on_each_architecture() -> None:
    """One that all KVMs can have runs on the first target of each."""
    shared = DEFECTS["S403"]

    assert defect_assertions.first_targets(shared) == ["sim-x86_64", "sim-arm64-vhe", "sim-riscv64-sstc"]
    assert defect_assertions.first_targets(DEFECTS["C01"]) == ["sim-x86_64"]


def test_claim_without_open_assertions_does_not_run() -> None:
    """A defect runs only with claims that hold without it and have something open."""
    claim = f"kvmtests/{DEFECTS['C01'].noticed_by}"
    outcome = JobOutcome(asked=(claim,), held=frozenset({claim}), calls={DEFECTS["C01"].rule: (claim,)})

    def chosen(still: dict[str, set[str]]) -> Job:
        return defect_assertions.job_for(DEFECTS["C01"], "sim-x86_64", outcome, still)

    assert chosen({claim: {"x"}}).only == (claim,)
    assert chosen({claim: {"x"}}).options == ("--stress",)
    assert chosen({"kvmtests/other.py::test": {"x"}}).only == ()
