# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's selftests run inside a lab host, each as a test of its own small suite.

Nothing is installed there except Python, so the programs are linked statically, and process 1 starts them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fixtures.lab import image
from fixtures.lab.fleet import Fleet
from fixtures.lab.hosts import LabHost
from fixtures.lab.mailbox import Judged
from fixtures.lab.runner import Plan
from tools.upstream_programs import Outcome

INSIDE = "kvmtests/test_programs.py"
SUITE = '''\
"""Starts the programs that came along."""

import os
from pathlib import Path

import pytest

PROGRAMS = sorted(Path("/lab/programs").glob("*"))


@pytest.mark.timeout(0)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_program(program, request):
    log = Path("/tmp") / program.name
    actions = [
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawn(program, [str(program)], os.environ, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    # Not record_property: its plug-in is among those that are left out.
    request.node.user_properties += [
        ("status", os.waitstatus_to_exitcode(status)),
        ("log", log.read_text(errors="replace")),
    ]
'''
UNUSED = ("reports.plugin", "fixtures.plugins.lab", "fixtures.plugins.promises")
"""The suite's plug-ins that the small one does without: a program is not a claim."""


def run(lab_host: LabHost, programs: Mapping[str, Path], out: Path, limit_s: float) -> dict[str, Outcome]:
    """Boot *lab_host* and return what became of each of *programs* there; its logs go below *out*.

    A program may take *limit_s*, or as many times as long as the lab host's emulator is slower.
    """
    nodeids = {name: f"{INSIDE}::test_program[{path.name}]" for name, path in programs.items()}
    with tempfile.TemporaryDirectory(prefix="kvmtests-upstream-") as folder:
        root = checkout(Path(folder))
        files = tuple(programs.values())
        plan = Plan(out / "lab", root=root, silence_s=limit_s, unused=UNUSED, programs=files)
        fleet = Fleet(plan, side_by_side=1)
        try:
            mailbox = fleet.start(lab_host, list(nodeids.values()))
            return {name: outcome(mailbox.wait(nodeid)) for name, nodeid in nodeids.items()}
        finally:
            fleet.close()


def outcome(judged: Judged) -> Outcome:
    """Return how a program ended inside, from the reports on the test that started it."""
    properties = dict(pair for report in judged.reports for pair in report.get("user_properties", ()))
    if "status" in properties:
        return Outcome(int(properties["status"]), str(properties["log"]))
    sentence = judged.loss.sentence if judged.loss is not None else "the lab host did not start it"
    return Outcome(None, sentence)


def checkout(root: Path) -> Path:
    """Make *root* a checkout whose only tests start the programs, and return it."""
    (root / "fixtures").symlink_to(image.ROOT / "fixtures")
    for name in image.FILES:
        shutil.copy(image.ROOT / name, root / name)
    path = root / INSIDE
    path.parent.mkdir()
    path.write_text(SUITE)
    return root
