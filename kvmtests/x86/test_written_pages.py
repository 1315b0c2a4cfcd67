# SPDX-License-Identifier: GPL-2.0-only
"""Which calls write the pages of kvmclock, wall clock and steal time, by KVM's log of dirty pages.

A VMM that has paused the vCPUs copies memory and relies on it: only KVM_RUN, and writes of the MSRs that
say so, touch guest memory, and each page that KVM writes is in the log.

Source: Documentation/virt/kvm/api.rst, KVM_GET_DIRTY_LOG; arch/x86/kvm/x86.c.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable

import pytest

from fixtures.guests.layout import PAGE_SIZE
from fixtures.kvm.errors import CapabilityMissing, GuestFault
from fixtures.kvm.expect import refused
from fixtures.kvm.memory_slot import MemorySlot
from fixtures.kvm.values import Pvclock
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.targets import Probe
from fixtures.uapi import kvm as uapi
from fixtures.uapi.kvm import KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY
from fixtures.uapi.x86.kvm_para import (
    KVM_HC_CLOCK_PAIRING,
    KVM_MSR_ENABLED,
    MSR_KVM_STEAL_TIME,
    MSR_KVM_SYSTEM_TIME_NEW,
    MSR_KVM_WALL_CLOCK_NEW,
)
from kvmtests.x86.paused import CLOCK_NS, EACH_CALL, set_clock

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_DIRTY_LOG"),
    pytest.mark.thorough,
]

GPA = 1 << 30  # beyond what the guest's page tables map
NO_MEMORY = 0x7000_0000
CLOCK, STEAL, WALL, SPARE = range(4)
RECORD_SIZE = 32
FILLED = b"\xa5" * PAGE_SIZE


@pytest.fixture
def slot(vm: X86Vm) -> MemorySlot:
    """Four pages of memory whose writes KVM logs."""
    return MemorySlot(vm, 1, GPA, 4, KVM_MEM_LOG_DIRTY_PAGES)


def register(vcpu: X86Vcpu) -> None:
    """Let user space register kvmclock and steal time in their pages, and the guest run once."""
    vcpu.set_msr(MSR_KVM_SYSTEM_TIME_NEW, page(CLOCK) | KVM_MSR_ENABLED)
    if vcpu.vm.check_extension(uapi.KVM_CAP_STEAL_TIME):
        vcpu.set_msr(MSR_KVM_STEAL_TIME, page(STEAL) | KVM_MSR_ENABLED)
    enter(vcpu)
    enter(vcpu)


def areas(vcpu: X86Vcpu) -> set[int]:
    """Return the pages of the areas that `register` registers here."""
    return {CLOCK, STEAL} if vcpu.vm.check_extension(uapi.KVM_CAP_STEAL_TIME) else {CLOCK}


def enter(vcpu: X86Vcpu) -> None:
    """Let the guest run, and no more."""
    vcpu.guest.read_tsc()


def page(number: int) -> int:
    """Return the guest physical address of a page of the slot."""
    return GPA + number * PAGE_SIZE


def written(before: list[bytes], slot: MemorySlot) -> list[int]:
    """Return which pages of *slot* do not hold what they held *before*."""
    return [number for number, old in enumerate(before) if slot.contents()[number] != old]


def registered_and_paused(vcpu: X86Vcpu, slot: MemorySlot) -> list[bytes]:
    """`register`, then leave the guest with nothing in the log; return the pages of *slot*."""
    register(vcpu)
    vcpu.finish_exit()
    slot.take_log()
    return slot.contents()


@EACH_CALL
def test_calls_of_a_paused_vcpu_write_no_page(
    vcpu: X86Vcpu, slot: MemorySlot, call: Callable[[X86Vcpu], None]
) -> None:
    """No call but KVM_RUN writes the pages of kvmclock and steal time, and none of the slot is logged."""
    before = registered_and_paused(vcpu, slot)

    call(vcpu)

    assert slot.take_log() == []
    assert slot.contents() == before


@EACH_CALL
def test_entry_logs_the_pages_that_it_writes(
    vcpu: X86Vcpu, slot: MemorySlot, call: Callable[[X86Vcpu], None]
) -> None:
    """Whatever the calls before it were, an entry writes the registered pages only, and logs each of them."""
    before = registered_and_paused(vcpu, slot)

    call(vcpu)
    enter(vcpu)

    logged = slot.take_log()
    assert set(written(before, slot)) <= set(logged) <= {CLOCK, STEAL}


def test_set_clock_writes_the_page_at_the_entry(vcpu: X86Vcpu, slot: MemorySlot) -> None:
    """A clock that was set is in kvmclock's page, and the page in the log, after the next entry."""
    register(vcpu)
    slot.take_log()

    set_clock(vcpu)
    enter(vcpu)

    assert {CLOCK} <= set(slot.take_log())
    assert Pvclock.at(slot.memory, CLOCK * PAGE_SIZE).system_time_ns >= CLOCK_NS


def test_registration_writes_kvmclocks_page_at_the_entry(vcpu: X86Vcpu, slot: MemorySlot) -> None:
    """Registering kvmclock writes nothing before the entry, and then its page alone."""
    empty = slot.contents()
    vcpu.set_msr(MSR_KVM_SYSTEM_TIME_NEW, page(CLOCK) | KVM_MSR_ENABLED)
    before, registered = slot.take_log(), slot.contents()

    enter(vcpu)

    assert (before, registered) == ([], empty)
    assert (slot.take_log(), written(empty, slot)) == ([CLOCK], [CLOCK])


def test_wall_clock_is_written_by_its_msr(vcpu: X86Vcpu, slot: MemorySlot) -> None:
    """Writing MSR_KVM_WALL_CLOCK_NEW writes and logs its page at once, and never again."""
    empty = slot.contents()
    vcpu.set_msr(MSR_KVM_WALL_CLOCK_NEW, page(WALL))
    at_once, contents = slot.take_log(), slot.contents()

    set_clock(vcpu)
    enter(vcpu)

    assert (at_once, written(empty, slot)) == ([WALL], [WALL])
    assert (slot.take_log(), slot.contents()) == ([], contents)


def test_disabled_areas_are_not_written(vcpu: X86Vcpu, slot: MemorySlot) -> None:
    """After user space has disabled both areas no entry writes or logs their pages."""
    register(vcpu)
    vcpu.set_msr(MSR_KVM_SYSTEM_TIME_NEW, 0)
    if vcpu.vm.check_extension(uapi.KVM_CAP_STEAL_TIME):
        vcpu.set_msr(MSR_KVM_STEAL_TIME, 0)
    enter(vcpu)
    slot.take_log()
    before = slot.contents()

    set_clock(vcpu)
    enter(vcpu)

    assert (slot.take_log(), slot.contents()) == ([], before)


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/hypercalls.rst, KVM_HC_CLOCK_PAIRING")
@pytest.mark.parametrize(
    ("clock_type", "program"),
    [
        pytest.param(1, "hypercall", id="next-clock"),
        pytest.param(2**32, "hypercall", id="beyond-32-bits"),
        pytest.param(0, "user_hypercall", id="user-mode"),
    ],
)
def test_refused_hypercall_logs_no_page(
    vcpu: X86Vcpu, slot: MemorySlot, target_facts: Probe, clock_type: int, program: str
) -> None:
    """A call that KVM_HC_CLOCK_PAIRING refuses writes no page, and none is in the log."""
    if target_facts.facts.get("backend_module") == "kvm_pvm":
        raise CapabilityMissing("VMCALL at CPL 0")
    before = slot.contents()

    with contextlib.suppress(GuestFault):  # from CPL 3, where KVM's emulator serves AMD's VMCALL
        vcpu.guest.call_hypervisor(KVM_HC_CLOCK_PAIRING, page(SPARE), clock_type, program)

    assert (slot.take_log(), slot.contents()) == ([], before)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_record_at_the_end_of_a_page(vcpu: X86Vcpu, slot: MemorySlot) -> None:
    """A record whose last byte is a page's last is written and logged, and its neighbours are as before."""
    slot.memory[: 2 * PAGE_SIZE] = 2 * FILLED
    before = slot.contents()
    vcpu.set_msr(MSR_KVM_SYSTEM_TIME_NEW, page(1) - RECORD_SIZE | KVM_MSR_ENABLED)

    enter(vcpu)

    assert (slot.take_log(), written(before, slot)) == ([0], [0])
    assert slot.contents()[0][:-RECORD_SIZE] == FILLED[:-RECORD_SIZE]


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_record_across_pages_is_written_whole_or_not(vcpu: X86Vcpu, slot: MemorySlot) -> None:
    """A record that crosses into another page is written in both, or in neither; the log says which."""
    slot.memory[: 2 * PAGE_SIZE] = 2 * FILLED
    vcpu.set_msr(MSR_KVM_SYSTEM_TIME_NEW, page(1) - RECORD_SIZE // 2 | KVM_MSR_ENABLED)

    enter(vcpu)

    parts = written(2 * [FILLED] + 2 * [bytes(PAGE_SIZE)], slot)
    assert parts in ([], [0, 1])
    assert set(parts) <= set(slot.take_log()) <= {0, 1}


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_read_only_slot_is_not_written(vcpu: X86Vcpu, slot: MemorySlot) -> None:
    """Areas in a read-only slot are not written, and the guest runs on without them."""
    vcpu.vm.require(uapi.KVM_CAP_READONLY_MEM)
    slot.remove()
    slot.insert(KVM_MEM_READONLY)
    before = slot.contents()

    register(vcpu)
    vcpu.set_msr(MSR_KVM_WALL_CLOCK_NEW, page(WALL))
    enter(vcpu)

    assert slot.contents() == before


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_slot_removed_under_a_registration(vcpu: X86Vcpu, slot: MemorySlot) -> None:
    """Areas whose slot is removed are not written, and the guest runs on; with the slot they return."""
    register(vcpu)
    slot.remove()
    before = slot.contents()
    set_clock(vcpu)
    enter(vcpu)
    removed = slot.contents()

    slot.insert()
    slot.take_log()
    set_clock(vcpu)
    enter(vcpu)

    assert removed == before
    assert areas(vcpu) <= set(slot.take_log())
    assert areas(vcpu) <= set(written(before, slot))


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_area_outside_of_memory_is_in_no_log(vcpu: X86Vcpu, slot: MemorySlot) -> None:
    """A record registered where the VM has no memory is written nowhere, and no page of a slot is logged."""
    empty = slot.contents()
    vcpu.set_msr(MSR_KVM_SYSTEM_TIME_NEW, NO_MEMORY | KVM_MSR_ENABLED)

    enter(vcpu)
    set_clock(vcpu)
    enter(vcpu)

    assert (slot.take_log(), slot.contents()) == ([], empty)


def test_slot_without_the_flag_has_no_log(vcpu: X86Vcpu, slot: MemorySlot) -> None:
    """Without KVM_MEM_LOG_DIRTY_PAGES KVM_GET_DIRTY_LOG gives ENOENT; with it again the log starts empty."""
    register(vcpu)
    slot.insert(0)
    with refused(errno.ENOENT):
        slot.take_log()

    set_clock(vcpu)
    enter(vcpu)
    slot.insert(KVM_MEM_LOG_DIRTY_PAGES)

    assert slot.take_log() == []


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_STEAL_TIME")
@EACH_CALL
def test_paused_vcpu_is_not_marked_preempted(
    vcpu: X86Vcpu, slot: MemorySlot, call: Callable[[X86Vcpu], None]
) -> None:
    """Steal time, `preempted` included, is what the last entry left, after any call of user space."""
    vcpu.vm.require(uapi.KVM_CAP_STEAL_TIME)
    register(vcpu)
    vcpu.finish_exit()
    before = slot.contents()[STEAL]

    call(vcpu)

    assert slot.contents()[STEAL] == before
