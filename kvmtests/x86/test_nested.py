# SPDX-License-Identifier: GPL-2.0-only
"""The TSC of a guest that is a hypervisor, by AMD's SVM or Intel's VMX, L1, and of that guest's guest, L2.

L2's TSC is L1's plus the offset that L1 chose, and user space always reads and writes L1's, whichever of
the two the vCPU ran last. What only one vendor has: test_nested_svm.py, test_nested_vmx.py. Source: AMD
APM 2, "TSC Ratio MSR"; Intel SDM 3C, "Changes to Instruction Behavior in VMX Non-Root Operation";
arch/x86/kvm/x86.c: kvm_calc_nested_tsc_offset(), kvm_get_msr_common().
"""

from __future__ import annotations

import pytest

from fixtures.counters import Window, wrap
from fixtures.kvm.system import Kvm
from fixtures.kvm.x86.nested import Nested
from fixtures.kvm.x86.nested_vmx import hypervisor
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC, MSR_IA32_TSC_ADJUST
from kvmtests.tables import OFFSETS
from kvmtests.windows import timed
from kvmtests.x86.clocks import check_tsc_continues, continued
from kvmtests.x86.nested import (
    L1_TSC,
    L2_OFFSET,
    check_in_l2,
    check_lines,
    hand_offset_over,
    hand_over,
    require_tsc_adjust,
)

pytestmark = [pytest.mark.promise(de_facto="Linux 6.1 to 7.3"), pytest.mark.thorough]

ORDERS = [
    pytest.param(("state", "offset"), id="offset-last"),
    pytest.param(("offset", "state"), id="offset-first"),
]


@pytest.fixture
def nested(vcpu: X86Vcpu) -> Nested:
    """A hypervisor on vCPU 0, with a guest."""
    return hypervisor(vcpu)


@pytest.fixture
def tsc_adjust(nested: Nested) -> None:
    """The CPUID of L1 announces IA32_TSC_ADJUST."""
    require_tsc_adjust(nested)


@pytest.mark.promise(
    architectural="Intel SDM 3C, Time-Stamp Counter Offset and Multiplier; AMD APM 2, VMCB: TSC_OFFSET"
)
@pytest.mark.parametrize("tsc_offset", OFFSETS)
def test_l2_reads_l1s_tsc_plus_offset(nested: Nested, tsc_offset: int) -> None:
    """RDTSC of L2 is L1's TSC, which differs from the host's, + the offset that L1 gave, modulo 2**64."""
    nested.vcpu.set_msr(MSR_IA32_TSC, L1_TSC)
    nested.tsc_offset = tsc_offset

    seen = nested.run("tsc")

    assert seen.value in seen.window.shifted(tsc_offset)


@pytest.mark.promise(
    architectural="Intel SDM 3C, Time-Stamp Counter Offset and Multiplier; AMD APM 2, VMCB: TSC_OFFSET"
)
def test_l2_reads_its_tsc_by_rdtscp(nested: Nested) -> None:
    """RDTSCP, which L1 does not intercept, gives L2 the TSC of L2 as RDTSC does."""
    nested.tsc_offset = L2_OFFSET

    seen = nested.run("rdtscp")

    assert seen.value in seen.window.shifted(L2_OFFSET)


@pytest.mark.promise(
    architectural="Intel SDM 3C, Time-Stamp Counter Offset and Multiplier; AMD APM 2, VMCB: TSC_OFFSET"
)
def test_l2_reads_the_msr_as_the_instruction(nested: Nested) -> None:
    """RDMSR of IA32_TSC, which L1 does not intercept, gives L2 the TSC of L2."""
    nested.tsc_offset = L2_OFFSET

    seen = nested.run("rdmsr", MSR_IA32_TSC)

    assert seen.value in seen.window.shifted(L2_OFFSET)


@pytest.mark.promise(
    architectural="Intel SDM 3C, Time-Stamp Counter Offset and Multiplier; AMD APM 2, VMCB: TSC_OFFSET"
)
@pytest.mark.usefixtures("stable_tsc")
def test_l2_leaves_l1s_tsc_alone(nested: Nested) -> None:
    """Running L2 moves neither IA32_TSC_ADJUST nor L1's TSC, between L1's own readings and after them."""
    vcpu = nested.vcpu
    nested.tsc_offset = L2_OFFSET
    start, adjust = vcpu.guest.read_tsc(), vcpu.get_msr(MSR_IA32_TSC_ADJUST)

    spent, seen = timed(vcpu.vm, lambda: nested.run("tsc"))

    l1_tsc = continued(start.value, since=start.window, now=spent)
    assert seen.before in l1_tsc
    assert seen.after in l1_tsc
    assert vcpu.get_msr(MSR_IA32_TSC_ADJUST) == adjust
    check_tsc_continues(vcpu, start.value, since=start.window)


@pytest.mark.usefixtures("stable_tsc")
def test_user_space_reads_l1s_tsc(nested: Nested) -> None:
    """While the vCPU is in L2, KVM_GET_MSRS of IA32_TSC is what L1 would read."""
    start = nested.vcpu.guest.read_tsc()
    nested.tsc_offset = L2_OFFSET

    nested.enter("tsc")

    check_in_l2(nested, start.value, since=start.window)


@pytest.mark.usefixtures("stable_tsc")
def test_offset_is_l1s(nested: Nested) -> None:
    """While the vCPU is in L2, and afterwards, KVM_VCPU_TSC_OFFSET reads as it was set for L1."""
    nested.vcpu.tsc_offset = L1_TSC
    nested.tsc_offset = L2_OFFSET

    by_l2 = nested.enter("tsc")

    assert nested.vcpu.tsc_offset == L1_TSC
    assert by_l2.value in by_l2.window.shifted(L1_TSC + L2_OFFSET)
    nested.leave()
    assert nested.vcpu.tsc_offset == L1_TSC


@pytest.mark.usefixtures("stable_tsc")
def test_new_offset_moves_both(nested: Nested) -> None:
    """KVM_VCPU_TSC_OFFSET set while the vCPU is in L2 moves L2's TSC at once, and L1's, as L1 then finds."""
    nested.tsc_offset = L2_OFFSET
    nested.enter("tsc")

    nested.vcpu.tsc_offset = L1_TSC

    now = nested.vcpu.vm.time.counter()
    line = Window(now, now)
    check_in_l2(nested, wrap(now + L1_TSC), line)
    nested.leave()
    check_lines(nested, wrap(now + L1_TSC), line)


@pytest.mark.usefixtures("stable_tsc")
def test_host_write_moves_both(nested: Nested) -> None:
    """KVM_SET_MSRS of IA32_TSC while the vCPU is in L2 sets L1's TSC, and L2's moves with it."""
    nested.tsc_offset = L2_OFFSET
    nested.enter("tsc")

    written, _ = timed(nested.vcpu.vm, lambda: nested.vcpu.set_msr(MSR_IA32_TSC, L1_TSC))

    check_in_l2(nested, L1_TSC, written)
    nested.leave()
    check_lines(nested, L1_TSC, written)


@pytest.mark.promise(architectural="Intel SDM 3C, Changes to Instruction Behavior in VMX Non-Root Operation")
@pytest.mark.usefixtures("tsc_adjust", "stable_tsc")
def test_l2_write_sets_l1s_tsc(nested: Nested) -> None:
    """WRMSR of IA32_TSC by L2, which L1 does not intercept, sets L1's TSC; TSC_ADJUST gains the distance."""
    vcpu = nested.vcpu
    nested.tsc_offset = L2_OFFSET

    written, seen = timed(vcpu.vm, lambda: nested.run("wrmsr", MSR_IA32_TSC, L1_TSC))

    adjust = vcpu.get_msr(MSR_IA32_TSC_ADJUST)
    l2_before, l2_after = vcpu.guest.results(2)
    tsc_before = Window(wrap(l2_before - L2_OFFSET), wrap(l2_before - L2_OFFSET + written.width))
    assert tsc_before.first in Window(seen.before, seen.before + written.width)
    assert adjust in Window(L1_TSC - tsc_before.last, L1_TSC - tsc_before.first)
    assert l2_after in Window(L1_TSC, L1_TSC + written.width).shifted(L2_OFFSET)
    assert seen.after in Window(L1_TSC, L1_TSC + written.width)
    check_lines(nested, L1_TSC, written)


@pytest.mark.promise(architectural="Intel SDM 3C, Changes to Instruction Behavior in VMX Non-Root Operation")
@pytest.mark.usefixtures("tsc_adjust", "stable_tsc")
def test_l2_adjust_write_moves_both(nested: Nested) -> None:
    """WRMSR of IA32_TSC_ADJUST by L2, which L1 does not intercept, moves L1's TSC by the difference."""
    start = nested.vcpu.guest.read_tsc()
    nested.tsc_offset = L2_OFFSET

    nested.run("wrmsr", MSR_IA32_TSC_ADJUST, L1_TSC)

    assert nested.vcpu.get_msr(MSR_IA32_TSC_ADJUST) == L1_TSC
    check_lines(nested, start.value + L1_TSC, since=start.window)


@pytest.mark.promise(architectural="Intel SDM 3C, Changes to Instruction Behavior in VMX Non-Root Operation")
@pytest.mark.usefixtures("stable_tsc")
def test_intercepted_write_does_nothing(nested: Nested) -> None:
    """WRMSR of IA32_TSC by L2, which L1 intercepts, is an exit to L1 and changes no TSC."""
    start, adjust = nested.vcpu.guest.read_tsc(), nested.vcpu.get_msr(MSR_IA32_TSC_ADJUST)
    nested.prepare("wrmsr", MSR_IA32_TSC, L1_TSC)
    nested.intercept_msrs()

    exit_code = nested.vmrun()

    assert exit_code == nested.MSR_WRITE_EXIT
    assert nested.vcpu.get_msr(MSR_IA32_TSC_ADJUST) == adjust
    check_lines(nested, start.value, since=start.window)


@pytest.mark.usefixtures("stable_tsc")
@pytest.mark.parametrize("order", ORDERS)
def test_restored_l2_continues(kvm: Kvm[X86Vm], nested: Nested, order: tuple[str, str]) -> None:
    """A vCPU that gets state and offset of one in L2, in either order, continues in L2 on its TSC.

    L1 also finds its own there. Source: arch/x86/kvm/svm/nested.c: svm_set_nested_state();
    arch/x86/kvm/vmx/nested.c: vmx_set_nested_state().
    """
    nested.vcpu.tsc_offset = L1_TSC
    nested.tsc_offset = L2_OFFSET
    nested.enter("tsc")
    destination = kvm.create_vm().create_vcpu(0)
    restored = hypervisor(destination)

    transfers = {
        "state": lambda: hand_over(nested, restored),
        "offset": lambda: hand_offset_over(nested, restored),
    }
    for transfer in order:
        transfers[transfer]()

    now = restored.vcpu.vm.time.counter()
    line = Window(now, now)
    check_in_l2(restored, wrap(now + L1_TSC), line)
    restored.leave()
    check_lines(restored, wrap(now + L1_TSC), line)
