# SPDX-License-Identifier: GPL-2.0-only
"""Memory next to the structures that KVM writes: guests keep their own data there.

Each structure lies between bytes that nothing else writes, on pages that the guest does not map.

Source: Documentation/virt/kvm/x86/msr.rst; Documentation/virt/kvm/api.rst, KVM_XEN_HVM_SET_ATTR,
KVM_XEN_VCPU_SET_ATTR; include/xen/interface/xen.h.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable

import pytest

from fixtures.counters import NSEC_PER_SEC
from fixtures.guests.layout import PAGE_SIZE
from fixtures.kvm.memory_slot import MemorySlot
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import kvm_para
from fixtures.uapi.x86 import kvm_xen as xen
from fixtures.uapi.x86.pvclock import pvclock_vcpu_time_info, pvclock_wall_clock
from fixtures.uapi.x86.xen import compat_shared_info, shared_info, vcpu_info
from kvmtests.x86.xen import require_xen, set_vcpu, set_vm

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW"),
    pytest.mark.thorough,
]

GPA = 1 << 30  # beyond what the guest's page tables map
FILLING = 0xA5
RECORD = ctypes.sizeof(pvclock_vcpu_time_info)
PLACES = [
    pytest.param(PAGE_SIZE, id="start-of-a-page"),
    pytest.param(PAGE_SIZE + 0x340, id="amid-a-page"),
    pytest.param(2 * PAGE_SIZE - 64, id="end-of-a-page"),
]
"""Where a structure of up to 64 bytes lies in the slot."""


@pytest.fixture
def slot(vm: X86Vm) -> MemorySlot:
    """Three pages that hold the same byte all over."""
    slot = MemorySlot(vm, 1, GPA, 3, 0)
    slot.memory[:] = bytes([FILLING]) * (3 * PAGE_SIZE)
    return slot


def written(slot: MemorySlot, parts: Iterable[tuple[int, int]], write: Callable[[], object]) -> set[int]:
    """Clear *parts* of *slot*, (start, length) each, do *write*, and return which bytes are others now."""
    for start, length in parts:
        slot.memory[start : start + length] = bytes(length)
    before = b"".join(slot.contents())
    write()
    pairs = zip(before, b"".join(slot.contents()), strict=True)
    return {place for place, (old, new) in enumerate(pairs) if old != new}


def span(parts: Iterable[tuple[int, int]]) -> set[int]:
    """Return the bytes of *parts*."""
    return {place for start, length in parts for place in range(start, start + length)}


def enter_twice(vcpu: X86Vcpu) -> None:
    """Let KVM write its structures, and write them again with another clock."""
    vcpu.guest.read_tsc()
    vcpu.vm.set_clock(1000 * NSEC_PER_SEC)
    vcpu.guest.read_tsc()


@pytest.mark.parametrize("place", PLACES)
def test_kvmclock_writes_its_record(vcpu: X86Vcpu, slot: MemorySlot, place: int) -> None:
    """KVM writes the 32 bytes of kvmclock's record, and none around it."""
    vcpu.vm.require(uapi.KVM_CAP_CLOCKSOURCE)
    own = [(place, RECORD)]

    def write() -> None:
        vcpu.set_msr(kvm_para.MSR_KVM_SYSTEM_TIME_NEW, GPA + place | kvm_para.KVM_MSR_ENABLED)
        enter_twice(vcpu)

    assert set() < written(slot, own, write) <= span(own)


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_WALL_CLOCK_NEW")
@pytest.mark.parametrize("place", PLACES)
def test_wall_clock_writes_its_structure(vcpu: X86Vcpu, slot: MemorySlot, place: int) -> None:
    """KVM writes the 12 bytes of the wall clock, and none around it."""
    vcpu.vm.require(uapi.KVM_CAP_CLOCKSOURCE)
    own = [(place, ctypes.sizeof(pvclock_wall_clock))]

    def write() -> None:
        vcpu.set_msr(kvm_para.MSR_KVM_WALL_CLOCK_NEW, GPA + place)
        enter_twice(vcpu)

    assert set() < written(slot, own, write) <= span(own)


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_STEAL_TIME")
@pytest.mark.parametrize("place", PLACES)
def test_steal_time_writes_its_area(vcpu: X86Vcpu, slot: MemorySlot, place: int) -> None:
    """KVM writes version and steal in the 64 bytes of steal time, and no padding, nor what lies around."""
    vcpu.vm.require(uapi.KVM_CAP_STEAL_TIME)
    area = kvm_para.kvm_steal_time
    own = [(place, ctypes.sizeof(area))]
    fields = [
        (place + field.offset, field.size) for field in (area.steal, area.version, area.flags, area.preempted)
    ]

    def write() -> None:
        vcpu.set_msr(kvm_para.MSR_KVM_STEAL_TIME, GPA + place | kvm_para.KVM_MSR_ENABLED)
        enter_twice(vcpu)

    assert set() < written(slot, own, write) <= span(fields)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_XEN_VCPU_SET_ATTR")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("kind", "within"),
    [
        pytest.param(xen.KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, vcpu_info.time.offset, id="vcpu-info"),
        pytest.param(xen.KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO, 0, id="vcpu-time-info"),
    ],
)
def test_xen_record_is_written_alone(
    vcpu: X86Vcpu, slot: MemorySlot, place: int, kind: int, within: int
) -> None:
    """KVM writes the 32 bytes of a Xen guest's pvclock record, and none around it."""
    require_xen(vcpu.vm)
    own = [(place + within, RECORD)]

    def write() -> None:
        set_vcpu(vcpu, kind, GPA + place)
        enter_twice(vcpu)

    assert set() < written(slot, own, write) <= span(own)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_XEN_ATTR_TYPE_SHARED_INFO")
@pytest.mark.parametrize("long_mode", [pytest.param(1, id="64-bit"), pytest.param(0, id="32-bit")])
def test_shared_page_holds_its_wall_clock(vcpu: X86Vcpu, slot: MemorySlot, long_mode: int) -> None:
    """Of a Xen guest's shared page KVM writes the wall clock and its upper seconds, and nothing else."""
    require_xen(vcpu.vm)
    layout = shared_info if long_mode else compat_shared_info
    own = [(PAGE_SIZE + field.offset, field.size) for field in (layout.wc, layout.wc_sec_hi)]
    set_vm(vcpu.vm, xen.KVM_XEN_ATTR_TYPE_LONG_MODE, long_mode)

    def write() -> None:
        set_vm(vcpu.vm, xen.KVM_XEN_ATTR_TYPE_SHARED_INFO, (GPA + PAGE_SIZE) // PAGE_SIZE)
        enter_twice(vcpu)

    assert set() < written(slot, own, write) <= span(own)
