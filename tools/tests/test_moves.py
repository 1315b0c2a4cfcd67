# SPDX-License-Identifier: GPL-2.0-only
"""`make lab LAB=--migrate`, along routes of simulated hosts: nothing boots."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.lab.mailbox import Cause, Judged, Loss
from fixtures.moves import document
from fixtures.moves.rows import BY_OFFSET, MoveRow
from fixtures.targets import named_target
from reports import read_journal
from reports.model import Verdict
from tools import lab
from tools.moves import command, hosts, page
from tools.moves.hosts import NoVisit
from tools.moves.results import GuestMove, JudgedRow, NoMove


def moved(out: Path, *words: str) -> int:
    """Return the status of the command with *words*, whose files go to *out*."""
    return lab.main(["--migrate", "--out", str(out), *words])


def named(*targets: str) -> list[str]:
    """Return the words that choose *targets*."""
    return [word for target in targets for word in ("--target", target)]


def test_guest_moves_along_a_route(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two moves between three hosts: each row in the table, in moves.json and in the reports of a run."""
    route = named("sim-arm64-vhe", "sim-arm64-nvhe", "sim-arm64-vhe-ecv")

    assert moved(tmp_path, *route) == 0

    data = json.loads((tmp_path / "moves.json").read_text(encoding="utf-8"))
    assert [(each["from"], each["to"]) for each in data["moves"]] == [
        ("sim-arm64-vhe", "sim-arm64-nvhe"),
        ("sim-arm64-nvhe", "sim-arm64-vhe-ecv"),
    ]
    run = read_journal.read([tmp_path / "journal.jsonl"])
    assert [str(each.verdict) for each in run.results] == [
        row["verdict"] for each in data["moves"] for row in each["rows"]
    ]
    assert {each.verdict for each in run.results} == {Verdict.PASS}
    table = (tmp_path / "moves.md").read_text(encoding="utf-8")
    assert table in capsys.readouterr().out
    assert table.count("| holds") == len(run.results)
    assert "1..2" in (tmp_path / "results.ktap").read_text(encoding="utf-8")


def test_known_issue_explains_the_row_that_it_predicts(tmp_path: Path) -> None:
    """The physical counter of protected mode is off by the offset: an expected failure, and the only one."""
    assert moved(tmp_path, *named("sim-arm64-vhe", "sim-arm64-protected")) == 0

    run = read_journal.read([tmp_path / "journal.jsonl"])
    unusual = [each for each in run.results if each.verdict is not Verdict.PASS]
    assert {each.verdict for each in unusual} == {Verdict.XFAIL}
    assert {each.known_issue for each in unusual} == {"protected-physical-counter"}
    assert all("physical-counter" in each.nodeid for each in unusual)


def test_row_that_fails_without_a_known_issue_fails_the_run() -> None:
    """One row beyond its bound is status 1, unless a known issue predicts it; so is a host not visited."""
    target = named_target("sim-x86_64")
    assert target is not None
    beyond = MoveRow(BY_OFFSET, "TSC", 9, -5, 5)

    def status(*rows: JudgedRow) -> int:
        return command._status([GuestMove("a", target, ("x", "y"), ("f", "f"), {}, rows, 1, 1, 1)])

    assert status(JudgedRow(replace(beyond, value=5)), JudgedRow(beyond, "an-issue")) == 0
    assert status(JudgedRow(beyond)) == command.DIFFERS


def test_guest_is_kept_where_the_next_host_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A host that cannot be visited ends its route; the guest stays as a file, and can continue."""
    status = moved(tmp_path, *named("sim-arm64-vhe", "sim-arm64-nvhe", "sim-arm64-vhe-series"))

    assert status == command.DIFFERS
    kept = tmp_path / "guests/1-2-sim-arm64-nvhe.json"
    reason = "KVM_CAP_COUNTER_OFFSET is absent"
    sentence = f"sim-arm64-vhe-series cannot be judged: {reason}; the guest is kept in {kept}."
    assert sentence in capsys.readouterr().out
    [error] = [each for each in read_journal.read([tmp_path / "journal.jsonl"]).results if each.bad]
    assert (error.verdict, error.message) == (Verdict.ERROR, sentence)

    assert moved(tmp_path / "again", "--guest", str(kept), *named("sim-arm64-vhe")) == 0
    data = json.loads((tmp_path / "again/moves.json").read_text(encoding="utf-8"))
    assert [(each["from"], each["to"]) for each in data["moves"]] == [("sim-arm64-nvhe", "sim-arm64-vhe")]


def test_route_on_which_nothing_moves_is_not_green(tmp_path: Path) -> None:
    """Where the first host cannot be visited nothing ran: status 4."""
    assert moved(tmp_path, *named("sim-arm64-vhe-series", "sim-arm64-vhe")) == 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(named("sim-x86_64"), "a guest needs two hosts to move", id="one-host"),
        pytest.param(named("sim-x86_64", "nowhere"), "there is no target nowhere", id="no-such-host"),
        pytest.param(
            named("sim-x86_64", "sim-arm64-vhe"),
            "a guest of x86_64 cannot move to a host of arm64",
            id="architectures",
        ),
        pytest.param(
            ["--guest", "/nonexistent", *named("sim-x86_64")], "/nonexistent cannot be read", id="file"
        ),
        pytest.param(["--guest", "README.md", *named("sim-x86_64")], "it is not JSON", id="no-guest"),
    ],
)
def test_wrong_route_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    """What cannot be a route is refused before anything runs."""
    assert moved(tmp_path, *words) == 2

    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def report(outcome: str = "passed", **properties: str) -> dict[str, Any]:
    """Return a report on the test that visits, as it comes from a lab host."""
    return {
        "nodeid": "x", "location": ["x.py", 1, "x"], "keywords": {}, "outcome": outcome, "longrepr": "E  bad",
        "when": "call", "sections": [], "duration": 0, "start": 0, "stop": 0,
        "user_properties": [list(pair) for pair in properties.items()],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("judged", "sentence"),
    [
        pytest.param(
            Judged([], Loss(Cause.PANIC, "the lab host's kernel panicked."), complete=True),
            "it was lost: the lab host's kernel panicked",
            id="panic",
        ),
        pytest.param(Judged([report("failed")]), "the visit failed inside: E  bad", id="failed"),
        pytest.param(
            Judged([report("failed", visit="{}")]), "the visit failed inside: E  bad", id="complained"
        ),
        pytest.param(Judged([report()]), "the visit failed inside: no reason came", id="silent"),
    ],
)
def test_lab_host_without_an_answer_says_why(judged: Judged, sentence: str) -> None:
    """A lab host that died, failed or said nothing gives one sentence."""
    with pytest.raises(NoVisit) as none:
        hosts._said(judged)

    assert str(none.value) == sentence


def test_guest_goes_along_to_a_lab_host(tmp_path: Path) -> None:
    """The checkout that a lab host gets has one test and the guest, and no known issues to excuse it."""
    target = named_target("sim-x86_64")
    assert target is not None
    guest = hosts.visited(target, hosts.common_clock(), None, tmp_path).visit.leaving
    root = tmp_path / "root"
    root.mkdir()

    hosts._checkout(root, guest)

    assert document.read((root / "kvmtests/common" / hosts.ARRIVING).read_text(encoding="utf-8")) == guest
    compile(hosts.TEST, "test_visit.py", "exec")
    assert [path.name for path in (root / "kvmtests").rglob("*.py")] == ["test_visit.py"]


def test_guest_from_the_future_is_refused(tmp_path: Path) -> None:
    """A real host does not take a guest that has not left yet, by more than a simulated host runs ahead."""
    target = named_target("sim-x86_64")
    assert target is not None
    guest = hosts.visited(target, hosts.common_clock(), None, tmp_path).visit.leaving

    with pytest.raises(NoVisit, match="from now: set the clock"):
        hosts.visited(
            replace(target, kind="host"), lambda: guest.tie.common_ns - 3600 * 10**9, guest, tmp_path
        )


@pytest.mark.parametrize(
    ("row", "error", "bound"),
    [
        (MoveRow(BY_OFFSET, "TSC", -1_234_567, -2_000_000, 2_000_000), "-1.23 ms", "± 2.00 ms"),
        (MoveRow(BY_OFFSET, "TSC", 12, -30_000, 5), "+12 ns", "-30.0 µs to +5 ns"),
        (MoveRow(BY_OFFSET, "TSC", 2_688 * 10**9, -5, 5), "+2,688.0 s", "± 5 ns"),
        (MoveRow(BY_OFFSET, "timer", 1, 1, 1, "interrupts"), "1 interrupt", "1"),
        (MoveRow(BY_OFFSET, "late", 9000, 0, None), "+9.00 µs", "0 or more"),
    ],
)
def test_values_have_units(row: MoveRow, error: str, bound: str) -> None:
    """Times are in the largest unit that fits, with three digits."""
    assert (page.shown(row), page.bound(row)) == (error, bound)


def test_default_routes_are_of_lab_hosts() -> None:
    """Without TARGET= guests move between lab hosts that exist, of one architecture each."""
    arguments = lab._parse(["--migrate"])

    routes = command.routes(arguments)

    assert {target.kind for route in routes for target in route.targets} == {"lab"}
    assert command.names(arguments)[:2] == ["lab-x86_64-svm@6.1", "lab-x86_64-svm@newest"]


def test_page_names_what_cannot_be_judged() -> None:
    """A page without a move still says why."""
    target = named_target("sim-x86_64")
    assert target is not None

    text = page.page([NoMove("", target, "it is gone")], 10**9)

    assert text == "sim-x86_64 cannot be judged: it is gone.\n\nIn all 1 s.\n"
