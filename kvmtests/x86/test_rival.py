# SPDX-License-Identifier: GPL-2.0-only
"""vCPUs that share a CPU with a rival, and vCPUs that change CPU: their clocks are those of a quiet host.

KVM reads a clock here and the TSC there; a rival takes the CPU in between, and a move may bring another TSC.
"""

from __future__ import annotations

import pytest

from fixtures.counters import OutsideWindow, wrap
from fixtures.kvm.cpus import pin
from fixtures.kvm.x86.vcpu import X86Vcpu
from kvmtests.x86.clocks import enter_all

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("tsc_clocksource", "stable_tsc")]

ROUNDS = 100


@pytest.fixture
def clocked(vcpu: X86Vcpu) -> X86Vcpu:
    """A vCPU whose guest has kvmclock."""
    vcpu.guest.enable_kvmclock()
    enter_all([vcpu, vcpu])
    return vcpu


def check_pair(vcpu: X86Vcpu) -> None:
    """Fail unless the record gives KVM_GET_CLOCK's clock for its host_tsc, to the nanosecond."""
    clock = vcpu.vm.clock()
    assert vcpu.guest.pvclock().kvmclock_ns(wrap(clock.host_tsc + vcpu.tsc_offset)) == clock.kvmclock_ns


def check_line(vcpu: X86Vcpu, offset: int) -> None:
    """Fail unless the guest's TSC is the host's and *offset*."""
    reading = vcpu.guest.read_tsc()
    expected = reading.window.shifted(offset)
    if reading.value not in expected:
        raise OutsideWindow("the guest's TSC", reading.value, expected)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK: KVM_CLOCK_TSC_STABLE")
@pytest.mark.usefixtures("rival")
def test_record_and_get_clock_agree_next_to_a_rival(clocked: X86Vcpu) -> None:
    """Record and KVM_GET_CLOCK give one clock each time, however often the CPU is taken away in between."""
    for _ in range(ROUNDS):
        check_pair(clocked)
        clocked.guest.read_kvmclock()


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK: KVM_CLOCK_TSC_STABLE")
def test_record_and_get_clock_agree_on_each_cpu(clocked: X86Vcpu, cpus: list[int]) -> None:
    """Record and KVM_GET_CLOCK give one clock, whichever CPU the vCPU is entered on and asked about."""
    for number in range(ROUNDS):
        pin(cpus, number)
        clocked.guest.read_kvmclock()
        pin(cpus, number + number // 2)
        check_pair(clocked)


@pytest.mark.promise(documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_OFFSET")
@pytest.mark.usefixtures("rival")
def test_tsc_keeps_its_line_next_to_a_rival(clocked: X86Vcpu) -> None:
    """The guest reads host_tsc + tsc_offset while a rival takes its CPU away, and the offset stays."""
    offset = clocked.tsc_offset

    for _ in range(ROUNDS):
        check_line(clocked, offset)

    assert clocked.tsc_offset == offset


@pytest.mark.promise(documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_OFFSET")
def test_tsc_keeps_its_line_on_each_cpu(clocked: X86Vcpu, cpus: list[int]) -> None:
    """The guest reads host_tsc + tsc_offset on each CPU that the vCPU is moved to, and the offset stays."""
    offset = clocked.tsc_offset

    for number in range(ROUNDS):
        pin(cpus, number)
        check_line(clocked, offset)

    assert clocked.tsc_offset == offset
