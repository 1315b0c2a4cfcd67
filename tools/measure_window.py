# SPDX-License-Identifier: GPL-2.0-only
"""Compare the window around a guest's TSC reading, in Python and in C, on this host's KVM.

Both run the same guest bytes and the same system calls, alternately in one run. Prints a
table with medians and their ratio. Needs x86_64, a usable /dev/kvm, and a C compiler.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from fixtures.host_backend import host_backend
from fixtures.kvm.errors import HarnessError
from fixtures.kvm.system import Kvm
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from tools.arguments import Parser, number_from
from tools.interruption import started

C_BASELINE = Path(__file__).with_name("c_baseline") / "window.c"


def main(argv: Sequence[str]) -> int:
    """Measure as *argv* says; return 0, or 1 with one sentence."""
    parser = Parser(prog="tools.measure_window", description=__doc__.splitlines()[0])
    parser.add_argument(
        "-n", type=number_from(2), default=2000, metavar="N", help="readings in each round (default: 2000)"
    )
    parser.add_argument(
        "--rounds", type=number_from(1), default=5, help="alternations of Python and C (default: 5)"
    )
    arguments = parser.parse_args(argv)
    try:
        python, baseline = measure(arguments.n, arguments.rounds)
    except (HarnessError, OSError, subprocess.CalledProcessError) as error:
        print(f"measure_window: {error}", file=sys.stderr)
        return 1
    rows = [_row("C", baseline, baseline), _row("Python", python, baseline)]
    print(tabulate(rows, headers=["caller", "median ticks", "5 %", "95 %", "ratio of medians"]))
    return 0


def measure(count: int, rounds: int) -> tuple[list[int], list[int]]:
    """Return window widths in ticks, from Python and from C, *count* in each of *rounds*."""
    python: list[int] = []
    baseline: list[int] = []
    with Kvm(host_backend(), X86Vm) as kvm, tempfile.TemporaryDirectory() as folder:
        vcpu = kvm.create_vm().create_vcpu(0)
        command = _prepare(Path(folder), vcpu, count)
        vcpu.guest.read_tsc()
        for _ in range(rounds):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            baseline += map(int, done.stdout.split())
            python += [vcpu.guest.read_tsc().window.width for _ in range(count)]
    return python, baseline


def _prepare(folder: Path, vcpu: X86Vcpu, count: int) -> list[str]:
    vcpu.guest.load("tsc")
    files = {"memory": bytes(vcpu.vm.memory), "sregs": bytes(vcpu.sregs), "regs": bytes(vcpu.regs)}
    for name, contents in files.items():
        (folder / name).write_bytes(contents)
    program = folder / "window"
    subprocess.run(["cc", "-O2", "-Wall", "-o", program, C_BASELINE], check=True)
    return [str(program), *(str(folder / name) for name in files), str(count)]


def _row(name: str, widths: list[int], against: list[int]) -> list[object]:
    percentiles = statistics.quantiles(widths, n=20)
    median = statistics.median(widths)
    ratio = median / statistics.median(against)
    return [name, round(median), round(percentiles[0]), round(percentiles[-1]), f"{ratio:.2f}"]


if __name__ == "__main__":
    sys.exit(started(main))
