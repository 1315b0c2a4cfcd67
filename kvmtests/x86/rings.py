# SPDX-License-Identifier: GPL-2.0-only
"""A guest whose memory KVM logs in dirty rings, for several subjects."""

from __future__ import annotations

from typing import NamedTuple

from fixtures.guests.layout import PAGE_SIZE
from fixtures.kvm.dirty_ring import RingInMemory, WrittenPage, enable_small_rings
from fixtures.kvm.memory_slot import MemorySlot
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.kvm import KVM_MEM_LOG_DIRTY_PAGES
from fixtures.uapi.x86.kvm_para import MSR_KVM_WALL_CLOCK_NEW

GPA = 1 << 30  # beyond what the guest's page tables map
SLOT = 5
PAGES = 8


class X86RingGuest(NamedTuple):
    """vCPU 0 of a VM with dirty rings, and memory that only KVM writes, whose writes are logged."""

    vcpu: X86Vcpu
    slot: MemorySlot
    ring: RingInMemory
    size: int  # bytes of each ring


def ringed_guest(vm: X86Vm) -> X86RingGuest:
    """Give *vm*, which has no vCPU, rings as small as its KVM takes; `CapabilityMissing` without rings."""
    size = enable_small_rings(vm)
    slot = logged_slot(vm)
    vcpu = vm.create_vcpu(0)
    return X86RingGuest(vcpu, slot, RingInMemory(vcpu, size), size)


def logged_slot(vm: X86Vm) -> MemorySlot:
    """Give *vm* the memory that only KVM writes."""
    return MemorySlot(vm, SLOT, GPA, PAGES, KVM_MEM_LOG_DIRTY_PAGES)


def address(page: int) -> int:
    """Return the guest physical address of *page* of the slot."""
    return GPA + page * PAGE_SIZE


def written(page: int) -> WrittenPage:
    """Return what a ring says of a write to *page* of the slot."""
    return WrittenPage(SLOT, page)


def write_wall_clock(vcpu: X86Vcpu, page: int) -> None:
    """Let KVM write its wall clock into *page* of the slot, now: user space writes the MSR."""
    vcpu.set_msr(MSR_KVM_WALL_CLOCK_NEW, address(page))
