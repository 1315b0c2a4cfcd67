# SPDX-License-Identifier: GPL-2.0-only
"""kvmclock as the guest reads it from its pvclock record, against KVM_GET_CLOCK.

Source: arch/x86/kvm/x86.c: kvm_guest_time_update(); arch/x86/kernel/pvclock.c.
"""

from __future__ import annotations

import errno

import pytest

from fixtures.counters import NSEC_PER_SEC, Window, wrap
from fixtures.kvm.expect import refused
from fixtures.kvm.spans import spanned
from fixtures.kvm.values import ClockFlags
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import kvm_para, pvclock
from kvmtests.x86.clocks import MARGIN_NS

pytestmark = pytest.mark.promise(de_facto="Linux 5.10 to 7.3")

SYSTEM_TIME_MSRS = [
    pytest.param(kvm_para.MSR_KVM_SYSTEM_TIME_NEW, id="new-msr"),
    pytest.param(kvm_para.MSR_KVM_SYSTEM_TIME, id="legacy-msr"),
]


@pytest.fixture(autouse=True)
def kvmclock(vm: X86Vm) -> None:
    """KVM offers kvmclock."""
    vm.require(uapi.KVM_CAP_CLOCKSOURCE)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK: KVM_CLOCK_TSC_STABLE")
@pytest.mark.parametrize("msr", SYSTEM_TIME_MSRS)
@pytest.mark.parametrize(
    "kvmclock_ns", [pytest.param(0, id="zero"), pytest.param(180 * NSEC_PER_SEC, id="180s")]
)
def test_guest_reads_between_two_get_clocks(vm: X86Vm, vcpu: X86Vcpu, kvmclock_ns: int, msr: int) -> None:
    """What the guest reads lies between KVM_GET_CLOCK before and KVM_GET_CLOCK after."""
    vcpu.guest.enable_kvmclock(msr)
    vm.set_clock(kvmclock_ns)

    before, seen, after = vm.clock(), vcpu.guest.read_kvmclock(), vm.clock()

    assert seen.kvmclock_ns in Window(before.kvmclock_ns, after.kvmclock_ns)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CLOCK: KVM_CLOCK_REALTIME")
@pytest.mark.usefixtures("tsc_clocksource")
@pytest.mark.parametrize(
    "age_ns",
    [pytest.param(180 * NSEC_PER_SEC, id="180s-ago"), pytest.param(-180 * NSEC_PER_SEC, id="in-180s")],
)
def test_guest_follows_a_clock_set_by_realtime(vm: X86Vm, vcpu: X86Vcpu, age_ns: int) -> None:
    """The same after KVM_CLOCK_REALTIME in the past and future, with realtime and host_tsc reported."""
    vm.require_realtime()
    vcpu.guest.enable_kvmclock()
    vm.set_clock(0, realtime_ns=vm.time.realtime_ns() - age_ns)

    before, seen, after = vm.clock(), vcpu.guest.read_kvmclock(), vm.clock()

    assert seen.kvmclock_ns in Window(before.kvmclock_ns, after.kvmclock_ns)
    assert before.flags & after.flags & ClockFlags.REALTIME
    assert before.flags & after.flags & ClockFlags.HOST_TSC


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CLOCK")
def test_guest_sees_the_set_value(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """The guest reads the value that user space set plus the time since, by the host's own clock."""
    vcpu.guest.enable_kvmclock()
    set_span, _ = spanned(vm.time, lambda: vm.set_clock(1000 * NSEC_PER_SEC))

    read_span, seen = spanned(vm.time, vcpu.guest.read_kvmclock)

    assert seen.kvmclock_ns in set_span.until(read_span).shifted(1000 * NSEC_PER_SEC).widened(MARGIN_NS)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CLOCK")
def test_every_vcpu_sees_the_set_value(vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """KVM_SET_CLOCK reaches the records of all vCPUs."""
    for vcpu in vcpus:
        vcpu.guest.enable_kvmclock()
        vcpu.guest.read_kvmclock()
    set_span, _ = spanned(vm.time, lambda: vm.set_clock(1000 * NSEC_PER_SEC))

    readings = [spanned(vm.time, vcpu.guest.read_kvmclock) for vcpu in vcpus]

    for read_span, seen in readings:
        assert seen.kvmclock_ns in set_span.until(read_span).shifted(1000 * NSEC_PER_SEC).widened(MARGIN_NS)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK: KVM_CLOCK_TSC_STABLE")
@pytest.mark.usefixtures("tsc_clocksource")
def test_record_and_get_clock_agree_to_the_nanosecond(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Without TSC scaling, the record evaluated at KVM_GET_CLOCK's host_tsc is KVM_GET_CLOCK's clock."""
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_kvmclock()

    clock = vm.clock()

    guest_tsc = wrap(clock.host_tsc + vcpu.tsc_offset)
    assert vcpu.guest.pvclock().kvmclock_ns(guest_tsc) == clock.kvmclock_ns


@pytest.mark.usefixtures("tsc_clocksource")
def test_record_says_stable_with_the_master_clock(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """PVCLOCK_TSC_STABLE_BIT is set in the record when KVM_GET_CLOCK reports KVM_CLOCK_TSC_STABLE."""
    vcpu.guest.enable_kvmclock()

    vcpu.guest.read_kvmclock()

    assert vm.clock().flags & ClockFlags.TSC_STABLE
    assert vcpu.guest.pvclock().flags == pvclock.PVCLOCK_TSC_STABLE_BIT


@pytest.mark.usefixtures("tsc_clocksource")
@pytest.mark.parametrize(
    "kvmclock_ns", [pytest.param(0, id="zero"), pytest.param(180 * NSEC_PER_SEC, id="180s")]
)
def test_record_starts_at_the_set_value(vm: X86Vm, vcpu: X86Vcpu, kvmclock_ns: int) -> None:
    """The record's system_time is the clock that was set, to the nanosecond: both are of one snapshot."""
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_kvmclock()

    vm.set_clock(kvmclock_ns)

    vcpu.guest.read_kvmclock()
    assert vcpu.guest.pvclock().system_time_ns == kvmclock_ns


def test_record_is_refreshed_at_the_next_entry(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """KVM_SET_CLOCK leaves the record alone until the vCPU runs; its version is then larger, and even."""
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_tsc()
    old = vcpu.guest.pvclock()

    vm.set_clock(1000 * NSEC_PER_SEC)

    assert vcpu.guest.pvclock() == old
    vcpu.guest.read_tsc()
    new = vcpu.guest.pvclock()
    assert new.version > old.version
    assert new.version % 2 == 0
    assert new.system_time_ns >= 1000 * NSEC_PER_SEC


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW")
def test_disabled_record_is_not_written(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """After the guest has cleared the enable bit KVM leaves the record alone."""
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_kvmclock()
    vcpu.guest.disable_kvmclock()
    old = vcpu.guest.pvclock()

    vm.set_clock(1000 * NSEC_PER_SEC)
    vcpu.guest.read_tsc()

    assert vcpu.guest.pvclock() == old


@pytest.mark.promise(
    documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: tsc_to_system_mul"
)
def test_multiplier_maps_the_tsc_frequency_to_nanoseconds(vcpu: X86Vcpu) -> None:
    """tsc_to_system_mul and tsc_shift turn one second of TSC ticks into 10**9 ns, or one less."""
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_kvmclock()
    record = vcpu.guest.pvclock()

    one_second_later = wrap(record.tsc_timestamp + vcpu.tsc_khz * 1000)
    second_ns = record.kvmclock_ns(one_second_later) - record.system_time_ns

    assert second_ns in {NSEC_PER_SEC, NSEC_PER_SEC - 1}


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_WALL_CLOCK_NEW")
def test_wall_clock_is_realtime_less_kvmclock(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """The wall clock structure holds the CLOCK_REALTIME at which kvmclock was 0; its version is even."""
    vm.set_clock(1000 * NSEC_PER_SEC)
    before_ns, realtime_before = vm.clock().kvmclock_ns, vm.time.realtime_ns()

    wall_clock = vcpu.guest.write_wall_clock()

    realtime_after, after_ns = vm.time.realtime_ns(), vm.clock().kvmclock_ns
    assert wall_clock.epoch_ns in Window(realtime_before - after_ns, realtime_after - before_ns)
    assert wall_clock.version % 2 == 0


def test_stopped_flag_needs_a_record(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """KVM_KVMCLOCK_CTRL without a registered record is refused with EINVAL."""
    vm.require(uapi.KVM_CAP_KVMCLOCK_CTRL)

    with refused(errno.EINVAL):
        vcpu.kvmclock_ctrl()


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_KVMCLOCK_CTRL")
def test_stopped_flag_reaches_the_record(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """KVM_KVMCLOCK_CTRL sets PVCLOCK_GUEST_STOPPED in the record at the next entry."""
    vm.require(uapi.KVM_CAP_KVMCLOCK_CTRL)
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_kvmclock()

    vcpu.kvmclock_ctrl()
    vcpu.guest.read_kvmclock()

    assert vcpu.guest.pvclock().flags & pvclock.PVCLOCK_GUEST_STOPPED
