# SPDX-License-Identifier: GPL-2.0-only
"""A VM handed over to another on one host: its guest's clocks continue as if nothing had happened.

Source: Documentation/virt/kvm/devices/vcpu.rst, 4.1: the algorithm for migrating TSC state.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC, Window
from fixtures.kvm.spans import Span, spanned
from fixtures.kvm.system import Kvm
from fixtures.kvm.values import MASTER_CLOCK, Clock, ClockFlags
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC_ADJUST
from kvmtests.x86.clocks import MARGIN_NS, check_tsc_continues, enter_all, flags_after_entry

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_OFFSET"),
    pytest.mark.thorough,
    pytest.mark.usefixtures("tsc_clocksource"),
]

OFFSETS = [
    pytest.param(2**40, 2**40, id="one-line"),
    pytest.param(2**40, 2**40 + 1000, id="a-microsecond-apart"),
]


@dataclass(frozen=True, slots=True)
class Saved:
    """What user space takes from a stopped VM."""

    clock: Clock
    tsc_khz: int
    tsc_offsets: tuple[int, ...]
    tsc_adjusts: tuple[int, ...]


def save(vm: X86Vm, vcpus: list[X86Vcpu]) -> Saved:
    """Read everything that makes up the guest's clocks."""
    return Saved(
        clock=vm.clock(),
        tsc_khz=vcpus[0].tsc_khz,
        tsc_offsets=tuple(vcpu.tsc_offset for vcpu in vcpus),
        tsc_adjusts=tuple(vcpu.get_msr(MSR_IA32_TSC_ADJUST) for vcpu in vcpus),
    )


def restore(kvm: Kvm[X86Vm], saved: Saved) -> list[X86Vcpu]:
    """Return the vCPUs of a VM that continues from *saved*."""
    return restore_timed(kvm, saved)[1]


def restore_timed(kvm: Kvm[X86Vm], saved: Saved) -> tuple[Span, list[X86Vcpu]]:
    """Restore frequency, kvmclock, offsets and TSC_ADJUST; return when kvmclock was set, and the vCPUs.

    kvmclock counts the time of the handover if the source had a master clock, and with it a realtime.
    """
    vm = kvm.create_vm()
    vm.tsc_khz = saved.tsc_khz
    vcpus = [vm.create_vcpu(vcpu_id) for vcpu_id in range(len(saved.tsc_offsets))]
    realtime_ns = saved.clock.realtime_ns if saved.clock.flags & ClockFlags.REALTIME else None
    set_span, _ = spanned(vm.time, lambda: vm.set_clock(saved.clock.kvmclock_ns, realtime_ns=realtime_ns))
    for vcpu, tsc_offset, tsc_adjust in zip(vcpus, saved.tsc_offsets, saved.tsc_adjusts, strict=True):
        vcpu.tsc_offset = tsc_offset
        vcpu.set_msr(MSR_IA32_TSC_ADJUST, tsc_adjust)
    return set_span, vcpus


def furnish(vcpus: list[X86Vcpu], *tsc_offsets: int) -> None:
    """Give the source clocks that nothing else has, and let it run."""
    vcpus[0].vm.set_clock(1000 * NSEC_PER_SEC)
    for vcpu, tsc_offset in zip(vcpus, tsc_offsets, strict=True):
        vcpu.tsc_offset = tsc_offset
        vcpu.set_msr(MSR_IA32_TSC_ADJUST, 12345)
        vcpu.guest.enable_kvmclock()
    enter_all([*vcpus, *vcpus])


@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize(("first_offset", "second_offset"), OFFSETS)
def test_offsets_carry_the_tsc_over(
    kvm: Kvm[X86Vm], vm: X86Vm, vcpus: list[X86Vcpu], first_offset: int, second_offset: int
) -> None:
    """On one host the same offsets give the same TSCs, to the tick, however long the handover took."""
    furnish(vcpus, first_offset, second_offset)
    saved = save(vm, vcpus)
    readings = [vcpu.guest.read_tsc() for vcpu in vcpus]
    vm.time.sleep_ns(10 * NSEC_PER_MSEC)

    restored = restore(kvm, saved)

    assert tuple(vcpu.tsc_offset for vcpu in restored) == (first_offset, second_offset)
    for vcpu, reading in zip(restored, readings, strict=True):
        check_tsc_continues(vcpu, reading.value, since=reading.window)
        assert vcpu.get_msr(MSR_IA32_TSC_ADJUST) == 12345


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CLOCK: KVM_CLOCK_REALTIME")
def test_kvmclock_counts_the_handover(kvm: Kvm[X86Vm], vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """kvmclock restored with its CLOCK_REALTIME advances by all the time that passed, on every vCPU."""
    furnish(vcpus, 2**40, 2**40)
    saved = save(vm, vcpus)
    vm.time.sleep_ns(10 * NSEC_PER_MSEC)

    set_span, restored = restore_timed(kvm, saved)

    # Not from the reading alone: inside KVM_SET_CLOCK two clocks are read one after the other.
    blackout = set_span.since_realtime(saved.clock.realtime_ns)
    for vcpu in restored:
        vcpu.guest.enable_kvmclock()
        span, seen = spanned(vcpu.vm.time, vcpu.guest.read_kvmclock)
        elapsed = blackout.plus(set_span.until(span))
        assert seen.kvmclock_ns - saved.clock.kvmclock_ns in elapsed.widened(MARGIN_NS)


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
def test_restored_master_clock_is_on(kvm: Kvm[X86Vm], vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """A source with one TSC line becomes a destination with one: its master clock is on."""
    furnish(vcpus, 2**40, 2**40)

    restored = restore(kvm, save(vm, vcpus))

    assert flags_after_entry(*restored) == MASTER_CLOCK


def test_handover_may_be_repeated(kvm: Kvm[X86Vm], vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """Two VMs restored from one state, one after the other, have the same TSCs, to the tick."""
    furnish(vcpus, 2**40, 2**40)
    saved = save(vm, vcpus)

    first = restore(kvm, saved)
    vm.time.sleep_ns(5 * NSEC_PER_MSEC)
    second = restore(kvm, saved)

    before, seen, after = first[0].guest.read_tsc(), second[0].guest.read_tsc(), first[0].guest.read_tsc()
    assert seen.value in Window(before.value, after.value)
    assert [vcpu.tsc_offset for vcpu in first] == [vcpu.tsc_offset for vcpu in second]
