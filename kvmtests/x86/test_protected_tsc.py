# SPDX-License-Identifier: GPL-2.0-only
"""A guest whose TSC is the firmware's (SEV-SNP with Secure TSC, TDX): user space cannot move it.

Source: arch/x86/kvm/x86.c: guest_tsc_protected in kvm_vcpu_write_tsc_offset(), since Linux commit
adafea110600 (in v6.16), and in KVM_SET_TSC_KHZ, since e51cf184d90c (in v6.17).
"""

from __future__ import annotations

import errno

import pytest

from fixtures.kvm.expect import refused
from fixtures.kvm.values import Reading
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC
from kvmtests.x86.clocks import continued

pytestmark = [
    pytest.mark.promise(de_facto="Linux 7.3 to 7.3"),
    pytest.mark.usefixtures("protected_tsc", "stable_tsc"),
]


def check_guest_continues(vcpu: X86Vcpu, start: Reading) -> None:
    """Fail unless the guest's TSC has continued from *start*."""
    reading = vcpu.guest.read_tsc()

    assert reading.value in continued(start.value, start.window, reading.window)


def test_offset_is_ignored(vcpu: X86Vcpu) -> None:
    """An offset is taken without an error, reads back as it was before, and does not move the TSC."""
    before, start = vcpu.tsc_offset, vcpu.guest.read_tsc()

    vcpu.tsc_offset = before + 2**40

    assert vcpu.tsc_offset == before
    check_guest_continues(vcpu, start)


def test_written_value_is_ignored(vcpu: X86Vcpu) -> None:
    """A value that user space writes to IA32_TSC does not move the TSC."""
    start = vcpu.guest.read_tsc()

    vcpu.set_msr(MSR_IA32_TSC, 2**40)

    check_guest_continues(vcpu, start)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_TSC_KHZ")
@pytest.mark.parametrize("difference_khz", [0, -100, 100], ids=["same", "slower", "faster"])
def test_frequency_is_refused(vcpu: X86Vcpu, difference_khz: int) -> None:
    """KVM_SET_TSC_KHZ of the vCPU gives EINVAL, also for the frequency that it has, which stays."""
    khz = vcpu.tsc_khz

    with refused(errno.EINVAL):
        vcpu.tsc_khz = khz + difference_khz

    assert vcpu.tsc_khz == khz
