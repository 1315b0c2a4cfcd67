# SPDX-License-Identifier: GPL-2.0-only
"""Run C programs and the claims they were written from on one target, and compare what they say.

``.venv/bin/python -m tools.export_c.agreement FOLDER --target lab-x86_64-svm`` links the programs of the
folder statically, boots the lab host once, and runs programs and claims in it; ``--target host`` runs both
here. Exit status: 0 no program contradicts its claim, 1 one does, 2 nothing could be run.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fixtures.architectures import name_of_this_computer
from fixtures.lab import availability
from fixtures.lab.errors import LabError
from fixtures.lab.fleet import Fleet
from fixtures.lab.hosts import LabHost, find
from fixtures.lab.runner import Plan
from reports import read_journal
from tools.export_c.in_lab import suite
from tools.export_c.linking import BY_ARCHITECTURE, NothingRan, compiled
from tools.precheck.in_lab import properties, verdict

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = "programs.pyz"  # a name that lab hosts take along
MODULE = "kvmtests/common/test_c_programs.py"
PROPERTY = "programs"
STATUS_OF = {"pass": 0, "xpass": 0, "fail": 1, "xfail": 1, "changed": 1, "skip": 4}
SKIPPED = 4
UNUSED = ("reports.plugin", "fixtures.plugins.lab")
_LIMIT_S = 120
_WRITTEN_BY = re.compile(
    r"^ \* Written by: python -m tools\.export_c '?(\S+?)'? --target (\S+)$", re.MULTILINE
)
_TEST = f'''\
"""Runs the C programs that came along."""

import subprocess
import zipfile
from pathlib import Path

import pytest

FOLDER = Path("/tmp/programs")


def outcome(program):
    try:
        done = subprocess.run([str(program)], capture_output=True, text=True, timeout={_LIMIT_S})
    except subprocess.TimeoutExpired:
        return [-1, "it did not end"]
    return [done.returncode, (done.stdout.strip().splitlines() or [""])[-1]]


@pytest.mark.timeout(0)
@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_RUN")
def test_programs(target, request):
    with zipfile.ZipFile(Path(__file__).with_name({ARCHIVE!r})) as archive:
        archive.extractall(FOLDER)
    found = {{}}
    for program in sorted(FOLDER.iterdir()):
        program.chmod(0o755)
        found[program.name] = outcome(program)
    request.node.user_properties.append(({PROPERTY!r}, found))
'''


@dataclass(frozen=True, slots=True)
class Agreement:
    """A claim's verdict, and the exit status and last line of its program, on one target."""

    case: str
    verdict: str
    status: int
    line: str

    @property
    def agrees(self) -> bool:
        """Whether the program ends as its claim does, or says that it cannot judge."""
        return self.status in {STATUS_OF.get(self.verdict), SKIPPED}


def main(argv: Sequence[str]) -> int:
    """Compare the programs that *argv* names; return the exit status."""
    parser = argparse.ArgumentParser(prog="tools.export_c.agreement", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the C files, as `tools.export_c --into` writes them")
    parser.add_argument("--target", required=True, help="the host, or a lab host")
    parser.add_argument("--json", type=Path, help="keep what was found there")
    arguments = parser.parse_args(argv)
    try:
        pairs = compared(arguments.folder, arguments.target)
    except (NothingRan, LabError, OSError) as error:
        sys.stderr.write(f"agreement: {str(error).rstrip('.')}.\n")
        return 2
    if arguments.json:
        arguments.json.write_text(
            json.dumps([asdict(one) for one in pairs], indent=1) + "\n", encoding="utf-8"
        )
    for pair in pairs:
        if not pair.agrees:
            print(
                f"DIFFERS {pair.case}: the claim says {pair.verdict}, the program {pair.status}: {pair.line}"
            )
    counts = Counter((one.verdict, one.status) for one in pairs)
    for (said, status), count in sorted(counts.items()):
        print(f"{count:5} claims say {said}, and their programs end with {status}")
    return int(not all(one.agrees for one in pairs))


def compared(folder: Path, target: str) -> list[Agreement]:
    """Return what each program of *folder* and its claim say on *target*; `NothingRan`, `LabError`."""
    cases = {path.stem: case_of(path.read_text(encoding="ascii")) for path in sorted(folder.glob("*.c"))}
    if not cases:
        raise NothingRan(f"{folder} has no program")
    lab_host = find(target)
    if lab_host is not None:
        availability.check(lab_host)
    with tempfile.TemporaryDirectory(prefix="kvmtests-agreement-") as name:
        built = Path(name) / "programs"
        arch = lab_host.arch if lab_host is not None else name_of_this_computer()
        compiled(folder, cases, BY_ARCHITECTURE[arch], built)
        if lab_host is None:
            found, verdicts = _here(built, target, cases.values(), Path(name))
        else:
            found, verdicts = _in_lab(built, lab_host, cases.values(), Path(name))
    pairs = [
        Agreement(case, verdicts[wanted], *found[name])
        for name, case in cases.items()
        if (wanted := node(case, target)) in verdicts
    ]
    if not pairs:
        raise NothingRan(f"no claim ran on {target}")
    return pairs


def node(case: str, target: str) -> str:
    """Return the node id on *target* of *case*, which a program names without a target."""
    name, bracket, parameters = case.partition("[")
    return f"{name}[{target}-{parameters}" if bracket else f"{case}[{target}]"


def case_of(text: str) -> str:
    """Return the case from which a program was written, as its own text says."""
    found = _WRITTEN_BY.search(text)
    if found is None:
        raise NothingRan("a C file does not say from which claim it was written")
    return found[1]


Found = Mapping[str, tuple[int, str]]
Verdicts = Mapping[str, str]


def _here(built: Path, target: str, cases: Iterable[str], folder: Path) -> tuple[Found, Verdicts]:
    nodeids = [node(case, target) for case in cases]
    words = [
        "-q",
        "--stress",
        "-p",
        "no:cacheprovider",
        "--target",
        target,
        f"--report-dir={folder / 'report'}",
    ]
    subprocess.run(
        [sys.executable, "-m", "pytest", *words, *nodeids], cwd=ROOT, capture_output=True, check=False
    )
    results = read_journal.read([folder / "report" / "journal.jsonl"]).results
    return {one.name: outcome(one) for one in sorted(built.iterdir())}, {
        one.nodeid: str(one.verdict) for one in results
    }


def outcome(program: Path) -> tuple[int, str]:
    """Return the exit status of *program* and its last line."""
    try:
        done = subprocess.run([str(program)], capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return -1, "it did not end"
    return done.returncode, (done.stdout.strip().splitlines() or [""])[-1]


def _in_lab(built: Path, lab_host: LabHost, cases: Iterable[str], folder: Path) -> tuple[Found, Verdicts]:
    root = suite(folder)
    (root / MODULE).write_text(_TEST, encoding="utf-8")
    (root / MODULE).with_name(ARCHIVE).write_bytes(_zipped(built))
    claims = _collected(root, lab_host, cases)
    runner = f"{MODULE}::test_programs[{lab_host.name}]"
    fleet = Fleet(Plan(folder / "logs", root=root, unused=UNUSED), side_by_side=1)
    try:
        mailbox = fleet.start(lab_host, [runner, *claims])
        judged = mailbox.wait(runner)
        found = dict(properties(judged)).get(PROPERTY)
        if found is None:
            reason = judged.loss or dict(properties(judged)).get("message", "and did not say why")
            raise NothingRan(f"no program ran in {lab_host.name}: {reason}")
        return found, {claim: verdict(mailbox.wait(claim)) for claim in claims}
    finally:
        fleet.close()


def _zipped(folder: Path) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return held.getvalue()


def _collected(root: Path, lab_host: LabHost, cases: Iterable[str]) -> list[str]:
    """Return those of *cases* that there are on *lab_host*, with its name."""
    wanted = {node(case, lab_host.name) for case in cases}
    modules = sorted({case.partition("::")[0] for case in wanted})
    words = ["--collect-only", "-q", "--stress", f"--target={lab_host.name}"]
    command = [sys.executable, "-m", "pytest", *words, *modules]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if line in wanted]
    if not found:
        raise NothingRan(f"no claim was found: {(done.stderr or done.stdout).strip()[-300:]}")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
