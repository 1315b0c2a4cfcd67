# SPDX-License-Identifier: GPL-2.0-only
"""The VMX preemption timer by which a hypervisor in a guest, L1, ends a stay of its own guest, L2.

From the entry on it counts down whenever bit IA32_VMX_MISC[4:0] of L1's TSC changes, and at 0 it ends L2 with
exit reason 52. It is never early; how late it may be no text says. KVM emulates it by a timer of the host,
whatever the processor has. Source: Intel SDM 3C, "VMX-Preemption Timer"; 3D, appendix A.6;
arch/x86/kvm/vmx/nested.c: vmx_calc_preemption_timer_value(), vmx_start_preemption_timer().
"""

from __future__ import annotations

import pytest

from fixtures.counters import signed, wrap
from fixtures.kvm.system import Kvm
from fixtures.kvm.x86.nested import STILL_IN_L2
from fixtures.kvm.x86.nested_vmx import VmxNested
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import vmx
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC, MSR_IA32_VMX_MISC
from fixtures.uapi.x86.processor_flags import X86_EFLAGS_IF
from kvmtests.x86.nested import L1_TSC, L2_OFFSET, hand_memory_over

pytestmark = [
    pytest.mark.promise(architectural="Intel SDM 3C, VMX-Preemption Timer"),
    pytest.mark.thorough,
]

TICKS = 2**20
"""A third of a millisecond and more: hosts whose clock is steered by 500 ppm are still not early."""

MOST = 2**32 - 1  # that the timer can hold: more than a claim takes
MISC_RATE = 0x1F  # bits of MSR_IA32_VMX_MISC


@pytest.fixture
def nested(vcpu: X86Vcpu) -> VmxNested:
    """A hypervisor on vCPU 0, with a guest."""
    return VmxNested(vcpu)


def rate(nested: VmxNested) -> int:
    """Return which bit of L1's TSC the timer counts."""
    return nested.vcpu.get_msr(MSR_IA32_VMX_MISC) & MISC_RATE


def start_timer(nested: VmxNested, program: str, value: int) -> None:
    """Write the VMCS of an L2 that runs *program* until a timer of *value* ends it."""
    nested.require(
        vmx.PIN_BASED_VM_EXEC_CONTROL, vmx.PIN_BASED_VMX_PREEMPTION_TIMER, "PIN_BASED_VMX_PREEMPTION_TIMER"
    )
    nested.prepare(program)
    nested.fields[vmx.VMX_PREEMPTION_TIMER_VALUE] = value
    # An interrupt of the host ends L2 in any case, but Bochs holds it back while L2 has interrupts off.
    nested.fields[vmx.GUEST_RFLAGS] |= X86_EFLAGS_IF


def earliest_end(nested: VmxNested, value: int) -> int:
    """Return L1's TSC before which a timer of *value*, started by the last entry, must not end L2."""
    before, bit = nested.vcpu.guest.results(7)[6], rate(nested)
    return wrap(((before >> bit) + value) << bit)


def check_not_early(nested: VmxNested, ticks: int, ratio: int = 0) -> None:
    """Let L2 spin until a timer of *ticks* ends it, and fail if that is before them by L1's TSC.

    L2's TSC multiplier is *ratio*, unless that is 0.
    """
    value = ticks >> rate(nested)
    start_timer(nested, "spin", value)
    if ratio:
        nested.fields[vmx.TSC_MULTIPLIER] = ratio

    left_with = nested.vmrun()

    after = nested.vcpu.guest.results(8)[7]
    assert left_with == vmx.EXIT_REASON_PREEMPTION_TIMER
    assert signed(wrap(after - earliest_end(nested, value))) >= 0


@pytest.mark.parametrize(
    "ticks",
    [pytest.param(2**12, id="4096"), pytest.param(2**16, id="65536"), pytest.param(TICKS, id="a-million")],
)
@pytest.mark.parametrize("l1_tsc", [pytest.param(L1_TSC, id="ahead"), pytest.param(0, id="just-booted")])
def test_timer_ends_l2_and_is_not_early(nested: VmxNested, ticks: int, l1_tsc: int) -> None:
    """An L2 that never leaves is ended by the timer, not before L1's TSC has counted its ticks."""
    nested.vcpu.set_msr(MSR_IA32_TSC, l1_tsc)
    nested.tsc_offset = L2_OFFSET

    check_not_early(nested, ticks)


@pytest.mark.parametrize(
    "percent", [pytest.param(50, id="l1-half"), pytest.param(125, id="l1-a-quarter-more")]
)
def test_timer_counts_the_scaled_tsc_of_l1(vm: X86Vm, percent: int) -> None:
    """Where L1 has a frequency of its own, the timer counts ticks of that, not of the host's TSC."""
    vm.require(uapi.KVM_CAP_TSC_CONTROL)
    vm.tsc_khz = vm.tsc_khz * percent // 100

    check_not_early(VmxNested(vm.create_vcpu(0)), TICKS)


@pytest.mark.parametrize("ratio", [pytest.param(1 << 47, id="half"), pytest.param(3 << 48, id="three-times")])
def test_timer_does_not_count_the_tsc_of_l2(nested: VmxNested, ratio: int) -> None:
    """A TSC multiplier, which makes L2's TSC another one, does not make the timer early."""
    nested.require(
        vmx.SECONDARY_VM_EXEC_CONTROL, vmx.SECONDARY_EXEC_TSC_SCALING, "SECONDARY_EXEC_TSC_SCALING"
    )

    check_not_early(nested, TICKS, ratio)


def test_timer_of_zero_lets_l2_do_nothing(nested: VmxNested) -> None:
    """With a timer of 0 L2 leaves before its first instruction."""
    check_not_early(nested, TICKS)
    rounds = nested.vcpu.guest.results(1)[0]
    start_timer(nested, "spin", 0)

    left_with = nested.vmrun()

    assert left_with == vmx.EXIT_REASON_PREEMPTION_TIMER
    assert nested.vcpu.guest.results(1)[0] == rounds


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_NESTED_STATE")
@pytest.mark.usefixtures("stable_tsc")
def test_restored_timer_keeps_its_end(kvm: Kvm[X86Vm], nested: VmxNested) -> None:
    """A vCPU restored in L2 leaves L2 when L1's TSC reaches what the timer was started for, not from scratch.

    The timer is started for more than the claim takes, and L1's TSC set to little before its end.
    """
    destination, end = restored_before_the_end(kvm, nested, 2**27)

    left_with, l1_tsc = rounds_until_left(destination, end + 2**31)

    assert left_with == vmx.EXIT_REASON_PREEMPTION_TIMER
    assert signed(wrap(l1_tsc - end)) >= 0


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_NESTED_STATE")
@pytest.mark.usefixtures("stable_tsc")
def test_timer_that_ended_on_the_way_ends_l2(kvm: Kvm[X86Vm], nested: VmxNested) -> None:
    """A vCPU restored in L2 leaves L2 at once where L1's TSC passed the end of the timer meanwhile."""
    destination, _ = restored_before_the_end(kvm, nested, -L1_TSC)

    assert destination.resume() == vmx.EXIT_REASON_PREEMPTION_TIMER


def restored_before_the_end(kvm: Kvm[X86Vm], nested: VmxNested, left: int) -> tuple[VmxNested, int]:
    """Start L2 with a timer of `MOST`, and restore it in another VM, whose L1 is *left* ticks before its end.

    Return the hypervisor there, and L1's TSC before which the timer must not end L2.
    """
    start_timer(nested, "tsc", MOST)
    nested.stay()
    end = earliest_end(nested, MOST)
    destination = VmxNested(kvm.create_vm().create_vcpu(0))
    hand_memory_over(nested, destination)
    destination.vcpu.tsc_offset = wrap(end - left - destination.vcpu.vm.time.counter())
    destination.restore_cpu(nested)
    return destination, end


def rounds_until_left(nested: VmxNested, limit: int) -> tuple[int, int]:
    """Let L2, which reads its TSC and leaves to user space each round, run until L1 has control.

    Return the exit code, `STILL_IN_L2` if L1's TSC was beyond *limit* before that, and L1's TSC.
    """
    l1_tsc = 0
    while (exit_code := nested.resume()) == STILL_IN_L2:
        l1_tsc = nested.vcpu.guest.results(1)[0]
        if signed(wrap(l1_tsc - limit)) > 0:
            return exit_code, l1_tsc
    return exit_code, nested.vcpu.guest.results(8)[7]
