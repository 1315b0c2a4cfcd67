# SPDX-License-Identifier: GPL-2.0-only
"""Run the bundle and the claims it goes by inside lab hosts, and compare what they say.

``.venv/bin/python -m tools.precheck.in_lab lab-x86_64-svm lab-arm64-vhe`` boots each lab host once,
one at a time; `make lab` has fetched their parts. It prints what the program printed there. Exit
status: 0 all agree, 1 one does not, 2 usage, or a lab host has no answer.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixtures.lab import availability, image
from fixtures.lab.errors import LabError
from fixtures.lab.fleet import Fleet
from fixtures.lab.hosts import LabHost, find
from fixtures.lab.mailbox import Judged, Mailbox
from fixtures.lab.runner import Plan
from fixtures.precheck import document, text
from fixtures.precheck.known_issues import HostIssue
from tools.arguments import USAGE, Parser
from tools.interruption import started
from tools.precheck import bundle
from tools.precheck.agreement import disagreements, modules_and_tests

DISAGREES = 1

ARCHIVE = "kvmtests-precheck.pyz"
PROPERTY = "precheck"
MODULE = "kvmtests/common/test_precheck_bundle.py"
TEST = f"""
import subprocess, sys
from pathlib import Path

import pytest

@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_CHECK_EXTENSION")
def test_bundle(target, request):
    program = Path(__file__).with_name({ARCHIVE!r})
    python = sys.executable or "/usr/bin/python3.11"
    # An emulated processor takes seconds for what a real one does in milliseconds.
    command = [python, str(program), "--format", "json", "--limit", "100"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    request.node.user_properties.append(({PROPERTY!r}, done.stdout))
    assert not done.stderr
"""

_ROOMS = ("fixtures", "reports", "tools")
_UNUSED = ("reports.plugin", "fixtures.plugins.lab")


class NoAnswer(Exception):
    """A lab host did not say what was asked; the text is one sentence without a full stop."""


@dataclass(frozen=True, slots=True)
class LabAnswers:
    """What one lab host said: the program's JSON, and each claim's verdict."""

    report: str
    verdicts: Mapping[str, str]


def main(argv: Sequence[str]) -> int:
    """Compare on each lab host that *argv* names; return the exit status."""
    parser = Parser(prog="precheck.in_lab", description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="+", metavar="NAME", help="a lab host, such as lab-x86_64-svm")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep consoles and records there")
    parser.add_argument("--json", type=Path, metavar="DIR", help="keep each host's JSON there")
    arguments = parser.parse_args(argv)
    status = 0
    for name in arguments.targets:
        try:
            answers = answers_of(_lab_host(name), arguments.logs)
            agree = show(name, answers)
            if arguments.json:
                arguments.json.mkdir(parents=True, exist_ok=True)
                (arguments.json / f"{name}.json").write_text(answers.report, encoding="utf-8")
        except (LabError, NoAnswer, OSError) as error:
            sys.stderr.write(f"precheck.in_lab: {name}: {str(error).rstrip('.')}.\n")
            return USAGE
        status = status if agree else DISAGREES
    return status


def show(name: str, answers: LabAnswers) -> bool:
    """Print the report of the lab host *name*, and whether its claims agree; return that."""
    report = document.read(answers.report)
    found = json.loads(answers.report)["known_issues"]
    print(f"== {name}\n{text.render(report, [HostIssue(**issue) for issue in found])}")
    differences = list(disagreements(report.arch, report.findings, answers.verdicts))
    for difference in differences:
        print(f"{name}: DIFFERS: {difference}")
    if not differences:
        count = len(answers.verdicts)
        said = f"the {count} claims say the same" if count else "there are no claims to compare with"
        print(f"{name}: {said}\n", flush=True)
    return not differences


def answers_of(lab_host: LabHost, logs: Path | None = None) -> LabAnswers:
    """Boot *lab_host* once and return what program and claims say there; `NoAnswer`, `LabError`."""
    availability.check(lab_host)
    with tempfile.TemporaryDirectory(prefix="kvmtests-precheck-") as name:
        root = checkout(Path(name))
        nodeids = [*_collected(root, lab_host), f"{MODULE}::test_bundle[{lab_host.name}]"]
        plan = Plan(logs=logs or Path(name) / "logs", root=root, unused=_UNUSED)
        fleet = Fleet(plan, side_by_side=1)
        try:
            mailbox = fleet.start(lab_host, nodeids)
            return _answers(mailbox, nodeids)
        finally:
            fleet.close()


def checkout(root: Path) -> Path:
    """Make *root* a checkout with this tree's claims, the bundle, and a test that runs it; return it."""
    for room in _ROOMS:
        (root / room).symlink_to(image.ROOT / room)
    for name in image.FILES:
        shutil.copy(image.ROOT / name, root / name)
    shutil.copytree(image.ROOT / "kvmtests", root / "kvmtests", ignore=shutil.ignore_patterns("__pycache__"))
    (root / MODULE).write_text(TEST, encoding="utf-8")
    (root / MODULE).with_name(ARCHIVE).write_bytes(bundle.build(image.ROOT))
    return root


def _lab_host(name: str) -> LabHost:
    lab_host = find(name)
    if lab_host is None:
        raise NoAnswer("there is no such lab host; .venv/bin/python -m pytest --list-targets lists them")
    return lab_host


def _collected(root: Path, lab_host: LabHost) -> list[str]:
    claims = modules_and_tests(lab_host.arch)
    if not claims:
        return []
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", f"--target={lab_host.name}", *claims]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if "::" in line]
    if done.returncode or not found:
        raise NoAnswer(f"the claims cannot be collected: {(done.stderr or done.stdout).strip()[-300:]}")
    return found


def _answers(mailbox: Mailbox, nodeids: Sequence[str]) -> LabAnswers:
    judged = {nodeid: mailbox.wait(nodeid) for nodeid in nodeids}
    bundled = judged.pop(nodeids[-1])
    printed = dict(properties(bundled)).get(PROPERTY)
    if not printed:
        reason = bundled.loss or dict(properties(bundled)).get("message", "and did not say why")
        raise NoAnswer(f"the program printed nothing: {reason}")
    return LabAnswers(str(printed), {nodeid: verdict(each) for nodeid, each in judged.items()})


def verdict(judged: Judged) -> str:
    """Return the verdict of one claim, as reports spell it; "error" for one that was lost."""
    noted = dict(properties(judged)).get("verdict")
    if noted:
        return str(noted)
    outcomes = {report["outcome"] for report in judged.reports}
    if judged.loss or not outcomes or "failed" in outcomes:
        return "error"
    return "skip" if "skipped" in outcomes else "pass"


def properties(judged: Judged) -> Iterator[tuple[str, Any]]:
    """Yield what a test noted of itself inside the lab host: names and values."""
    for report in judged.reports:
        yield from (tuple(each) for each in report.get("user_properties", ()))


if __name__ == "__main__":
    sys.exit(started(main))
