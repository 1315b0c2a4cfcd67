# SPDX-License-Identifier: GPL-2.0-only
"""A guest's counters moved to another host, by offset and by value, series and upstream.

Source: docs/migration.md; series v3, Documentation/virt/kvm/devices/vcpu.rst, 2; api.rst,
KVM_ARM_SET_COUNTER_OFFSET.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from fixtures.counters import NSEC_PER_SEC, Window, wrap
from fixtures.host_pair import HostDifference, HostPair, TwoHosts
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.system import Kvm
from fixtures.kvm.values import Reading
from fixtures.migration.arm64 import counters
from fixtures.migration.arm64.counters import Bracket
from fixtures.migration.ticks import ticks_at_hz
from fixtures.uapi.arm64 import kvm as kvm_arm64

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_ARM_SET_COUNTER_OFFSET"),
    pytest.mark.thorough,
]

Read = Callable[[Arm64Vcpu], Reading]

TIMER_CNT = kvm_arm64.KVM_REG_ARM_TIMER_CNT
PTIMER_CNT = kvm_arm64.KVM_REG_ARM_PTIMER_CNT
SYNCHRONISATION_NS = 3_000_000

MOVES = [
    pytest.param(HostDifference(), 0, id="same-counter-at-once"),
    pytest.param(HostDifference(counter=5), 4 * NSEC_PER_SEC, id="just-booted-4s"),
    pytest.param(HostDifference(counter=2**63 + 1), 3600 * NSEC_PER_SEC, id="counter-far-ahead-1h"),
    pytest.param(
        HostDifference(counter=2**64 - 250), 7800 * NSEC_PER_SEC, id="counter-about-to-wrap-2h10min"
    ),
    pytest.param(HostDifference(counter=5), 40 * 86400 * NSEC_PER_SEC, id="just-booted-40-days"),
    pytest.param(
        HostDifference(counter=5, synchronisation_ns=SYNCHRONISATION_NS), 4 * NSEC_PER_SEC, id="3ms-ahead"
    ),
    pytest.param(
        HostDifference(counter=5, synchronisation_ns=-SYNCHRONISATION_NS), 4 * NSEC_PER_SEC, id="3ms-behind"
    ),
    pytest.param(
        HostDifference(counter=5, synchronisation_ns=-5 * NSEC_PER_SEC),
        4 * NSEC_PER_SEC,
        id="stepped-5s-back",
    ),
    pytest.param(HostDifference(counter=5, leap_seconds=1), 4 * NSEC_PER_SEC, id="leap-second"),
]


def new_vm(kvm: Kvm[Arm64Vm]) -> Arm64Vm:
    """Return a new VM without vCPUs."""
    return kvm.create_vm()


def bracketed(vm: Arm64Vm, count: Callable[[], int]) -> Bracket:
    """Return what *count* returns with CLOCK_REALTIME around it, the tightest of several."""
    time = vm.time
    return counters.tightest(Bracket(time.realtime_ns(), count(), time.realtime_ns()) for _ in range(5))


def frequency_hz(vcpu: Arm64Vcpu) -> int:
    """Return CNTFRQ_EL0 as the guest reads it."""
    return vcpu.guest.read_cntfrq()


def check_restored(vcpu: Arm64Vcpu, read: Read, source: Bracket, arrived: Bracket) -> None:
    """Fail unless the guest's counter continues from *source* by CLOCK_REALTIME, within the bound.

    That is true time, except for the difference of the hosts' clocks.
    """
    hz = frequency_hz(vcpu)
    clock = vcpu.vm.time
    first_ns = clock.realtime_ns()
    value = read(vcpu).value
    last_ns = clock.realtime_ns()
    first, last = (counters.count_now(source, at_ns, hz) for at_ns in (first_ns, last_ns))
    expected = Window(first, last, vcpu.vm.counter_bits)
    bound = counters.bound_ticks(source, arrived, hz)
    assert value in expected.widened(bound)


def cntvct(vcpu: Arm64Vcpu) -> Reading:
    """Read the virtual counter."""
    return vcpu.guest.read_cntvct()


def cntpct(vcpu: Arm64Vcpu) -> Reading:
    """Read the physical counter."""
    return vcpu.guest.read_cntpct()


def upstream_guest(hosts: HostPair[Arm64Vm]) -> tuple[Arm64Vm, Arm64Vcpu]:
    """Return a guest whose counters started at 0 a second ago."""
    vm = new_vm(hosts.source)
    vm.require_counter_offset()
    vcpu = vm.create_vcpu(0)
    vm.set_counter_offset(vm.time.counter())
    vm.time.sleep_ns(NSEC_PER_SEC)
    return vm, vcpu


def upstream_restore(
    hosts: HostPair[Arm64Vm], guest: Bracket, hz: int, blackout_ns: int
) -> tuple[Arm64Vm, Bracket]:
    """Return a VM with two vCPUs on the destination that continues from *guest*, and the host's bracket."""
    moved = new_vm(hosts.arrive(blackout_ns))
    moved.create_vcpu(0)
    moved.create_vcpu(1)
    arrived = bracketed(moved, moved.time.counter)
    moved.set_counter_offset(counters.counter_offset(guest, arrived, hz))
    return moved, arrived


@pytest.mark.generation("upstream")
@pytest.mark.parametrize(("difference", "blackout_ns"), MOVES)
def test_virtual_counter_continues(
    two_hosts: TwoHosts[Arm64Vm], difference: HostDifference, blackout_ns: int
) -> None:
    """Restored with KVM_ARM_SET_COUNTER_OFFSET, CNTVCT_EL0 continues within the documented bound."""
    hosts = two_hosts(difference)
    vm, vcpu = upstream_guest(hosts)
    source = bracketed(vm, lambda: vcpu.get_reg(TIMER_CNT))

    moved, arrived = upstream_restore(hosts, source, frequency_hz(vcpu), blackout_ns)

    for one in moved.vcpus:
        check_restored(one, cntvct, source, arrived)


@pytest.mark.generation("upstream")
@pytest.mark.mode("vhe", "nvhe")
@pytest.mark.parametrize(("difference", "blackout_ns"), MOVES)
def test_physical_counter_continues(
    two_hosts: TwoHosts[Arm64Vm], difference: HostDifference, blackout_ns: int
) -> None:
    """The same offset restores CNTPCT_EL0 if both counters were equal on the source."""
    hosts = two_hosts(difference)
    vm, vcpu = upstream_guest(hosts)
    source = bracketed(vm, lambda: vcpu.get_reg(PTIMER_CNT))
    virtual = bracketed(vm, lambda: vcpu.get_reg(TIMER_CNT))
    assert counters.views_agree(virtual, source, frequency_hz(vcpu))

    moved, arrived = upstream_restore(hosts, source, frequency_hz(vcpu), blackout_ns)

    for one in moved.vcpus:
        check_restored(one, cntpct, source, arrived)


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
@pytest.mark.generation("upstream")
def test_default_views_need_values(two_hosts: TwoHosts[Arm64Vm]) -> None:
    """A VM with default offsets has two views, which writing both registers by value preserves."""
    hosts = two_hosts(HostDifference(counter=5))
    vm = new_vm(hosts.source)
    vm.require_counter_offset()
    vcpu = vm.create_vcpu(0)
    hz = frequency_hz(vcpu)
    virtual = bracketed(vm, lambda: vcpu.get_reg(TIMER_CNT))
    physical = bracketed(vm, lambda: vcpu.get_reg(PTIMER_CNT))
    assert not counters.views_agree(virtual, physical, hz)

    heir = new_vm(hosts.arrive(4 * NSEC_PER_SEC)).create_vcpu(0)
    for register, saved in ((TIMER_CNT, virtual), (PTIMER_CNT, physical)):
        heir.set_reg(register, counters.count_now(saved, heir.vm.time.realtime_ns(), hz))

    aged = ticks_at_hz(10_000, hz)  # the time between each computation and its write is lost
    for register, saved in ((TIMER_CNT, virtual), (PTIMER_CNT, physical)):
        now = bracketed(heir.vm, partial(heir.get_reg, register))
        ideal = counters.count_now(saved, now.realtime_ns, hz)
        expected = Window(wrap(ideal - aged), ideal, heir.vm.counter_bits)
        assert now.count in expected.widened(counters.bound_ticks(saved, now, hz))


@pytest.mark.promise(
    documented="the series of July 2021, Documentation/virt/kvm/devices/vcpu.rst, KVM_ARM_VCPU_TIMER_CTRL"
)
@pytest.mark.generation("series")
@pytest.mark.parametrize(("difference", "blackout_ns"), MOVES)
def test_series_offsets_restore_both_counters(
    two_hosts: TwoHosts[Arm64Vm], difference: HostDifference, blackout_ns: int
) -> None:
    """Each counter continues by its own offset within the documented bound, on every vCPU."""
    hosts = two_hosts(difference)
    vm = new_vm(hosts.source)
    vcpu = vm.create_vcpu(0)
    vcpu.require_series_offsets()
    vcpu.physical_offset = 2**64 - 180 * NSEC_PER_SEC
    hz = frequency_hz(vcpu)
    saved = {cntvct: vcpu.virtual_offset, cntpct: vcpu.physical_offset}
    left = bracketed(vm, vm.time.counter)

    moved = new_vm(hosts.arrive(blackout_ns))
    heirs = [moved.create_vcpu(number) for number in range(2)]
    arrived = bracketed(moved, moved.time.counter)
    heirs[0].virtual_offset = counters.series_offset(saved[cntvct], left, arrived, hz)
    heirs[0].physical_offset = counters.series_offset(saved[cntpct], left, arrived, hz)

    for read, offset in saved.items():
        source = Bracket(left.before_ns, wrap(left.count - offset), left.after_ns)
        for heir in heirs:
            check_restored(heir, read, source, arrived)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_value_loses_the_blackout(two_hosts: TwoHosts[Arm64Vm]) -> None:
    """With KVM_REG_ARM_TIMER_CNT written back as it was, the counter has stood still meanwhile."""
    hosts = two_hosts(HostDifference(counter=5))
    source = new_vm(hosts.source).create_vcpu(0)
    source.vm.time.sleep_ns(NSEC_PER_SEC)
    saved = source.get_reg(TIMER_CNT)

    heir = new_vm(hosts.arrive(3600 * NSEC_PER_SEC)).create_vcpu(0)
    heir.set_reg(TIMER_CNT, saved)

    hz = frequency_hz(heir)
    assert heir.guest.read_cntvct().value in Window(saved, saved + ticks_at_hz(200_000, hz))


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
@pytest.mark.generation("upstream")
def test_last_value_wins_for_all_vcpus(two_hosts: TwoHosts[Arm64Vm]) -> None:
    """Restoring each vCPU's value in turn leaves all with the age of the last one."""
    hosts = two_hosts(HostDifference(counter=5))
    source = new_vm(hosts.source).create_vcpu(0)
    saved = source.get_reg(TIMER_CNT)
    moved = new_vm(hosts.arrive(4 * NSEC_PER_SEC))
    heirs = [moved.create_vcpu(number) for number in range(3)]

    for heir in heirs:
        heir.set_reg(TIMER_CNT, saved)
        before = moved.time.counter()
        moved.time.sleep_ns(1_000_000)

    margin = ticks_at_hz(10_000, frequency_hz(heirs[0]))
    for heir in heirs:
        reading = heir.guest.read_cntvct()
        assert reading.value in reading.since(before, before).shifted(saved).widened(margin)
