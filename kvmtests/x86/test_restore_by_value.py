# SPDX-License-Identifier: GPL-2.0-only
"""A VMM gives all vCPUs of a new VM one TSC value: they count on one line, in whatever order it does so.

An order is a list of steps. c1 creates vCPU 1, w1 writes the value to its IA32_TSC, z1 writes 0, r1
writes 1 as QEMU does at a reset, and o1 gives it the offset of vCPU 0. Linux parts the vCPUs if a vCPU is
created, or a 0 written, between two writes of the value: docs/findings/creation-between-values.md.

Source: arch/x86/kvm/x86.c: kvm_synchronize_tsc().
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise, permutations

import pytest

from fixtures.counters import NSEC_PER_MSEC, Window
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.system import Kvm
from fixtures.kvm.values import MASTER_CLOCK, ClockFlags
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.kvm import KVM_CAP_TSC_CONTROL
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC
from kvmtests.windows import timed
from kvmtests.x86.clocks import flags_after_entry

pytestmark = [
    pytest.mark.promise(de_facto="Linux 5.10 to 7.3"),
    pytest.mark.thorough,
    pytest.mark.usefixtures("stable_tsc", "settable_tsc"),
]

SECONDS = 100  # what the value is: more than a second from where a new vCPU starts


def orders_of_two() -> list[str]:
    """Return every order of creating and writing two vCPUs, each created before it is written."""
    steps = permutations(("c0", "w0", "c1", "w1"))
    return [
        "-".join(order) for order in steps if all(order.index(f"c{n}") < order.index(f"w{n}") for n in "01")
    ]


VMMS = [
    pytest.param("c0-c1-c2-r0-r1-r2-w0-w1-w2", id="qemu-c0-c1-c2-r0-r1-r2-w0-w1-w2"),
    pytest.param("c0-c1-c2-w0-w1-w2", id="firecracker-c0-c1-c2-w0-w1-w2"),
    pytest.param("c0-c1-c2-w0-w1-w2-o0-o1-o2", id="firecracker-6200-c0-c1-c2-w0-w1-w2-o0-o1-o2"),
    pytest.param("c0-c1-c2-w2-w0-w1", id="crosvm-c0-c1-c2-w2-w0-w1"),
    pytest.param("c0-w0-c1-w1-c2-w2", id="cloud-hypervisor-8383-c0-w0-c1-w1-c2-w2"),
]
"""What public VMMs do at a restore, some of them as a report describes it: vCPUs are created, reset to 1
and written (QEMU), created and written (Firecracker; crosvm in any order, from threads), or created and
written in turn (Cloud Hypervisor)."""

ORDERS = [
    *orders_of_two(),
    *VMMS,
    "c0-w0-c1-w1-c2-w2-o0-o1-o2",
    "c0-w0-c1-w1-c2-w2-o1-o2",
    "c0-w0-c1-w1-o0-o1",
    "c0-w0-c1-w1-o1",
    "c0-w0-w0-c1-w1",
    "c0-c1-z0-z1-w0-w1",
    "c0-c1-w0-z1-w1",
    "c0-c1-w0-w1-c2",
    "c0-w0-c1",
    "c1-w1-c0-z0",
]


def restored(kvm: Kvm[X86Vm], order: str) -> list[X86Vcpu]:
    """Return the vCPUs of a new VM on which the steps of *order* were taken, by their ids."""
    vm = kvm.create_vm()
    vcpus: dict[int, X86Vcpu] = {}
    for kind, number in ((step[0], int(step[1])) for step in order.split("-")):
        if kind == "c":
            vcpus[number] = vm.create_vcpu(number)
        elif kind == "o":
            vcpus[number].tsc_offset = vcpus[0].tsc_offset
        else:
            values = {"w": SECONDS * vcpus[number].tsc_khz * 1000, "z": 0, "r": 1}
            vcpus[number].set_msr(MSR_IA32_TSC, values[kind])
    return [vcpus[number] for number in sorted(vcpus)]


@pytest.mark.parametrize("order", ORDERS)
def test_one_value_gives_one_line(kvm: Kvm[X86Vm], order: str) -> None:
    """vCPUs that were given the same TSC value have the same TSC offset, whatever the order of the calls."""
    vcpus = restored(kvm, order)

    assert len({vcpu.tsc_offset for vcpu in vcpus}) == 1


@pytest.mark.usefixtures("tsc_clocksource")
@pytest.mark.parametrize("order", ORDERS)
def test_one_value_gives_the_master_clock(kvm: Kvm[X86Vm], order: str) -> None:
    """vCPUs that were given the same TSC value have a master clock once each has run, whatever the order."""
    vcpus = restored(kvm, order)

    assert flags_after_entry(*vcpus) == vcpus[0].vm.master_clock_flags


@pytest.mark.generation("upstream")
@pytest.mark.usefixtures("tsc_clocksource")
def test_scaled_value_joins_an_offset(vm: X86Vm) -> None:
    """vCPU 0 of a scaled guest is given an offset, and vCPU 1 what vCPU 0 reads: there is a master clock."""
    vm.require(KVM_CAP_TSC_CONTROL)
    vm.tsc_khz *= 3
    first, second = vm.create_vcpu(0), vm.create_vcpu(1)
    first.tsc_offset = 2**50

    second.set_msr(MSR_IA32_TSC, first.get_msr(MSR_IA32_TSC))

    assert flags_after_entry(first, second) == MASTER_CLOCK


def test_scaled_value_reads_back(vm: X86Vm) -> None:
    """What user space writes to a scaled guest's IA32_TSC it reads back, plus the ticks since then."""
    vm.require(KVM_CAP_TSC_CONTROL)
    vm.tsc_khz *= 3
    vcpu = vm.create_vcpu(0)

    written, _ = timed(vm, lambda: vcpu.set_msr(MSR_IA32_TSC, 2**50))
    read, seen_ticks = timed(vm, lambda: vcpu.get_msr(MSR_IA32_TSC))

    elapsed = Window(3 * (read.first - written.last), 3 * (read.last - written.first))
    assert seen_ticks in elapsed.widened(1).shifted(2**50)


@pytest.mark.usefixtures("tsc_clocksource")
def test_value_that_comes_late_joins_the_one_before_it(kvm: Kvm[X86Vm]) -> None:
    """Of a slow VMM each value joins if it is less than a second late for the one written before it."""
    for _ in range(20):
        vm = kvm.create_vm()
        vcpus = [vm.create_vcpu(number) for number in range(3)]
        if all(late_s < 0.9 for late_s in written_late(vcpus, SECONDS * vcpus[0].tsc_khz * 1_000)):
            break
    else:
        raise CapabilityMissing("a host on which a thread wakes within 350 ms of its time")

    assert flags_after_entry(*vcpus) == vcpus[0].vm.master_clock_flags
    assert len({vcpu.tsc_offset for vcpu in vcpus}) == 1


def written_late(vcpus: list[X86Vcpu], value: int) -> list[float]:
    """Write one TSC value to each vCPU, half a second apart; return by how much each is late, in s."""
    windows = []
    for number, vcpu in enumerate(vcpus):
        vcpu.vm.time.sleep_ns(550 * NSEC_PER_MSEC if number else 0)
        written, _ = timed(vcpu.vm, partial(vcpu.set_msr, MSR_IA32_TSC, value))
        windows.append(written)
    hz = vcpus[0].tsc_khz * 1_000
    return [(late.last - early.first) / hz for early, late in pairwise(windows)]


@pytest.mark.usefixtures("tsc_clocksource")
def test_value_does_not_join_another_frequency(vcpus: list[X86Vcpu]) -> None:
    """A vCPU of another frequency that is given what the first one reads shares no master clock with it."""
    first, second = vcpus
    second.tsc_khz = first.tsc_khz - 100
    first.set_msr(MSR_IA32_TSC, SECONDS * first.tsc_khz * 1_000)

    second.set_msr(MSR_IA32_TSC, first.get_msr(MSR_IA32_TSC))

    assert flags_after_entry(first, second) == ClockFlags(0)
