# SPDX-License-Identifier: GPL-2.0-only
"""A guest that is a hypervisor by AMD's SVM: what VMRUN refuses, and L2's TSC by the ratio MSR.

Source: AMD APM 2, 15.5.1 and 15.30.5. What both vendors have: test_nested.py.
"""

from __future__ import annotations

import pytest

from fixtures.counters import Window, signed, wrap
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.x86.nested import SvmNested
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import svm
from fixtures.uapi.x86.cpuid import LEAF_8000000A_EDX_TSCRATEMSR
from fixtures.uapi.x86.msr_index import MSR_AMD64_TSC_RATIO, MSR_IA32_TSC, MSR_IA32_TSC_ADJUST
from kvmtests.windows import timed
from kvmtests.x86.nested import L2_OFFSET, check_lines, require_tsc_adjust

pytestmark = [
    pytest.mark.promise(architectural="AMD APM 2, VMRUN: canonicalization and consistency checks"),
    pytest.mark.thorough,
]

RATIO_FRACTION_BITS = 32  # AMD APM 2, 15.30.5
RATIOS = [
    pytest.param(1 << 31, id="half"),
    pytest.param(5 << 30, id="a-quarter-more"),
    pytest.param(3 << 32, id="three-times"),
]
INVALID = [pytest.param("intercepts", id="does-not-intercept-vmrun"), pytest.param("asid", id="asid-0")]


@pytest.fixture
def nested(vcpu: X86Vcpu) -> SvmNested:
    """A hypervisor on vCPU 0, with a guest."""
    return SvmNested(vcpu)


@pytest.fixture
def tsc_adjust(nested: SvmNested) -> None:
    """The CPUID of L1 announces IA32_TSC_ADJUST."""
    require_tsc_adjust(nested)


@pytest.fixture
def tsc_ratio(nested: SvmNested) -> None:
    """L1 may scale the TSC of L2."""
    nested.vcpu.require_capability(uapi.KVM_CAP_TSC_CONTROL, "KVM_CAP_TSC_CONTROL")
    if not nested.vcpu.guest.cpuid(0x8000000A)[3] & LEAF_8000000A_EDX_TSCRATEMSR:
        raise CapabilityMissing("X86_FEATURE_TSCRATEMSR")


@pytest.mark.usefixtures("tsc_adjust", "stable_tsc")
@pytest.mark.parametrize("invalid", INVALID)
def test_failed_vmrun_changes_nothing(nested: SvmNested, invalid: str) -> None:
    """A VMRUN that the VMCB makes fail leaves L1's TSC and TSC_ADJUST where L1 and L2 had put them."""
    vcpu = nested.vcpu
    nested.tsc_offset = L2_OFFSET
    lowered = wrap(vcpu.guest.read_tsc().value - 2**32)
    vcpu.guest.wrmsr(MSR_IA32_TSC, lowered)
    by_l1 = vcpu.get_msr(MSR_IA32_TSC_ADJUST)
    written, _ = timed(vcpu.vm, lambda: nested.run("wrmsr", MSR_IA32_TSC, wrap(lowered - 2**32)))
    by_l2 = vcpu.get_msr(MSR_IA32_TSC_ADJUST)

    nested.prepare("tsc")
    make_invalid(nested.vmcb.control, invalid)
    exit_code = nested.vmrun()

    assert exit_code == svm.SVM_EXIT_ERR
    assert signed(by_l1) <= -(2**32)
    assert signed(by_l2) <= -2 * 2**32
    assert vcpu.get_msr(MSR_IA32_TSC_ADJUST) == by_l2
    check_lines(nested, wrap(lowered - 2**32), written)


def make_invalid(control: svm.vmcb_control_area, invalid: str) -> None:
    """Give a VMCB what VMRUN refuses."""
    if invalid == "asid":
        control.asid = 0
    else:
        control.intercepts[svm.INTERCEPT_WORD4] = 0


@pytest.mark.promise(architectural="AMD APM 2, TSC Ratio MSR")
@pytest.mark.usefixtures("tsc_ratio")
@pytest.mark.parametrize("ratio", RATIOS)
def test_l2_reads_the_scaled_tsc(nested: SvmNested, ratio: int) -> None:
    """With the multiplier that L1 chose, RDTSC of L2 is (L1's TSC * ratio >> 32) + the VMCB's offset.

    KVM multiplies both ratios and offsets beforehand and cuts off twice: two ticks.
    """
    nested.vcpu.guest.wrmsr(MSR_AMD64_TSC_RATIO, ratio)
    nested.tsc_offset = L2_OFFSET

    seen = nested.run("tsc")

    first, last = (tsc * ratio >> RATIO_FRACTION_BITS for tsc in (seen.before, seen.after))
    assert seen.value in Window(wrap(first), wrap(last)).shifted(L2_OFFSET).widened(2)
