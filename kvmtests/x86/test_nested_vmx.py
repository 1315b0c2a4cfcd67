# SPDX-License-Identifier: GPL-2.0-only
"""A guest that is a hypervisor by Intel's VMX: failed entries, TSC multiplier, exits on RDTSC.

Source: Intel SDM 3C, "Changes to Instruction Behavior in VMX Non-Root Operation" and the chapter "VM
Entries"; arch/x86/kvm/vmx/nested.c. What both vendors have: test_nested.py.
"""

from __future__ import annotations

import pytest

from fixtures.counters import Window, signed, wrap
from fixtures.kvm.x86.nested_vmx import NO_ENTRY, VmxNested
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import vmx
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC, MSR_IA32_TSC_ADJUST
from kvmtests.windows import timed
from kvmtests.x86.clocks import continued, host_reading
from kvmtests.x86.nested import L1_TSC, L2_OFFSET, check_lines, require_tsc_adjust

pytestmark = [
    pytest.mark.promise(
        architectural="Intel SDM 3C, Changes to Instruction Behavior in VMX Non-Root Operation"
    ),
    pytest.mark.thorough,
]

RATIO_FRACTION_BITS = 48
RATIOS = [
    pytest.param(1 << 47, id="half"),
    pytest.param(5 << 46, id="a-quarter-more"),
    pytest.param(3 << 48, id="three-times"),
]
FAILED_STATE = vmx.VMX_EXIT_REASONS_FAILED_VMENTRY | vmx.EXIT_REASON_INVALID_STATE


@pytest.fixture
def nested(vcpu: X86Vcpu) -> VmxNested:
    """A hypervisor on vCPU 0, with a guest."""
    return VmxNested(vcpu)


def scale_l2(nested: VmxNested, ratio: int) -> None:
    """Write the VMCS of an L2 that reads its TSC, scaled by *ratio*."""
    nested.require(
        vmx.SECONDARY_VM_EXEC_CONTROL, vmx.SECONDARY_EXEC_TSC_SCALING, "SECONDARY_EXEC_TSC_SCALING"
    )
    nested.prepare("tsc")
    nested.fields[vmx.TSC_MULTIPLIER] = ratio


def check_scaled(nested: VmxNested, ratio: int) -> None:
    """Let L2 read its TSC, and fail unless it is (L1's TSC * ratio >> 48) + offset.

    KVM multiplies both ratios and offsets beforehand and cuts off twice: two ticks.
    """
    assert nested.vmrun() == nested.OUT_EXIT

    before, after = nested.vcpu.guest.results(8)[6:]
    first, last = (tsc * ratio >> RATIO_FRACTION_BITS for tsc in (before, after))
    value = nested.vcpu.guest.results(1)[0]
    assert value in Window(wrap(first), wrap(last)).shifted(nested.tsc_offset).widened(2)


@pytest.mark.promise(architectural="Intel SDM 3C, VM-Entry Failures During or After Loading Guest State")
@pytest.mark.usefixtures("stable_tsc")
@pytest.mark.parametrize(
    ("field", "value", "exit_code", "error"),
    [
        # Found at once, found when the rest of L2's state is loaded, and not even an exit.
        pytest.param(vmx.VMCS_LINK_POINTER, 1, FAILED_STATE, 0, id="link-pointer"),
        pytest.param(vmx.GUEST_CR3, 2**64 - 1, FAILED_STATE, 0, id="cr3"),
        pytest.param(
            vmx.PIN_BASED_VM_EXEC_CONTROL, 0, NO_ENTRY, vmx.VMXERR_ENTRY_INVALID_CONTROL_FIELD, id="controls"
        ),
    ],
)
def test_failed_entry_changes_nothing(
    nested: VmxNested, field: int, value: int, exit_code: int, error: int
) -> None:
    """A VMLAUNCH that the VMCS makes fail leaves L1's TSC and TSC_ADJUST where L1 and L2 had put them."""
    require_tsc_adjust(nested)
    vcpu = nested.vcpu
    nested.tsc_offset = L2_OFFSET
    lowered = wrap(vcpu.guest.read_tsc().value - 2**32)
    vcpu.guest.wrmsr(MSR_IA32_TSC, lowered)
    by_l1 = vcpu.get_msr(MSR_IA32_TSC_ADJUST)
    written, _ = timed(vcpu.vm, lambda: nested.run("wrmsr", MSR_IA32_TSC, wrap(lowered - 2**32)))
    by_l2 = vcpu.get_msr(MSR_IA32_TSC_ADJUST)

    nested.prepare("tsc")
    nested.fields[field] = value
    left_with = nested.vmrun()

    assert (left_with, nested.instruction_error) == (exit_code, error)
    assert signed(by_l1) <= -(2**32)
    assert signed(by_l2) <= -2 * 2**32
    assert vcpu.get_msr(MSR_IA32_TSC_ADJUST) == by_l2
    check_lines(nested, wrap(lowered - 2**32), written)


@pytest.mark.promise(architectural="Intel SDM 3C, Processor-Based VM-Execution Controls: use TSC offsetting")
def test_offset_is_a_control(nested: VmxNested) -> None:
    """Without "use TSC offsetting" L2 reads L1's TSC, whatever offset the VMCS has."""
    nested.vcpu.set_msr(MSR_IA32_TSC, L1_TSC)
    nested.controls[vmx.CPU_BASED_VM_EXEC_CONTROL] &= ~vmx.CPU_BASED_USE_TSC_OFFSETTING
    nested.tsc_offset = L2_OFFSET

    seen = nested.run("tsc")

    assert seen.value in seen.window


@pytest.mark.usefixtures("stable_tsc")
@pytest.mark.parametrize(
    ("program", "exit_code"),
    [
        pytest.param("tsc", vmx.EXIT_REASON_RDTSC, id="rdtsc"),
        pytest.param("rdtscp", vmx.EXIT_REASON_RDTSCP, id="rdtscp"),
    ],
)
def test_reading_may_leave_to_l1(nested: VmxNested, program: str, exit_code: int) -> None:
    """With "RDTSC exiting" L2's reading is an exit to L1, and all TSCs continue."""
    start = nested.vcpu.guest.read_tsc()
    nested.require(vmx.CPU_BASED_VM_EXEC_CONTROL, vmx.CPU_BASED_RDTSC_EXITING, "CPU_BASED_RDTSC_EXITING")
    nested.prepare(program)

    left_with = nested.vmrun()

    assert left_with == exit_code
    nested.controls[vmx.CPU_BASED_VM_EXEC_CONTROL] &= ~vmx.CPU_BASED_RDTSC_EXITING
    check_lines(nested, start.value, since=start.window)


@pytest.mark.promise(architectural="Intel SDM 3C, Time-Stamp Counter Offset and Multiplier")
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("l1_tsc", [pytest.param(L1_TSC, id="ahead"), pytest.param(0, id="just-booted")])
def test_l2_reads_the_scaled_tsc(nested: VmxNested, ratio: int, l1_tsc: int) -> None:
    """With a TSC multiplier RDTSC of L2 is (L1's TSC * ratio >> 48) + L2's offset."""
    nested.vcpu.set_msr(MSR_IA32_TSC, l1_tsc)
    nested.tsc_offset = L2_OFFSET

    scale_l2(nested, ratio)

    check_scaled(nested, ratio)


@pytest.mark.promise(architectural="Intel SDM 3C, Time-Stamp Counter Offset and Multiplier")
@pytest.mark.parametrize("ratio", RATIOS)
def test_l1s_tsc_is_multiplied_without_a_sign(nested: VmxNested, ratio: int) -> None:
    """L2's TSC is L1's, all 64 bits of it, times the ratio: also where L1's is beyond 2**63."""
    nested.vcpu.set_msr(MSR_IA32_TSC, 2**64 - 2**45)
    nested.tsc_offset = L2_OFFSET

    scale_l2(nested, ratio)

    check_scaled(nested, ratio)


@pytest.mark.promise(architectural="Intel SDM 3C, Time-Stamp Counter Offset and Multiplier")
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize(
    "percent", [pytest.param(50, id="l1-half"), pytest.param(125, id="l1-a-quarter-more")]
)
def test_ratios_multiply(vm: X86Vm, ratio: int, percent: int) -> None:
    """L2 of an L1 that is scaled itself counts at the host's frequency times both ratios."""
    vm.require(uapi.KVM_CAP_TSC_CONTROL)
    vm.tsc_khz = vm.tsc_khz * percent // 100
    nested = VmxNested(vm.create_vcpu(0))
    nested.tsc_offset = L2_OFFSET

    scale_l2(nested, ratio)

    check_scaled(nested, ratio)


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.usefixtures("stable_tsc")
@pytest.mark.parametrize("ratio", RATIOS)
def test_user_space_reads_l1s_tsc_unscaled(nested: VmxNested, ratio: int) -> None:
    """While the vCPU is in an L2 with a multiplier, IA32_TSC and KVM_VCPU_TSC_OFFSET are L1's."""
    nested.vcpu.tsc_offset = L1_TSC
    start = nested.vcpu.guest.read_tsc()
    nested.tsc_offset = L2_OFFSET
    scale_l2(nested, ratio)

    nested.stay()

    seen = host_reading(nested.vcpu)
    assert seen.value in continued(start.value, start.window, seen.window)
    assert nested.vcpu.tsc_offset == L1_TSC
    nested.leave()
    assert nested.vcpu.tsc_offset == L1_TSC
