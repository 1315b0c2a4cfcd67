# SPDX-License-Identifier: GPL-2.0-only
"""A visit to each kind of target: in a lab host that boots for it, or in this process.

The common clock is this process's CLOCK_MONOTONIC, set once to CLOCK_REALTIME: it does not step. This
host and lab hosts query it while their clocks run. A simulated host's time is virtual: it boots at the
common clock's time, and from then on its own clock is the common one.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fixtures.backends.protocol import Backend
from fixtures.counters import NSEC_PER_SEC
from fixtures.facts import Fact
from fixtures.kvm.errors import CapabilityMissing, HarnessError
from fixtures.kvm.system import open_kvm
from fixtures.lab import availability, image
from fixtures.lab.errors import LabError, of_system
from fixtures.lab.fleet import Fleet
from fixtures.lab.hosts import LabHost, find
from fixtures.lab.mailbox import Judged
from fixtures.lab.records import revive
from fixtures.lab.runner import Plan
from fixtures.moves import answer, document
from fixtures.moves.answer import BadVisit
from fixtures.moves.common_clock import CommonClock
from fixtures.moves.document import BadGuest, GuestDocument
from fixtures.moves.visit import Visit, visit
from fixtures.targets import Target, probe

PROPERTY = "visit"
MODULE = "kvmtests/common/test_visit.py"
ARRIVING = "arriving_guest.json"
TEST = f"""
from pathlib import Path

import pytest

from fixtures.kvm.errors import CapabilityMissing
from fixtures.lab.inside import Inside
from fixtures.moves import answer, document
from fixtures.moves.visit import visit

@pytest.mark.timeout(0)
def test_visit(kvm, target, target_facts, request):
    [inside] = [plugin for plugin in request.config.pluginmanager.get_plugins() if isinstance(plugin, Inside)]
    path = Path(__file__).with_name({ARRIVING!r})
    arrival = document.read(path.read_text()) if path.exists() else None
    kernel = str(target_facts.facts.get("kernel", "unknown"))
    try:
        said = answer.render(visit(kvm, inside.common_ns, target.name, kernel, arrival))
    except (CapabilityMissing, document.BadGuest) as error:
        said = answer.refusal(str(error))
    request.node.user_properties.append(({PROPERTY!r}, said))
"""

SIMULATED_AWAY_NS = 10 * NSEC_PER_SEC
"""How long a guest is away at least before it comes to a simulated host; no real time passes."""

MOST_AHEAD_NS = 60 * NSEC_PER_SEC

_UNUSED = ("reports.plugin", "fixtures.plugins.lab", "fixtures.plugins.promises")
_LAST_WORDS = 300  # characters


class NoVisit(Exception):
    """A host could not be visited; the text is one sentence without a full stop."""


@dataclass(frozen=True, slots=True)
class HostVisit:
    """A visit, and the facts of the host that it was to."""

    facts: Mapping[str, Fact]
    visit: Visit
    own_time: bool = False  # the host's time is not the common clock's, which cannot judge its counter

    @property
    def mistake(self) -> str:
        """Return how the host's kernel is wrong about its counter's frequency, "" where none is known."""
        return "" if self.own_time else self.visit.mistake


def common_clock() -> CommonClock:
    """Return the clock that ties the hosts of one route together, in ns."""
    ahead_ns = time.time_ns() - time.monotonic_ns()
    return lambda: time.monotonic_ns() + ahead_ns


def visited(target: Target, common: CommonClock, arrival: GuestDocument | None, logs: Path) -> HostVisit:
    """Visit *target* with the guest *arrival*; `NoVisit` says why not. Lab hosts leave *logs*."""
    lab_host = find(target.name)
    try:
        if arrival is not None and not target.simulated:
            _wait_until(common, arrival.tie.common_ns)
        return _in_lab(lab_host, common, arrival, logs) if lab_host else _here(target, common, arrival)
    except CapabilityMissing as error:
        raise NoVisit(str(error)) from None
    except (BadGuest, BadVisit, LabError, HarnessError) as error:
        raise NoVisit(str(error).rstrip(".")) from None
    except OSError as error:
        raise NoVisit(of_system("it cannot be visited", error)) from None


def _wait_until(common: CommonClock, left_ns: int) -> None:
    """Wait for the guest that left a simulated host, whose virtual time runs ahead; `NoVisit` for another."""
    ahead_ns = left_ns - common()
    if ahead_ns > MOST_AHEAD_NS:
        raise NoVisit(f"the guest left its host {ahead_ns / NSEC_PER_SEC:.0f} s from now: set the clock")
    time.sleep(max(0, ahead_ns) / NSEC_PER_SEC)


def _here(target: Target, common: CommonClock, arrival: GuestDocument | None) -> HostVisit:
    """Visit this host, or a simulated one, in this process."""
    found = probe(target)
    if not found.usable:
        raise NoVisit(str(found.reason))
    backend = target.make_backend()
    clock = _own_clock(backend, common, arrival) if target.simulated else common
    with open_kvm(backend, target.arch) as kvm:
        kernel = str(found.facts.get("kernel", "unknown"))
        return HostVisit(found.facts, visit(kvm, clock, target.name, kernel, arrival))


def _own_clock(backend: Backend, common: CommonClock, arrival: GuestDocument | None) -> CommonClock:
    """Return the clock of a simulated host, which boots now, and after the guest has left its host."""
    boots_ns = max(common(), arrival.tie.common_ns + SIMULATED_AWAY_NS if arrival is not None else 0)
    ahead_ns = boots_ns - backend.time.realtime_ns()
    return lambda: backend.time.realtime_ns() + ahead_ns


def _in_lab(lab_host: LabHost, common: CommonClock, arrival: GuestDocument | None, logs: Path) -> HostVisit:
    """Boot *lab_host* once, with the guest in its file system."""
    availability.check(lab_host)
    nodeid = f"{MODULE}::test_visit[{lab_host.name}]"
    with tempfile.TemporaryDirectory(prefix="kvmtests-moves-") as folder:
        root = _checkout(Path(folder), arrival)
        fleet = Fleet(Plan(logs=logs, root=root, unused=_UNUSED, common_ns=common), side_by_side=1)
        try:
            mailbox = fleet.start(lab_host, [nodeid])
            judged = mailbox.wait(nodeid)
        finally:
            fleet.close()
    facts, found = mailbox.target.get("facts", {}), answer.read(_said(judged))
    return HostVisit(facts, found, own_time=lab_host.emulator.own_time)


def _checkout(root: Path, arrival: GuestDocument | None) -> Path:
    """Make *root* a checkout whose one test is the visit; return it."""
    (root / "fixtures").symlink_to(image.ROOT / "fixtures")
    for name in image.FILES:
        shutil.copy(image.ROOT / name, root / name)
    module = root / MODULE
    module.parent.mkdir(parents=True)
    module.write_text(TEST, encoding="utf-8")
    if arrival is not None:
        module.with_name(ARRIVING).write_text(document.render(arrival), encoding="utf-8")
    return root


def _said(judged: Judged) -> str:
    """Return what the test inside left; `NoVisit` where it failed."""
    if judged.loss is not None:
        raise NoVisit(f"it was lost: {judged.loss.sentence.rstrip('.')}")
    pairs = [pair for report in judged.reports for pair in report.get("user_properties", ())]
    properties = dict(pairs)
    bad = [revive(report).longreprtext for report in judged.reports if report["outcome"] != "passed"]
    if PROPERTY not in properties or bad:
        last = "".join(bad).strip().rpartition("\n")[2] or "no reason came"
        raise NoVisit(f"the visit failed inside: {str(properties.get('message', last))[:_LAST_WORDS]}")
    return str(properties[PROPERTY])
