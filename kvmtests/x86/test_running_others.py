# SPDX-License-Identifier: GPL-2.0-only
"""What is set of the VM or of another vCPU while a guest reads its clocks without ever leaving.

Its TSC is its own, and its kvmclock the VM's: neither steps back except by what was set.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from fixtures.counters import NSEC_PER_SEC, OutsideWindow, Window
from fixtures.guests import layout
from fixtures.kvm.errors import KvmError, MsrRefused
from fixtures.kvm.meanwhile import await_readings
from fixtures.kvm.spans import spanned
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.kvm.x86.watching import ClockSteps, clock_steps, flags_of, record_at, watched
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC, MSR_IA32_TSC_ADJUST
from fixtures.uapi.x86.pvclock import PVCLOCK_TSC_STABLE_BIT
from kvmtests.x86.clocks import MARGIN_NS, enter_all

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("stable_tsc", "tsc_clocksource")]

APART = 10**12
FUTURE_NS = 10**6 * NSEC_PER_SEC

Change = Callable[[X86Vcpu], None]


def by_offset(vcpu: X86Vcpu) -> None:
    """Set the TSC's offset."""
    vcpu.tsc_offset = (vcpu.tsc_offset + APART) % 2**64


def by_value(vcpu: X86Vcpu) -> None:
    """Set the TSC by value."""
    vcpu.set_msr(MSR_IA32_TSC, APART)


def back_to_zero(vcpu: X86Vcpu) -> None:
    """Set the TSC to 0, as a reset does: it joins the line of the last write."""
    vcpu.set_msr(MSR_IA32_TSC, 0)


def by_guest_value(vcpu: X86Vcpu) -> None:
    """Let the guest write its TSC."""
    vcpu.guest.wrmsr(MSR_IA32_TSC, APART)


def by_guest_adjust(vcpu: X86Vcpu) -> None:
    """Let the guest write its IA32_TSC_ADJUST, if it has one."""
    with contextlib.suppress(MsrRefused):
        vcpu.guest.wrmsr(MSR_IA32_TSC_ADJUST, vcpu.get_msr(MSR_IA32_TSC_ADJUST) + APART)


def by_frequency(vcpu: X86Vcpu) -> None:
    """Halve the vCPU's frequency where KVM can scale it; set it again to what it is where it cannot."""
    scales = vcpu.vm.check_extension(uapi.KVM_CAP_TSC_CONTROL)
    with contextlib.suppress(KvmError):  # a frequency that is the firmware's
        vcpu.tsc_khz = vcpu.tsc_khz // 2 if scales else vcpu.tsc_khz


def by_vm_frequency(vcpu: X86Vcpu) -> None:
    """Set the frequency of future vCPUs, which KVM refuses from v6.17 on, and make one."""
    with contextlib.suppress(KvmError):
        vcpu.vm.tsc_khz = vcpu.tsc_khz
    vcpu.vm.create_vcpu(len(vcpu.vm.vcpus)).guest.read_tsc()


def registers_kvmclock(vcpu: X86Vcpu) -> None:
    """Let the guest take its kvmclock away and register it again."""
    vcpu.guest.disable_kvmclock()
    vcpu.guest.enable_kvmclock()


def stops(vcpu: X86Vcpu) -> None:
    """Mark the guest as stopped by KVM_KVMCLOCK_CTRL."""
    vcpu.vm.require(uapi.KVM_CAP_KVMCLOCK_CTRL)
    vcpu.kvmclock_ctrl()


def requests_the_wall_clock(vcpu: X86Vcpu) -> None:
    """Have the wall clock written."""
    vcpu.guest.write_wall_clock()


TSC_CHANGES: list[Change] = [
    *(by_offset, by_value, back_to_zero, by_guest_value, by_guest_adjust, by_frequency, by_vm_frequency),
]
CHANGES: list[Change] = [*TSC_CHANGES, registers_kvmclock, stops, requests_the_wall_clock]


def ids(changes: list[Change]) -> list[str]:
    """Return ids of *changes*."""
    return [change.__name__.replace("_", "-") for change in changes]


@pytest.fixture
def clocked(vm: X86Vm, vcpus: list[X86Vcpu]) -> list[X86Vcpu]:
    """Two vCPUs with kvmclock, which the master clock keeps together."""
    vm.require(uapi.KVM_CAP_CLOCKSOURCE)
    for vcpu in vcpus:
        vcpu.guest.enable_kvmclock()
    enter_all(vcpus)
    enter_all(vcpus)
    return vcpus


def steps_during(clocked: list[X86Vcpu], change: Change) -> ClockSteps:
    """Return what the second vCPU's guest found while *change* is made of the first one, which enters."""

    def work() -> None:
        for _ in range(3):
            change(clocked[0])
            clocked[0].guest.read_tsc()

    return clock_steps(clocked[1], work)


@pytest.mark.promise(documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_OFFSET")
@pytest.mark.parametrize("change", TSC_CHANGES, ids=ids(TSC_CHANGES))
def test_moving_another_leaves_the_running_tsc(clocked: list[X86Vcpu], change: Change) -> None:
    """A guest that reads its TSC all the while stays on its line, whatever is set of another vCPU's."""
    offset = clocked[1].tsc_offset

    seen = steps_during(clocked, change)

    assert (seen.tsc_steps_back, clocked[1].tsc_offset) == (0, offset)
    expected = seen.last.shifted(offset)
    if seen.last_tsc not in expected:
        raise OutsideWindow("the TSC that the guest read last", seen.last_tsc, expected)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK: KVM_CLOCK_TSC_STABLE")
@pytest.mark.parametrize("change", CHANGES, ids=ids(CHANGES))
def test_nothing_but_set_clock_steps_the_running_clock(
    vm: X86Vm, clocked: list[X86Vcpu], change: Change
) -> None:
    """A guest that reads kvmclock sees no step back beyond 1 µs, and KVM_GET_CLOCK's clock at last."""
    clocks_ns = []

    def change_and_look(vcpu: X86Vcpu) -> None:
        change(vcpu)
        clocks_ns.append(vm.clock().kvmclock_ns)

    seen = steps_during(clocked, change_and_look)

    assert seen.largest_clock_step_ns <= MARGIN_NS
    assert seen.last_kvmclock_ns in Window(clocks_ns[-1], vm.clock().kvmclock_ns).widened(MARGIN_NS)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CLOCK")
def test_clock_set_forward_takes_no_step_back(vm: X86Vm, clocked: list[X86Vcpu]) -> None:
    """While KVM_SET_CLOCK sets kvmclock forward, several times, a guest that reads it sees no step back."""

    def work() -> None:
        for number in range(1, 4):
            vm.set_clock(number * FUTURE_NS)

    seen = clock_steps(clocked[1], work)

    assert (seen.clock_steps_back, seen.tsc_steps_back) == (0, 0)
    assert seen.last_kvmclock_ns >= 3 * FUTURE_NS


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CLOCK")
def test_clock_set_back_takes_one_step(vm: X86Vm, clocked: list[X86Vcpu]) -> None:
    """While KVM_SET_CLOCK sets kvmclock back, a guest that reads it sees that step back and no other."""
    set_first, _ = spanned(vm.time, lambda: vm.set_clock(FUTURE_NS))
    enter_all(clocked)

    seen = clock_steps(clocked[1], lambda: vm.set_clock(NSEC_PER_SEC))
    now, _ = spanned(vm.time, lambda: None)

    took_ns = set_first.until(now).last
    step_ns = Window(FUTURE_NS - NSEC_PER_SEC, FUTURE_NS - NSEC_PER_SEC).widened(took_ns + MARGIN_NS)
    assert seen.clock_steps_back == 1
    assert seen.largest_clock_step_ns in step_ns
    assert seen.last_kvmclock_ns in Window(NSEC_PER_SEC, NSEC_PER_SEC + took_ns).widened(MARGIN_NS)


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: flags")
@pytest.mark.before("master_clock_with_offsets")
def test_running_guest_loses_the_one_clock(vm: X86Vm, clocked: list[X86Vcpu]) -> None:
    """When another vCPU's TSC parts, a guest that runs finds its record without PVCLOCK_TSC_STABLE_BIT."""
    other, reader = clocked
    assert vm.clock().flags == vm.master_clock_flags

    def work() -> None:
        other.tsc_offset = (other.tsc_offset + APART) % 2**64
        other.guest.read_tsc()
        await_readings(reader, reader.guest.readings_so_far, 3)

    found = watched(reader, record_at(layout.pvclock(reader.id)), work, tsc=True)

    flags = [flags_of(content) & PVCLOCK_TSC_STABLE_BIT for content in found]
    assert (flags[0], flags[-1]) == (PVCLOCK_TSC_STABLE_BIT, 0)
    assert flags == sorted(flags, reverse=True)
