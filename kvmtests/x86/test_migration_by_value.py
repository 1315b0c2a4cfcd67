# SPDX-License-Identifier: GPL-2.0-only
"""A guest moved with the values of its TSCs: each known error, at its documented size."""

from __future__ import annotations

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC, Window, bracket, signed
from fixtures.host_pair import HostDifference, TwoHosts
from fixtures.kvm.system import Kvm
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.migration import by_value
from fixtures.migration.ticks import ticks_at_hz
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC, MSR_IA32_TSC_ADJUST
from kvmtests.x86.moves import new_guest, new_vm, places, require_offsets

pytestmark = [pytest.mark.promise(de_facto="Linux 5.10 to 7.3"), pytest.mark.thorough]


RUNNING_NS = 200_000  # ioctls and guest entries around the moment of interest


def saved_values(vcpus: list[X86Vcpu]) -> tuple[int, ...]:
    """Return IA32_TSC of each vCPU, one after the other."""
    return tuple(vcpu.get_msr(MSR_IA32_TSC) for vcpu in vcpus)


@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize(
    "blackout_ns",
    [pytest.param(4 * NSEC_PER_SEC, id="4s"), pytest.param(40 * 86400 * NSEC_PER_SEC, id="40-days")],
)
def test_blackout_is_lost(two_hosts: TwoHosts[X86Vm], blackout_ns: int) -> None:
    """Written back as it was, the TSC stands still for the whole blackout."""
    hosts = two_hosts(HostDifference(counter=5))
    guest = new_guest(hosts.source, vcpus=1)
    (old,) = places(guest)
    values = saved_values(guest.vcpus)

    vcpu = new_vm(hosts.arrive(blackout_ns)).create_vcpu(0)
    vcpu.set_msr(MSR_IA32_TSC, by_value.values(values, 0, hosts.source_hz)[0])

    lost_ticks = ticks_at_hz(RUNNING_NS, hosts.source_hz)
    assert vcpu.guest.read_tsc().value - old.tsc in Window(0, lost_ticks)


@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize(
    "delay_ns",
    [
        pytest.param(0, id="at-once"),
        pytest.param(NSEC_PER_MSEC, id="1ms"),
        pytest.param(10 * NSEC_PER_MSEC, id="10ms"),
    ],
)
def test_delay_before_the_write_is_lost(two_hosts: TwoHosts[X86Vm], delay_ns: int) -> None:
    """Even with an exact estimate of the blackout the TSC is late by as much as the VMM is late."""
    hosts = two_hosts(HostDifference(counter=5))
    guest = new_guest(hosts.source, vcpus=1)
    saved_ns = hosts.source_true_ns()
    values = saved_values(guest.vcpus)
    vcpu = new_vm(hosts.arrive(4 * NSEC_PER_SEC)).create_vcpu(0)
    passed_ns = hosts.destination_true_ns() - saved_ns

    (value,) = by_value.values(values, passed_ns, hosts.source_hz)
    vcpu.vm.time.sleep_ns(delay_ns)
    vcpu.set_msr(MSR_IA32_TSC, value)

    seen = vcpu.guest.read_tsc().value
    ideal = values[0] + ticks_at_hz(hosts.destination_true_ns() - saved_ns, hosts.source_hz)
    late = ticks_at_hz(delay_ns, hosts.source_hz)
    assert ideal - seen in Window(late, late + ticks_at_hz(RUNNING_NS, hosts.source_hz))


def test_skew_below_a_second_is_flattened(kvm: Kvm[X86Vm], vcpu: X86Vcpu) -> None:
    """Values less than a second apart are taken for attempts at the same value: the skew is lost."""
    require_offsets(vcpu)
    guest = new_guest(kvm, uptime_ns=NSEC_PER_MSEC)
    guest.vcpus[1].guest.wrmsr(MSR_IA32_TSC_ADJUST, 2**64 - 12345)
    first, second = guest.vcpus
    assert signed(second.tsc_offset - first.tsc_offset) == -12345

    values = saved_values([first, second])
    moved = new_vm(kvm)
    vcpus = [moved.create_vcpu(number) for number in range(2)]
    for one, value in zip(vcpus, values, strict=True):
        one.set_msr(MSR_IA32_TSC, value)

    assert vcpus[0].tsc_offset == vcpus[1].tsc_offset


def test_value_ages_between_read_and_write(kvm: Kvm[X86Vm], vcpu: X86Vcpu) -> None:
    """On one host the TSC falls behind its line by the time between reading and writing it."""
    require_offsets(vcpu)
    # A value that is discarded is then off by much more than the time between reading and writing.
    (first,) = new_guest(kvm, vcpus=1, uptime_ns=100 * NSEC_PER_MSEC).vcpus
    heir = new_vm(kvm).create_vcpu(0)

    read_from, value, read_until = bracket(heir.vm.time.counter, lambda: first.get_msr(MSR_IA32_TSC))
    heir.vm.time.sleep_ns(NSEC_PER_MSEC)
    before, _, after = bracket(heir.vm.time.counter, lambda: heir.set_msr(MSR_IA32_TSC, value))

    aged = Window(before - read_until, after - read_from)
    assert signed(first.tsc_offset - heir.tsc_offset) in aged
