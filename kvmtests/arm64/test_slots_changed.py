# SPDX-License-Identifier: GPL-2.0-only
"""Memory slots that change under a running guest whose record of stolen time lies in them.

KVM looks the record's memory up at each load of the vCPU. A VMM that takes the memory away, or puts other
memory in its place, expects that nothing is written to the old memory once the call has returned.

Source: Documentation/virt/kvm/api.rst, KVM_SET_USER_MEMORY_REGION; arch/arm64/kvm/pvtime.c.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.counters import NSEC_PER_MSEC
from fixtures.guests.layout import PAGE_SIZE
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.memory_slot import MemorySlot
from fixtures.uapi import kvm as uapi
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.arm64 import smccc
from fixtures.uapi.kvm import KVM_MEM_LOG_DIRTY_PAGES

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_USER_MEMORY_REGION"),
    pytest.mark.thorough,
]

GPA = 1 << 30  # beyond what the guest's page tables map
ELSEWHERE = GPA + 64 * PAGE_SIZE
PAGES, PAGE = 4, 2


@pytest.fixture
def slot(vm: Arm64Vm) -> MemorySlot:
    """Four pages of memory whose writes KVM logs, on a KVM that offers stolen time."""
    vm.require(uapi.KVM_CAP_STEAL_TIME)
    return MemorySlot(vm, 1, GPA, PAGES, KVM_MEM_LOG_DIRTY_PAGES)


@pytest.fixture
def registered(slot: MemorySlot, vcpu: Arm64Vcpu) -> Arm64Vcpu:
    """A vCPU whose guest has found its record in the slot."""
    group, number = kvm_arm64.KVM_ARM_VCPU_PVTIME_CTRL, kvm_arm64.KVM_ARM_VCPU_PVTIME_IPA
    vcpu.attribute(group, number, "KVM_ARM_VCPU_PVTIME_IPA").set_u64(slot.address + PAGE * PAGE_SIZE)
    vcpu.guest.call_hypervisor(smccc.ARM_SMCCC_HV_PV_TIME_ST)
    return vcpu


def while_running(vcpu: Arm64Vcpu, change: Callable[[], None]) -> None:
    """Do *change* while the guest runs, and enter it once more."""
    with vcpu.guest.spinning():
        change()
        vcpu.vm.time.sleep_ns(NSEC_PER_MSEC)
    vcpu.guest.read_cntvct()


def fill(slot: MemorySlot) -> list[bytes]:
    """Fill the memory of *slot*, which is not the guest's now, with ones, and return its pages."""
    slot.memory[:] = b"\xff" * len(slot.memory)
    return slot.contents()


def test_deleted_slot_is_not_written(registered: Arm64Vcpu, slot: MemorySlot) -> None:
    """Memory whose slot is deleted under a running guest is not written any more, and the guest runs on."""
    filled: list[bytes] = []

    def delete() -> None:
        slot.remove()
        filled.extend(fill(slot))

    while_running(registered, delete)

    assert slot.contents() == filled


def test_record_returns_with_its_slot(registered: Arm64Vcpu, slot: MemorySlot) -> None:
    """When the slot is back, the record in it is written again, its page alone, and the log has it."""
    while_running(registered, slot.remove)
    filled = fill(slot)
    slot.memory[PAGE * PAGE_SIZE : (PAGE + 1) * PAGE_SIZE] = bytes(PAGE_SIZE)

    while_running(registered, slot.insert)

    assert slot.take_log() == [PAGE]
    assert [page for page in range(PAGES) if slot.contents()[page] != filled[page]] == [PAGE]


def test_moved_slot_is_not_written(registered: Arm64Vcpu, slot: MemorySlot) -> None:
    """Memory that is moved to another address under a running guest is not written there, nor logged."""
    filled: list[bytes] = []

    def move() -> None:
        slot.move(ELSEWHERE)
        filled.extend(fill(slot))

    while_running(registered, move)
    slot.take_log()
    registered.guest.read_cntvct()

    assert slot.contents() == filled
    assert slot.take_log() == []


def test_other_memory_in_its_place_is_written(registered: Arm64Vcpu, vm: Arm64Vm, slot: MemorySlot) -> None:
    """With other memory at the address, under a running guest, that is written, and the old memory is not."""
    filled: list[bytes] = []
    others: list[MemorySlot] = []

    def replace() -> None:
        slot.remove()
        filled.extend(fill(slot))
        others.append(MemorySlot(vm, 2, GPA, PAGES, KVM_MEM_LOG_DIRTY_PAGES))

    while_running(registered, replace)

    assert slot.contents() == filled
    assert others[0].take_log() == [PAGE]
