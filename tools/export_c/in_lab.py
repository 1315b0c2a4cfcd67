# SPDX-License-Identifier: GPL-2.0-only
"""Records claims inside a lab host, whose KVM cannot be opened from here, and takes the programs out.

The lab host boots once. A test of its own small suite unpacks this package there and starts it.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fixtures.lab import availability, image
from fixtures.lab.errors import LabError, of_system
from fixtures.lab.fleet import Fleet
from fixtures.lab.hosts import LabHost
from fixtures.lab.mailbox import Judged
from fixtures.lab.runner import Plan
from tools.export_c.refusal import NotExportable

ARCHIVE = "export_c.pyz"
MODULE = "kvmtests/common/test_export_c.py"
UNUSED = ("reports.plugin", "fixtures.plugins.lab", "fixtures.plugins.promises")
_PROPERTY = "exported"
_TEST = '''\
"""Starts the recorder that came along."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT, FOLDER = Path("/tmp/recorder"), Path("/tmp/programs")


@pytest.mark.timeout(0)
def test_export(request):
    with zipfile.ZipFile(Path(__file__).with_name({archive!r})) as archive:
        archive.extractall(ROOT)
    suite = Path(__file__).parents[2]
    environment = {{**os.environ, "PYTHONPATH": f"{{ROOT}}:{{suite}}:{{':'.join(sys.path)}}"}}
    python = sys.executable or "/usr/bin/python3.11"
    command = [python, "-m", "tools.export_c", *{arguments!r}, "--into", str(FOLDER)]
    done = subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True)
    programs = {{path.name: path.read_text() for path in sorted(FOLDER.glob("*.c"))}}
    found = {{"status": done.returncode, "said": done.stderr, "programs": programs}}
    request.node.user_properties.append(({name!r}, found))
'''


@dataclass(frozen=True, slots=True)
class LabPrograms:
    """What the recorder wrote inside: programs by file name, what it said, and its exit status."""

    programs: Mapping[str, str]
    said: str
    status: int


def export(lab_host: LabHost, arguments: Sequence[str]) -> LabPrograms:
    """Boot *lab_host* and run the command with *arguments* inside; `NotExportable` where it cannot."""
    try:
        availability.check(lab_host)
        with tempfile.TemporaryDirectory(prefix="kvmtests-export-c-") as name:
            root = checkout(Path(name), arguments)
            fleet = Fleet(Plan(Path(name) / "logs", root=root, unused=UNUSED), side_by_side=1)
            try:
                nodeid = f"{MODULE}::test_export"
                return _taken(fleet.start(lab_host, [nodeid]).wait(nodeid))
            finally:
                fleet.close()
    except LabError as error:
        raise NotExportable(f"{lab_host.name}: {error}") from error
    except OSError as error:
        raise NotExportable(of_system("the lab host cannot be set up", error)) from error


def suite(root: Path) -> Path:
    """Make *root* a checkout with this tree's claims, to which tests may be added; return it."""
    for room in ("fixtures", "reports", "tools"):
        (root / room).symlink_to(image.ROOT / room)
    for name in image.FILES:
        shutil.copy(image.ROOT / name, root / name)
    shutil.copytree(image.ROOT / "kvmtests", root / "kvmtests", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def checkout(root: Path, arguments: Sequence[str]) -> Path:
    """Make *root* a checkout with this tree's claims, the recorder, and a test that starts it; return it."""
    suite(root)
    text = _TEST.format(archive=ARCHIVE, arguments=list(arguments), name=_PROPERTY)
    (root / MODULE).write_text(text, encoding="utf-8")
    (root / MODULE).with_name(ARCHIVE).write_bytes(_recorder())
    return root


def _recorder() -> bytes:
    """Return this package as a zip file."""
    package = Path(__file__).parent
    paths = [*package.glob("*.py"), *package.glob("runtime/*.c")]
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("tools/__init__.py", b"")  # the room's own sees to command lines
        for path in sorted(paths):
            archive.writestr(path.relative_to(image.ROOT).as_posix(), path.read_bytes())
    return held.getvalue()


def _taken(judged: Judged) -> LabPrograms:
    properties: dict[str, Any] = dict(
        pair for report in judged.reports for pair in report.get("user_properties", ())
    )
    found = properties.get(_PROPERTY)
    if found is None:
        sentence = judged.loss.sentence if judged.loss is not None else "the lab host did not start it"
        raise NotExportable(f"nothing was recorded in the lab host: {sentence}")
    return LabPrograms(found["programs"], found["said"], found["status"])
