# SPDX-License-Identifier: GPL-2.0-only
"""Who does it, on which vCPU, through which MSR, with which flags: in all combinations."""

from __future__ import annotations

import ctypes

import pytest

from fixtures.counters import wrap
from fixtures.guests import layout
from fixtures.kvm.values import ClockFlags
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import kvm_para
from fixtures.uapi.x86.pvclock import PVCLOCK_GUEST_STOPPED
from kvmtests.x86.clocks import enter_all, flags_after_entry

pytestmark = [pytest.mark.promise(de_facto="Linux 5.10 to 7.3"), pytest.mark.thorough]

MSRS = {"new": kvm_para.MSR_KVM_SYSTEM_TIME_NEW, "legacy": kvm_para.MSR_KVM_SYSTEM_TIME}


@pytest.mark.usefixtures("tsc_clocksource", "stable_tsc")
@pytest.mark.parametrize("number", [pytest.param(0, id="vcpu-0"), pytest.param(1, id="vcpu-1")])
@pytest.mark.parametrize("by", ["guest", "host"])
@pytest.mark.parametrize("msr", list(MSRS))
def test_only_the_first_guest_ends_it(vcpus: list[X86Vcpu], number: int, by: str, msr: str) -> None:
    """The master clock ends if vCPU 0's guest registers through the legacy MSR, and in no other case."""
    enter_all(vcpus)
    vcpu = vcpus[number]

    if by == "guest":
        vcpu.guest.enable_kvmclock(MSRS[msr])
    else:
        vcpu.set_msr(MSRS[msr], layout.pvclock(number) | kvm_para.KVM_MSR_ENABLED)

    ends = (number, by, msr) == (0, "guest", "legacy")
    assert flags_after_entry(*vcpus) == (ClockFlags(0) if ends else vcpu.vm.master_clock_flags)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_KVMCLOCK_CTRL")
@pytest.mark.usefixtures("stable_tsc")
@pytest.mark.parametrize("parted", [pytest.param(0, id="together"), pytest.param(10**12, id="parted")])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_stop_is_announced_however_often(vcpus: list[X86Vcpu], times: int, parted: int) -> None:
    """KVM_KVMCLOCK_CTRL once or several times before an entry sets the flag, in either mode of the clock."""
    vcpus[0].vm.require(uapi.KVM_CAP_KVMCLOCK_CTRL)
    vcpus[1].tsc_offset = vcpus[1].tsc_offset + parted
    for vcpu in vcpus:
        vcpu.guest.enable_kvmclock()
    enter_all(vcpus)

    for _ in range(times):
        vcpus[0].kvmclock_ctrl()
    enter_all(vcpus)

    flags = [vcpu.guest.pvclock().flags & PVCLOCK_GUEST_STOPPED for vcpu in vcpus]
    assert flags == [PVCLOCK_GUEST_STOPPED, 0]


@pytest.mark.usefixtures("settable_tsc", "stable_tsc")
@pytest.mark.parametrize("flags", [0, 1, 0xFFFFFFFF])
def test_flags_of_an_attribute_do_not_matter(vcpu: X86Vcpu, flags: int) -> None:
    """KVM_SET_DEVICE_ATTR sets the TSC offset whatever the flags in kvm_device_attr are."""
    attribute = vcpu.tsc_offset_attribute
    word = ctypes.c_uint64(wrap(vcpu.tsc_offset + 10**12))

    vcpu.handle.pass_structure(
        uapi.KVM_SET_DEVICE_ATTR,
        uapi.kvm_device_attr(
            flags=flags, group=attribute.group, attr=attribute.number, addr=ctypes.addressof(word)
        ),
    )

    assert vcpu.tsc_offset == word.value
