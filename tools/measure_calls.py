# SPDX-License-Identifier: GPL-2.0-only
"""Compare system calls, exits and sampling through this library with the same in C, on this host's KVM.

Both run the same guests, alternately in one run; the table has first quartiles, which other load
hardly moves, and their ratio. Needs x86_64, a usable /dev/kvm, and a C compiler.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from fixtures.host_backend import host_backend
from fixtures.kvm.errors import HarnessError
from fixtures.kvm.exits import Exit, IoExit, MmioExit
from fixtures.kvm.system import Kvm
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.kvm import KVM_CREATE_VM
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC, MSR_IA32_TSC_ADJUST
from tools.arguments import Parser, number_from
from tools.interruption import started

C_BASELINE = Path(__file__).with_name("c_baseline") / "calls.c"
FEW = 100  # runs of many samples, and creations, for the hundreds of other calls
SAMPLES = 65_536
PROGRAMS = {"tsc": 1, "hlt": 1, "mmio": 1, "tsc_triples": SAMPLES}
TITLES = {
    "get_clock": "KVM_GET_CLOCK",
    "set_clock": "KVM_SET_CLOCK",
    "get_offset": "KVM_GET_DEVICE_ATTR, KVM_VCPU_TSC_OFFSET",
    "set_offset": "KVM_SET_DEVICE_ATTR, KVM_VCPU_TSC_OFFSET",
    "get_msr": "KVM_GET_MSRS, IA32_TSC",
    "set_msr": "KVM_SET_MSRS, IA32_TSC_ADJUST",
    "get_tsc_khz": "KVM_GET_TSC_KHZ",
    "run_immediate": "KVM_RUN, immediate_exit",
    "run_out": "KVM_RUN to KVM_EXIT_IO",
    "run_hlt": "KVM_RUN to KVM_EXIT_HLT",
    "run_mmio": "KVM_RUN to KVM_EXIT_MMIO",
    "sample": f"a sample of RDTSC triples, {SAMPLES:,} an exit",
    "single": "a sample of RDTSC triples, one an exit",
    "new_vm": "a VM without memory, made and closed",
    "new_vcpu": "a VM with a vCPU, made and closed (ours with memory, programs and CPUID)",
}

Ticks = dict[str, list[float]]


def main(argv: Sequence[str]) -> int:
    """Measure as *argv* says; return 0, or 1 with one sentence."""
    parser = Parser(prog="tools.measure_calls", description=__doc__.splitlines()[0])
    parser.add_argument(
        "-n",
        type=number_from(1),
        default=1000,
        metavar="N",
        help="calls of each kind in each round (default: 1000)",
    )
    parser.add_argument(
        "--rounds", type=number_from(1), default=5, help="alternations of Python and C (default: 5)"
    )
    arguments = parser.parse_args(argv)
    try:
        python, baseline = measure(arguments.n, arguments.rounds)
    except (HarnessError, OSError, subprocess.CalledProcessError) as error:
        print(f"measure_calls: {error}", file=sys.stderr)
        return 1
    print(tabulate(rows(python, baseline), headers=["first quartile, ticks", "C", "Python", "ratio"]))
    gain = quartile(python["single"]) / quartile(python["sample"])
    print(f"\n{gain:,.0f} times the samples per second of one exit per sample")
    return 0


def rows(python: Ticks, baseline: Ticks) -> list[list[object]]:
    """Return the table: for each call the first quartiles and Python's against C's."""
    table: list[list[object]] = []
    for name, title in TITLES.items():
        ours = quartile(python[name])
        theirs = quartile(baseline[name]) if name in baseline else None
        ratio = f"{ours / theirs:.2f}" if theirs else ""
        table.append([title, _figure(theirs), _figure(ours), ratio])
    return table


def quartile(ticks: Sequence[float]) -> float:
    """Return the value that a quarter of *ticks* lies below."""
    return statistics.quantiles(ticks, n=4)[0]


def measure(calls: int, rounds: int) -> tuple[Ticks, Ticks]:
    """Return ticks for each call, of Python and of C, *calls* in each of *rounds*."""
    python: Ticks = defaultdict(list)
    baseline: Ticks = defaultdict(list)
    with Kvm(host_backend(), X86Vm) as kvm, tempfile.TemporaryDirectory() as folder:
        vm = kvm.create_vm()
        vcpu = vm.create_vcpu(0)
        command = _prepare(Path(folder), vcpu, calls)
        for _ in range(rounds):
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
            for line in done.stdout.splitlines():
                name, ticks = line.split()
                baseline[name].append(int(ticks) / (1000 if name == "sample" else 1))
            _python_round(kvm, vm, vcpu, calls, python)
    return python, baseline


def _prepare(folder: Path, vcpu: X86Vcpu, calls: int) -> list[str]:
    (folder / "memory").write_bytes(bytes(vcpu.vm.memory))
    for name, count in PROGRAMS.items():
        vcpu.guest.load(name, count)
        (folder / f"{name}.sregs").write_bytes(bytes(vcpu.sregs))
        (folder / f"{name}.regs").write_bytes(bytes(vcpu.regs))
    program = folder / "calls"
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", program, C_BASELINE], check=True, timeout=120)
    return [str(program), str(folder), str(calls), str(FEW), str(SAMPLES)]


def _python_round(kvm: Kvm[X86Vm], vm: X86Vm, vcpu: X86Vcpu, calls: int, into: Ticks) -> None:
    guest = vcpu.guest
    guest.run("tsc")
    for name, call in _system_calls(vm, vcpu).items():
        into[name] += _timed(vcpu, call, calls)
    guest.load("hlt")
    into["run_hlt"] += _timed(vcpu, lambda: vcpu.run_to(Exit), calls)
    guest.load("mmio")
    into["run_mmio"] += _timed(vcpu, lambda: vcpu.run_to(MmioExit), calls)
    into["sample"] += [
        ticks / SAMPLES for ticks in _timed(vcpu, lambda: guest.run("tsc_triples", count=SAMPLES), FEW)
    ]
    into["single"] += _timed(vcpu, lambda: guest.run("tsc_triples"), calls)
    into["new_vm"] += _timed(vcpu, lambda: _new_vm(kvm), FEW)
    into["new_vcpu"] += _timed(vcpu, lambda: _new_vcpu(kvm), FEW)


def _system_calls(vm: X86Vm, vcpu: X86Vcpu) -> Mapping[str, Callable[[], object]]:
    return {
        "get_clock": vm.clock,
        "set_clock": lambda: vm.set_clock(7_000_000_000),
        "get_offset": lambda: vcpu.tsc_offset,
        "set_offset": lambda: setattr(vcpu, "tsc_offset", 12345),
        "get_msr": lambda: vcpu.get_msr(MSR_IA32_TSC),
        "set_msr": lambda: vcpu.set_msr(MSR_IA32_TSC_ADJUST, 0),
        "get_tsc_khz": lambda: vcpu.tsc_khz,
        "run_immediate": vcpu.poke_without_entry,
        "run_out": lambda: vcpu.run_to(IoExit),
    }


def _timed(vcpu: X86Vcpu, call: Callable[[], object], calls: int) -> list[int]:
    """Return the host TSC ticks of each of *calls*; the readings themselves are about 400 of them."""
    counter = vcpu.vm.time.counter
    call()
    ticks = []
    for _ in range(calls):
        before = counter()
        call()
        ticks.append(counter() - before)
    return ticks


def _new_vm(kvm: Kvm[X86Vm]) -> None:
    # As the C baseline does: only the descriptor, without memory and programs.
    backend = kvm.handle.backend
    backend.close(kvm.handle.call(KVM_CREATE_VM, 0, "default machine type"))


def _new_vcpu(kvm: Kvm[X86Vm]) -> None:
    vm = kvm.create_vm()
    vm.create_vcpu(0)
    vm.close()
    kvm.vms.remove(vm)


def _figure(ticks: float | None) -> str:
    if ticks is None:
        return ""
    return f"{ticks:,.0f}" if ticks >= 100 else f"{ticks:.1f}"


if __name__ == "__main__":
    sys.exit(started(main))
