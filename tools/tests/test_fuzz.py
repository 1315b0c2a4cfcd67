# SPDX-License-Identifier: GPL-2.0-only
"""Hostile input for a while, and that the search itself notices a crash, a hang and a lie.

KVMTESTS_FUZZ_SECONDS is how long each kind is tried; the default makes about a minute in all.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.fuzz import draw
from fixtures.fuzz.calls import Call, CallOutcome, Case, Pointer
from fixtures.fuzz.play import Broken, FuzzCounts, compare, play
from fixtures.sim import SimBackend
from fixtures.sim.targets import TARGETS
from fixtures.sim.x86.attributes import TscAttributes
from fixtures.sim.x86.parts import x86_parts
from fixtures.uapi import kvm
from fixtures.uapi.x86 import kvm as kvm_x86
from tools import compare as compare_journals
from tools import fuzz, fuzz_child, fuzz_readers, lint_ktap, report

SECONDS = float(os.environ.get("KVMTESTS_FUZZ_SECONDS", "20"))
X86 = TARGETS["sim-x86_64"]
OFFSET = Call(
    "vcpu0",
    kvm.KVM_SET_DEVICE_ATTR,
    Pointer("good", 0, bytes(kvm.kvm_device_attr(attr=3))),
    inner=Pointer("good", 0, (5).to_bytes(8, "little")),
    inner_at=16,
)


class KeepsRefusedOffset(TscAttributes):
    """Takes the offset before it finds that there is no such attribute."""

    def set(self, arg: int) -> int:
        """Break the order of check and change."""
        self.set_offset(7)
        return super().set(arg)


@pytest.mark.thorough
@pytest.mark.timeout(SECONDS + 240)
@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_no_hostile_input_breaks_the_harness(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Calls, guests and files of a seed: no crash, no hang, no other errno, no changed state."""
    hosts = ["sim-x86_64", "sim-arm64-vhe", "sim-arm64-nvhe-series"]
    targets = fuzz_readers.READERS if kind == fuzz.READERS else hosts

    status = fuzz.main([kind, "--seconds", str(SECONDS), *(f"--target={name}" for name in targets)])

    assert status == 0, capsys.readouterr().out


def test_cases_are_the_same_everywhere() -> None:
    """A seed names a case: what was found on one host is played again on another."""
    assert draw.case("x86_64", 7) == draw.case("x86_64", 7)
    assert draw.case("x86_64", 7) != draw.case("x86_64", 8)


@pytest.mark.parametrize("seed", range(40))
def test_cases_for_real_kernels_enter_no_guest(seed: int) -> None:
    """Numbers that a kernel may know and we do not are left out, and each KVM_RUN leaves at once."""
    for call in draw.case("x86_64", seed, real=True).calls:
        assert call.immediate_exit
        assert call.request >> 8 & 0xFF == 0xAE


def test_refusal_that_changes_state_is_noticed() -> None:
    """A call that is refused and yet leaves another offset ends the case, and is named."""
    parts = replace(x86_parts(X86), attributes=KeepsRefusedOffset)
    case = Case("x86_64", (OFFSET,))

    with pytest.raises(Broken, match="refused with ENXIO, and yet changed: vcpu0 TSC offset"):
        play(case, SimBackend(replace(X86, parts=parts)), FuzzCounts())


def test_wrong_errno_is_noticed() -> None:
    """Where the interface settles the errno, another one ends the case."""

    class WrongErrno(TscAttributes):
        def has(self, arg: int) -> int:
            del arg
            raise OSError(22, "")

    parts = replace(x86_parts(X86), attributes=WrongErrno)
    query = replace(OFFSET, request=kvm.KVM_HAS_DEVICE_ATTR)

    with pytest.raises(Broken, match="EINVAL, ENXIO is due"):
        play(Case("x86_64", (query,)), SimBackend(replace(X86, parts=parts)), FuzzCounts())


def test_different_errnos_of_two_backends_are_noticed() -> None:
    """What one refuses and the other accepts is a disagreement, unless it is declared."""
    case = Case("x86_64", (Call("vm", kvm_x86.KVM_SET_TSS_ADDR, 1), Call("vm", kvm.KVM_GET_DIRTY_LOG)))
    refused, accepted = CallOutcome(errno=22), CallOutcome()
    counts = FuzzCounts()

    with pytest.raises(Broken, match=r"step 0, KVM_SET_TSS_ADDR.*EINVAL, simulated accepted"):
        compare(case, [refused, accepted], [accepted, accepted], counts)
    compare(case, [accepted, refused], [accepted, accepted], counts)

    assert counts.differences == {"dirty-log": 1}


def test_process_that_dies_is_named_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A crash is reported with its seed, and the seeds after it are also tried."""
    package = tmp_path / "tools"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "fuzz_child.py").write_text(CHILD)
    monkeypatch.setattr(fuzz, "ROOT", tmp_path)

    status = fuzz.main(["abi", "--cases", "5", "--target", "sim-x86_64"])

    assert status == fuzz.FOUND
    printed = capsys.readouterr().out
    assert "seed 3, step 4: died of SIGKILL" in printed
    assert "4 cases" in printed


CHILD = """
import json, os, signal, struct, sys
first, last = int(sys.argv[5]), int(sys.argv[5]) + int(sys.argv[9])
for seed in range(first, last):
    if seed == 3:
        open(sys.argv[11], "r+b").write(struct.pack("<qq", 3, 4))
        os.kill(os.getpid(), signal.SIGKILL)
print(json.dumps({"counts": {"cases": 4}}))
"""


@pytest.mark.thorough
def test_file_that_takes_too_long_ends_the_process(tmp_path: Path) -> None:
    """A reader that hangs on a file is stopped at the time limit of a file; the file's seed stays."""
    trace = tmp_path / "trace"
    trace.write_bytes(fuzz_child.TRACE.pack(0, 0))
    words = ["readers", "--target", "ktap", "--seed", "5", "--seconds", "60", "--trace", str(trace)]

    done = subprocess.run(
        [sys.executable, "-c", HANGS, *words], cwd=fuzz.ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr.startswith("Timeout (0:00:01)!")
    assert fuzz_child.TRACE.unpack(trace.read_bytes())[0] == 5


HANGS = """
import sys, time
from tools import fuzz_child, fuzz_readers
fuzz_child.CASE_LIMIT_S = 1
fuzz_readers.READERS["ktap"] = lambda chance, counts: time.sleep(100)
sys.exit(fuzz_child.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("argv", [["nonsense"], ["abi", "--target", "no-such"]])
def test_wrong_usage_is_status_2(argv: list[str]) -> None:
    """What there is not, a kind or a target, is a sentence."""
    try:
        status = fuzz.main(argv)
    except SystemExit as stopped:
        status = int(str(stopped.code))

    assert status == fuzz.USAGE


def test_spoilt_files_are_spoilt() -> None:
    """Most seeds change the lines that they are given."""
    lines = [b'{"type":"end"}\n', b'{"type":"start"}\n']

    changed = [fuzz_readers.spoilt(random.Random(seed), lines) != lines for seed in range(100)]  # noqa: S311

    assert sum(changed) > 60


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\x00\n" * 50, id="bytes"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"type":"session"', id="cut"),
        pytest.param(b"1..9999999999\n", id="long-plan"),
    ],
)
@pytest.mark.parametrize("command", [report.main, compare_journals.main, lint_ktap.main])
def test_commands_read_any_file(
    command: Callable[[list[str]], int], content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that read files of results end with a status, whatever is in them."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file"
    path.write_bytes(content)

    assert command([str(path), str(path)]) in {0, 1, 2, 4}


@pytest.mark.parametrize("command", [report.main, compare_journals.main, lint_ktap.main])
def test_commands_say_which_file_is_missing(
    command: Callable[[list[str]], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is not there, or is a folder, is a sentence with its name, and status 2."""
    for path in (tmp_path / "missing", tmp_path):
        assert command([str(path), str(path)]) == 2
        assert str(path) in capsys.readouterr().err
