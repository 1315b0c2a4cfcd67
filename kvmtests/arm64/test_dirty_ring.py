# SPDX-License-Identifier: GPL-2.0-only
"""The one page that KVM writes for a guest's clocks on arm64, stolen time, is in both logs of dirty pages.

Source: Documentation/virt/kvm/api.rst, KVM_CAP_DIRTY_LOG_RING; arch/arm64/kvm/pvtime.c.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

import pytest

from fixtures.guests.layout import PAGE_SIZE
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.dirty_ring import RingInMemory, WrittenPage, enable_small_rings, require_dirty_rings
from fixtures.kvm.expect import refused
from fixtures.kvm.memory_slot import MemorySlot
from fixtures.kvm.system import Kvm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.arm64 import smccc
from fixtures.uapi.kvm import KVM_MEM_LOG_DIRTY_PAGES

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_CAP_DIRTY_LOG_RING"),
    pytest.mark.thorough,
]

GPA = 1 << 30  # beyond what the guest's page tables map
SLOT, PAGES, PAGE = 5, 8, 3
STOLEN = WrittenPage(SLOT, PAGE)


class Arm64RingGuest(NamedTuple):
    """vCPU 0 of a VM with dirty rings, and memory that only KVM writes, whose writes are logged."""

    vcpu: Arm64Vcpu
    slot: MemorySlot
    ring: RingInMemory


@pytest.fixture
def guest(vm: Arm64Vm) -> Arm64RingGuest:
    """A guest whose memory KVM logs in dirty rings, on a KVM that offers stolen time."""
    vm.require(uapi.KVM_CAP_STEAL_TIME)
    size = enable_small_rings(vm)
    slot = logged_slot(vm)
    vcpu = vm.create_vcpu(0)
    return Arm64RingGuest(vcpu, slot, RingInMemory(vcpu, size))


def logged_slot(vm: Arm64Vm) -> MemorySlot:
    """Give *vm* the memory that only KVM writes."""
    return MemorySlot(vm, SLOT, GPA, PAGES, KVM_MEM_LOG_DIRTY_PAGES)


def set_address(vcpu: Arm64Vcpu) -> None:
    """Let user space say where the record of stolen time lies."""
    group, number = kvm_arm64.KVM_ARM_VCPU_PVTIME_CTRL, kvm_arm64.KVM_ARM_VCPU_PVTIME_IPA
    vcpu.attribute(group, number, "KVM_ARM_VCPU_PVTIME_IPA").set_u64(GPA + PAGE * PAGE_SIZE)


def register(vcpu: Arm64Vcpu) -> None:
    """Let the guest find its record, which KVM fills in then."""
    set_address(vcpu)
    vcpu.guest.call_hypervisor(smccc.ARM_SMCCC_HV_PV_TIME_ST)


def changed(before: list[bytes], slot: MemorySlot) -> set[int]:
    """Return the pages of *slot* that are not as *before*."""
    pairs = zip(before, slot.contents(), strict=True)
    return {number for number, (old, new) in enumerate(pairs) if old != new}


def test_first_write_is_in_the_ring(guest: Arm64RingGuest) -> None:
    """PV_TIME_ST fills the record in: its page of its slot is in the ring, and no other page is."""
    guest.slot.memory[:] = b"\xa5" * len(guest.slot.memory)
    before = guest.slot.contents()
    set_address(guest.vcpu)
    guest.vcpu.guest.read_cntvct()
    guest.ring.harvest()

    guest.vcpu.guest.call_hypervisor(smccc.ARM_SMCCC_HV_PV_TIME_ST)

    assert changed(before, guest.slot) == {PAGE}
    assert set(guest.ring.harvest()) == {STOLEN}


def test_entry_is_in_the_ring(guest: Arm64RingGuest) -> None:
    """Entries that add to stolen time put its page into the ring, and no other page."""
    register(guest.vcpu)
    guest.ring.harvest()
    guest.vcpu.vm.reset_dirty_rings()
    before = guest.slot.contents()

    guest.vcpu.guest.read_cntvct()

    assert set(guest.ring.harvest()) == {STOLEN}
    assert changed(before, guest.slot) <= {PAGE}


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
def test_address_alone_writes_nothing(guest: Arm64RingGuest) -> None:
    """Setting the record's address writes no page."""
    guest.slot.memory[:] = b"\xa5" * len(guest.slot.memory)
    before = guest.slot.contents()

    set_address(guest.vcpu)

    assert (guest.ring.harvest(), changed(before, guest.slot)) == ([], set())


def test_paused_vcpu_writes_nothing(guest: Arm64RingGuest) -> None:
    """Registers that user space reads and writes while the vCPU is paused leave the ring and pages alone."""
    register(guest.vcpu)
    guest.vcpu.finish_exit()
    guest.ring.harvest()
    before = guest.slot.contents()

    for register_id in (kvm_arm64.KVM_REG_ARM_TIMER_CVAL, kvm_arm64.KVM_REG_ARM_TIMER_CTL):
        guest.vcpu.set_reg(register_id, guest.vcpu.get_reg(register_id))
    guest.vcpu.vm.create_vcpu(1)

    assert (guest.ring.harvest(), changed(before, guest.slot)) == ([], set())


def test_both_logs_agree(kvm: Kvm[Arm64Vm], guest: Arm64RingGuest) -> None:
    """KVM_GET_DIRTY_LOG of a VM without rings has the pages that are in the ring of one with rings."""
    other = kvm.create_vm()
    slot, vcpu = logged_slot(other), other.create_vcpu(0)
    for each in (guest.vcpu, vcpu):
        register(each)
        each.guest.read_cntvct()

    assert slot.take_log() == sorted({page for _, page in guest.ring.harvest()}) == [PAGE]


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
def test_reset_counts_what_was_harvested(guest: Arm64RingGuest) -> None:
    """KVM_RESET_DIRTY_RINGS returns how many entries it took back, whose flags are 0 then."""
    register(guest.vcpu)
    harvested = len(guest.ring.harvest())

    assert [guest.vcpu.vm.reset_dirty_rings() for _ in range(2)] == [harvested, 0]
    assert {guest.ring.entry(index).flags for index in range(guest.ring.entries)} == {0}


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
def test_rings_come_before_vcpus_and_replace_the_bitmap(vm: Arm64Vm, guest: Arm64RingGuest) -> None:
    """A VM that has a vCPU gets no other rings, EINVAL; with rings KVM_GET_DIRTY_LOG is ENXIO."""
    with refused(errno.EINVAL):
        vm.enable_dirty_rings(64 * PAGE_SIZE, require_dirty_rings(vm))
    with refused(errno.ENXIO):
        guest.slot.take_log()
