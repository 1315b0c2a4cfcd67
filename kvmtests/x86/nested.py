# SPDX-License-Identifier: GPL-2.0-only
"""What claims about guests that are hypervisors share: where TSCs lie, that they continue, and a move."""

from __future__ import annotations

from fixtures.counters import Window
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.x86.nested import Nested
from fixtures.uapi.x86.cpuid import LEAF_7_EBX_TSC_ADJUST
from kvmtests.x86.clocks import check_tsc_continues, continued, host_reading

L1_TSC = 2**45  # where L1's is put, or by how much it is moved
L2_OFFSET = 2**64 - 2**50
"""Far apart, and from 0: a reading shows which of them it has, or that it has both."""


def require_tsc_adjust(nested: Nested) -> None:
    """Skip unless the CPUID of L1 announces IA32_TSC_ADJUST."""
    if not nested.vcpu.guest.cpuid(7)[1] & LEAF_7_EBX_TSC_ADJUST:
        raise CapabilityMissing("X86_FEATURE_TSC_ADJUST")


def check_lines(nested: Nested, value: int, since: Window) -> None:
    """Fail unless L1's TSC, *value* in *since*, has gone on, for L1 and user space, and L2's next to it.

    The vCPU is in L1.
    """
    check_tsc_continues(nested.vcpu, value, since)
    seen = nested.run("tsc")
    assert seen.value in seen.window.shifted(nested.tsc_offset)


def check_in_l2(nested: Nested, value: int, since: Window) -> None:
    """Fail unless L1's TSC, *value* in *since*, has gone on for user space, and L2's next to it.

    The vCPU is in L2, and stays there.
    """
    by_host, by_l2 = host_reading(nested.vcpu), nested.again()
    assert by_host.value in continued(value, since, by_host.window)
    assert by_l2.value in continued(value, since, by_l2.window).shifted(nested.tsc_offset)


def hand_over(source: Nested, destination: Nested) -> None:
    """Give *destination* memory and state of *source*, which is in L2, except for the clocks."""
    hand_memory_over(source, destination)
    destination.restore_cpu(source)


def hand_memory_over(source: Nested, destination: Nested) -> None:
    """Give *destination* what *source*, which is in L2, has apart from the state of its vCPU."""
    source.vcpu.finish_exit()
    destination.vcpu.guest.load(source.PROGRAM)  # the program that it continues, from whichever place
    destination.vcpu.vm.memory[:] = source.vcpu.vm.memory
    destination.tsc_offset = source.tsc_offset


def hand_offset_over(source: Nested, destination: Nested) -> None:
    """Give *destination* the offset of *source*, on the same host."""
    destination.vcpu.tsc_offset = source.vcpu.tsc_offset
