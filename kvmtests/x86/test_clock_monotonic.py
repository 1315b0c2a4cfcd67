# SPDX-License-Identifier: GPL-2.0-only
"""Guest clocks never go back: across vCPUs, and across everything that makes KVM update pvclock records.

Source: Documentation/virt/kvm/x86/timekeeping.rst; arch/x86/kvm/x86.c: kvm_guest_time_update().
"""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC, Window, signed
from fixtures.guests import layout
from fixtures.kvm.expect import refused
from fixtures.kvm.spans import spanned
from fixtures.kvm.threads import together
from fixtures.kvm.x86.guest import ClockMonotony
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.targets import Target
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86.kvm_para import MSR_KVM_SYSTEM_TIME, MSR_KVM_SYSTEM_TIME_NEW
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC, MSR_IA32_TSC_ADJUST
from kvmtests.x86.clocks import MARGIN_NS, enter_all

pytestmark = [
    pytest.mark.promise(
        documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: flags, bit 0"
    ),
    pytest.mark.thorough,
]

ROUNDS = 20
OFFSET = 2**40
SETTLED_NS = 200 * NSEC_PER_MSEC
"""Longer than the 100 ms after which KVM updates all records once more, from when a guest registers one.

Source: arch/x86/kvm/x86.c: kvm_gen_kvmclock_update(), KVMCLOCK_UPDATE_DELAY.
"""


@pytest.fixture
def readings(target: Target) -> int:
    """How often each vCPU reads in a round; a simulated read takes as long as many native ones."""
    return 100 if target.simulated else 5_000


@pytest.fixture
def many_readings(target: Target) -> int:
    """The same for the stress tests: on real KVM two vCPUs make 10**7 readings over all rounds."""
    return 2_000 if target.simulated else 10**7 // 2 // ROUNDS


def check_together(vcpus: list[X86Vcpu], program: str, readings: int) -> list[ClockMonotony]:
    """Let all *vcpus* read and compare at the same time, *ROUNDS* times; return what each of them saw."""
    limits = [functools.partial(vcpu.guest.check_monotony, program, readings) for vcpu in vcpus]
    return [seen for _ in range(ROUNDS) for seen in together(*limits)]


def publish(vm: X86Vm, value: int) -> None:
    """Write the reading that the vCPUs continue from."""
    vm.memory[layout.SHARED : layout.SHARED + 8] = value.to_bytes(8, "little")


def check_tsc_across_vcpus(vcpus: list[X86Vcpu], readings: int) -> None:
    """Fail if a vCPU reads a TSC below one that another has read before."""
    publish(vcpus[0].vm, vcpus[0].guest.read_tsc().value)

    seen = check_together(vcpus, "tsc_monotonic", readings)

    assert [(one.steps_back, one.largest) for one in seen] == [(0, 0)] * len(seen)


def check_kvmclock_across_vcpus(vcpus: list[X86Vcpu], readings: int) -> None:
    """Fail if a vCPU reads a kvmclock below one that another has read before."""
    for vcpu in vcpus:
        vcpu.guest.enable_kvmclock()
    enter_all(vcpus)
    publish(vcpus[0].vm, vcpus[0].guest.read_kvmclock().kvmclock_ns)

    seen = check_together(vcpus, "pvclock_monotonic", readings)

    assert [(one.steps_back, one.largest) for one in seen] == [(0, 0)] * len(seen)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_tsc_across_vcpus(vcpus: list[X86Vcpu], readings: int) -> None:
    """No vCPU reads a TSC below what another vCPU has read before."""
    check_tsc_across_vcpus(vcpus, readings)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_tsc_across_vcpus_of_one_written_value(vcpus: list[X86Vcpu], readings: int) -> None:
    """The same after user space has restored both vCPUs by value, one after the other."""
    for vcpu in vcpus:
        vcpu.set_msr(MSR_IA32_TSC, 2**40)

    check_tsc_across_vcpus(vcpus, readings)


@pytest.mark.usefixtures("tsc_clocksource")
def test_kvmclock_across_vcpus(vcpus: list[X86Vcpu], readings: int) -> None:
    """No vCPU reads a kvmclock below what another vCPU has read before."""
    check_kvmclock_across_vcpus(vcpus, readings)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.stress
def test_tsc_across_vcpus_many_times(vcpus: list[X86Vcpu], many_readings: int) -> None:
    """The same with 10**7 readings on real KVM."""
    check_tsc_across_vcpus(vcpus, many_readings)


@pytest.mark.stress
@pytest.mark.usefixtures("tsc_clocksource")
def test_kvmclock_across_vcpus_many_times(vcpus: list[X86Vcpu], many_readings: int) -> None:
    """The same with 10**7 readings on real KVM."""
    check_kvmclock_across_vcpus(vcpus, many_readings)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.stress
def test_scaled_tsc_across_many_vcpus(vm: X86Vm, readings: int) -> None:
    """20 vCPUs of a VM with another TSC frequency, created at once, count on one line."""
    vm.require(uapi.KVM_CAP_VM_TSC_CONTROL)
    vm.tsc_khz = 2_345_678
    first = vm.create_vcpu(0)
    first.set_msr(MSR_IA32_TSC, 200_000_000)
    others = together(*(functools.partial(vm.create_vcpu, vcpu_id) for vcpu_id in range(1, 20)))

    check_tsc_across_vcpus([first, *others], readings)


def many_samples(vcpu: X86Vcpu) -> list[int]:
    """Return 1,000 readings of kvmclock made in one entry."""
    return vcpu.guest.samples("pvclock_samples", 1000, width=2)[::2]


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: system_time")
def test_kvmclock_within_one_vcpu(vcpu: X86Vcpu) -> None:
    """Consecutive readings of one vCPU never go back, within an entry and across entries."""
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_tsc()

    readings = [*many_samples(vcpu), *many_samples(vcpu)]

    assert readings == sorted(readings)


def page_step_ns(vcpu: X86Vcpu, provoke: Callable[[], object]) -> int:
    """Return by how many ns kvmclock moves, at one guest TSC, over *provoke* and one entry."""
    old = vcpu.guest.pvclock()

    provoke()

    tsc = vcpu.guest.read_kvmclock().tsc
    return signed(vcpu.guest.pvclock().kvmclock_ns(tsc) - old.kvmclock_ns(tsc))


def nothing(_vm: X86Vm, _vcpus: list[X86Vcpu]) -> None:
    """Let time pass, and do nothing else."""


def create_vcpu(vm: X86Vm, _vcpus: list[X86Vcpu]) -> None:
    """Create one more vCPU, and run it."""
    vm.create_vcpu(2).guest.read_tsc()


def get_clock(vm: X86Vm, _vcpus: list[X86Vcpu]) -> None:
    """Call KVM_GET_CLOCK."""
    vm.clock()


def same_offset(_vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """Set the same offset again, on all vCPUs."""
    for vcpu in vcpus:
        vcpu.tsc_offset = OFFSET


def host_adjust(_vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """Restore TSC_ADJUST from user space."""
    vcpus[0].set_msr(MSR_IA32_TSC_ADJUST, 2**40)


def stopped(_vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """Report the guest as stopped, by KVM_KVMCLOCK_CTRL."""
    vcpus[0].kvmclock_ctrl()


def register_again(_vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """Register the record again, from the guest and from user space."""
    vcpus[0].guest.enable_kvmclock()
    vcpus[0].set_msr(MSR_KVM_SYSTEM_TIME_NEW, vcpus[0].get_msr(MSR_KVM_SYSTEM_TIME_NEW))


def refused_set_clock(vm: X86Vm, _vcpus: list[X86Vcpu]) -> None:
    """Call KVM_SET_CLOCK with a flag that does not exist."""
    with refused(errno.EINVAL):
        vm.set_clock(0, flags=1)


HARMLESS = [
    nothing,
    create_vcpu,
    get_clock,
    same_offset,
    host_adjust,
    stopped,
    register_again,
    refused_set_clock,
]


@pytest.mark.usefixtures("tsc_clocksource")
@pytest.mark.parametrize("provoke", HARMLESS, ids=lambda provoke: provoke.__name__.replace("_", "-"))
def test_kvmclock_does_not_step(
    vm: X86Vm, vcpus: list[X86Vcpu], provoke: Callable[[X86Vm, list[X86Vcpu]], None]
) -> None:
    """With the master clock on, only KVM_SET_CLOCK moves kvmclock at a given TSC, to within 1 ns."""
    for vcpu in vcpus:
        vcpu.tsc_offset = OFFSET
    vcpus[0].guest.enable_kvmclock()
    # The last vCPU's new offset takes a snapshot, which the first vCPU's record follows at its next entry.
    enter_all([*vcpus, *vcpus])
    vm.time.sleep_ns(20 * NSEC_PER_MSEC)

    step_ns = page_step_ns(vcpus[0], lambda: provoke(vm, vcpus))

    assert abs(step_ns) <= 1


@pytest.mark.stress
@pytest.mark.usefixtures("tsc_clocksource")
def test_new_snapshot_does_not_step(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """A new snapshot of the master clock, 2 s after the last, does not move kvmclock by more than 1 ns."""
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_tsc()
    vm.time.sleep_ns(2 * NSEC_PER_SEC)

    def leave_and_return() -> None:
        vcpu.guest.enable_kvmclock(MSR_KVM_SYSTEM_TIME)
        vcpu.guest.enable_kvmclock(MSR_KVM_SYSTEM_TIME_NEW)

    step_ns = page_step_ns(vcpu, leave_and_return)

    assert abs(step_ns) <= 1


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK: KVM_CLOCK_TSC_STABLE")
@pytest.mark.usefixtures("tsc_clocksource")
def test_get_clock_and_record_agree_over_snapshots(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """However often the master clock goes off and on, guest and KVM_GET_CLOCK agree on the time."""
    vcpu.guest.enable_kvmclock()

    for _ in range(5):
        vcpu.guest.enable_kvmclock(MSR_KVM_SYSTEM_TIME)
        vcpu.guest.enable_kvmclock(MSR_KVM_SYSTEM_TIME_NEW)
        before, seen, after = vm.clock(), vcpu.guest.read_kvmclock(), vm.clock()
        assert seen.kvmclock_ns in Window(before.kvmclock_ns, after.kvmclock_ns)


def kvmclock_over(vcpu: X86Vcpu, change: Callable[[], object]) -> tuple[int, Window]:
    """Return what kvmclock gained in the guest over *change*, and what CLOCK_MONOTONIC_RAW did.

    No update of the record that an earlier registration has scheduled comes in between: it would hide
    that *change* made none.
    """
    vcpu.vm.time.sleep_ns(SETTLED_NS)
    first_span, first = spanned(vcpu.vm.time, vcpu.guest.read_kvmclock)
    change()
    last_span, last = spanned(vcpu.vm.time, vcpu.guest.read_kvmclock)
    return last.kvmclock_ns - first.kvmclock_ns, first_span.until(last_span).widened(MARGIN_NS)


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: system_time")
@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize(
    "index", [pytest.param(MSR_IA32_TSC, id="tsc"), pytest.param(MSR_IA32_TSC_ADJUST, id="tsc-adjust")]
)
def test_guest_write_of_the_tsc_does_not_move_kvmclock(vcpu: X86Vcpu, index: int) -> None:
    """A guest that moves its own TSC finds that kvmclock has not moved."""
    vcpu.guest.enable_kvmclock()

    gained_ns, elapsed = kvmclock_over(vcpu, lambda: vcpu.guest.wrmsr(index, 2**45))

    assert gained_ns in elapsed


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: system_time")
@pytest.mark.usefixtures("tsc_clocksource")
def test_new_offset_does_not_move_kvmclock(vcpu: X86Vcpu) -> None:
    """User space that moves the TSC of the only vCPU leaves kvmclock where it was."""
    vcpu.guest.enable_kvmclock()

    def move() -> None:
        vcpu.tsc_offset = 2**45

    gained_ns, elapsed = kvmclock_over(vcpu, move)

    assert gained_ns in elapsed


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: system_time")
@pytest.mark.usefixtures("settable_tsc")
def test_new_offset_without_the_master_clock_does_not_move_kvmclock(vcpus: list[X86Vcpu]) -> None:
    """The same where the vCPUs' TSCs differ already, and continue to differ."""
    first, second = vcpus
    first.guest.enable_kvmclock()
    first.tsc_offset, second.tsc_offset = 2**40, 2**41
    enter_all([*vcpus, *vcpus])

    def move() -> None:
        first.tsc_offset = 2**45

    gained_ns, elapsed = kvmclock_over(first, move)

    assert gained_ns in elapsed
