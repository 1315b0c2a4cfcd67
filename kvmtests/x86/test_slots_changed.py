# SPDX-License-Identifier: GPL-2.0-only
"""Memory slots that change under a running guest, with kvmclock and steal time registered in them.

KVM keeps mappings of the pages that it writes at each entry. A VMM that takes the memory away, or puts
other memory in its place, expects that nothing is written to the old memory once the call has returned.

Source: Documentation/virt/kvm/api.rst, KVM_SET_USER_MEMORY_REGION; virt/kvm/pfncache.c; arch/x86/kvm/x86.c.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from fixtures.counters import NSEC_PER_MSEC
from fixtures.guests.layout import PAGE_SIZE
from fixtures.kvm.expect import refused
from fixtures.kvm.memory_slot import MemorySlot
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.kvm import KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY
from fixtures.uapi.x86.kvm_para import KVM_MSR_ENABLED, MSR_KVM_STEAL_TIME, MSR_KVM_SYSTEM_TIME_NEW
from kvmtests.x86.paused import set_clock

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_USER_MEMORY_REGION"),
    pytest.mark.thorough,
]

GPA = 1 << 30  # beyond what the guest's page tables map
ELSEWHERE = GPA + 64 * PAGE_SIZE
PAGES = 4
CLOCK, STEAL = 1, 2


@pytest.fixture
def slot(vm: X86Vm) -> MemorySlot:
    """Four pages of memory whose writes KVM logs."""
    return MemorySlot(vm, 1, GPA, PAGES, KVM_MEM_LOG_DIRTY_PAGES)


@pytest.fixture
def registered(vcpu: X86Vcpu, slot: MemorySlot) -> X86Vcpu:
    """A vCPU whose guest has kvmclock and, where KVM offers it, steal time in the slot, and has run."""
    vcpu.set_msr(MSR_KVM_SYSTEM_TIME_NEW, slot.address + CLOCK * PAGE_SIZE | KVM_MSR_ENABLED)
    if vcpu.vm.check_extension(uapi.KVM_CAP_STEAL_TIME):
        vcpu.set_msr(MSR_KVM_STEAL_TIME, slot.address + STEAL * PAGE_SIZE | KVM_MSR_ENABLED)
    vcpu.guest.read_tsc()
    return vcpu


def while_running(vcpu: X86Vcpu, change: Callable[[], None], slot: MemorySlot) -> list[bytes]:
    """Do *change* while the guest runs, then have all areas written; return *slot*'s pages in between."""
    with vcpu.guest.spinning():
        change()
        between = slot.contents()
        set_clock(vcpu)
        vcpu.vm.time.sleep_ns(NSEC_PER_MSEC)
    enter_with_a_new_clock(vcpu)
    return between


def enter_with_a_new_clock(vcpu: X86Vcpu) -> None:
    """Enter the guest, whereupon KVM writes all areas."""
    set_clock(vcpu)
    vcpu.guest.read_tsc()


def changed(before: list[bytes], slot: MemorySlot) -> set[int]:
    """Return the pages of *slot* that are not as *before*."""
    pairs = zip(before, slot.contents(), strict=True)
    return {number for number, (old, new) in enumerate(pairs) if old != new}


def test_deleted_slot_is_not_written(registered: X86Vcpu, slot: MemorySlot) -> None:
    """Memory whose slot is deleted under a running guest is not written any more, and the guest runs on."""
    removed = while_running(registered, slot.remove, slot)

    assert slot.contents() == removed


def test_areas_return_with_their_slot(registered: X86Vcpu, slot: MemorySlot) -> None:
    """When the slot is back, areas in it are written again, those pages alone, and the log has them."""
    removed = while_running(registered, slot.remove, slot)

    while_running(registered, slot.insert, slot)

    assert {CLOCK} <= changed(removed, slot) <= {CLOCK, STEAL}
    assert changed(removed, slot) <= set(slot.take_log()) <= {CLOCK, STEAL}


def test_moved_slot_is_not_written(registered: X86Vcpu, slot: MemorySlot) -> None:
    """Memory that is moved to another address under a running guest is not written there, nor logged."""
    moved = while_running(registered, lambda: slot.move(ELSEWHERE), slot)
    slot.take_log()
    enter_with_a_new_clock(registered)

    assert slot.contents() == moved
    assert slot.take_log() == []


def test_slot_that_moved_back_is_written(registered: X86Vcpu, slot: MemorySlot) -> None:
    """When the memory lies again where the areas were registered, they are written again."""
    moved = while_running(registered, lambda: slot.move(ELSEWHERE), slot)

    while_running(registered, lambda: slot.move(GPA), slot)

    assert {CLOCK} <= changed(moved, slot) <= {CLOCK, STEAL}


def test_other_memory_in_its_place_is_written(registered: X86Vcpu, vm: X86Vm, slot: MemorySlot) -> None:
    """With other memory at the address, under a running guest, that is written, and the old memory is not."""
    empty = [bytes(PAGE_SIZE)] * PAGES
    others: list[MemorySlot] = []

    def replace() -> None:
        slot.remove()
        others.append(MemorySlot(vm, 2, GPA, PAGES, KVM_MEM_LOG_DIRTY_PAGES))

    replaced = while_running(registered, replace, slot)

    (other,) = others
    assert slot.contents() == replaced
    assert {CLOCK} <= changed(empty, other) <= {CLOCK, STEAL}
    assert changed(empty, other) <= set(other.take_log()) <= {CLOCK, STEAL}


def test_slot_made_read_only_is_not_written(registered: X86Vcpu, vm: X86Vm, slot: MemorySlot) -> None:
    """A slot cannot become read-only, EINVAL; one that is put in its place so is not written."""
    vm.require(uapi.KVM_CAP_READONLY_MEM)

    def make_read_only() -> None:
        with refused(errno.EINVAL):
            slot.insert(KVM_MEM_READONLY)
        slot.remove()
        slot.insert(KVM_MEM_READONLY)

    made = while_running(registered, make_read_only, slot)

    assert slot.contents() == made


def test_refused_change_leaves_the_slot(registered: X86Vcpu, slot: MemorySlot) -> None:
    """A change that KVM refuses, because the place is taken, leaves slot and areas as they were."""

    def move_over_the_main_memory() -> None:
        with refused(errno.EEXIST):
            slot.move(0)

    before = while_running(registered, move_over_the_main_memory, slot)

    assert {CLOCK} <= changed(before, slot) <= {CLOCK, STEAL}
    assert {CLOCK} <= set(slot.take_log()) <= {CLOCK, STEAL}
