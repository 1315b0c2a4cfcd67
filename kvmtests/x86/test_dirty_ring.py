# SPDX-License-Identifier: GPL-2.0-only
"""The dirty rings as an instrument: order, handing back, a full ring, and what KVM refuses.

What is written here is the wall clock, which KVM writes when user space writes its MSR: three entries
of one page, or fewer.

Source: Documentation/virt/kvm/api.rst, KVM_CAP_DIRTY_LOG_RING; virt/kvm/dirty_ring.c.
"""

from __future__ import annotations

import errno

import pytest

from fixtures.guests.layout import PAGE_SIZE
from fixtures.kvm.dirty_ring import RingInMemory, require_dirty_rings
from fixtures.kvm.exits import Exit, IoExit
from fixtures.kvm.expect import refused
from fixtures.kvm.system import Kvm
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.kvm import KVM_EXIT_DIRTY_RING_FULL, KVM_MEM_LOG_DIRTY_PAGES
from kvmtests.x86.rings import X86RingGuest, ringed_guest, write_wall_clock, written

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_CAP_DIRTY_LOG_RING"),
    pytest.mark.thorough,
]

DE_FACTO = "Linux 6.12 to 7.3"
MOST = 8  # entries of one round of `fill`, and more


@pytest.fixture
def guest(vm: X86Vm) -> X86RingGuest:
    """A guest whose memory KVM logs in dirty rings."""
    return ringed_guest(vm)


def fill(guest: X86RingGuest) -> Exit:
    """Let KVM write and the guest run until it leaves otherwise, or no entry is free; return how it left.

    KVM's own writes wait for no room: the last `MOST` entries stay unused, whatever KVM does.
    """
    guest.vcpu.guest.load("tsc")
    left = guest.vcpu.run()
    for _ in range(guest.ring.entries):
        if not isinstance(left, IoExit) or guest.ring.entry(guest.ring.entries - MOST).flags:
            break
        write_wall_clock(guest.vcpu, 1)
        left = guest.vcpu.run()
    return left


def guest_ran(guest: X86RingGuest) -> bool:
    """KVM_RUN, and return whether the guest has read its TSC."""
    return ran(guest.vcpu)


def ran(vcpu: X86Vcpu) -> bool:
    """The same of any vCPU whose program is loaded."""
    vcpu.guest.mailbox.result[0] = 0
    vcpu.run()
    return bool(vcpu.guest.mailbox.result[0])


def test_writes_are_in_order(guest: X86RingGuest) -> None:
    """Entries are in the order of the writes."""
    for page in (3, 1, 2):
        write_wall_clock(guest.vcpu, page)

    assert list(dict.fromkeys(guest.ring.harvest())) == [written(3), written(1), written(2)]


def test_write_is_in_the_ring_of_its_vcpu(guest: X86RingGuest) -> None:
    """There is a ring for each vCPU: a write while one is loaded is in its ring, and in no other."""
    other = guest.vcpu.vm.create_vcpu(1)
    other_ring = RingInMemory(other, guest.size)

    write_wall_clock(other, 2)

    assert (set(guest.ring.harvest()), set(other_ring.harvest())) == (set(), {written(2)})


def test_full_ring_keeps_no_other_vcpu_out(guest: X86RingGuest) -> None:
    """A vCPU whose own ring has room enters its guest, however full another's is."""
    other = guest.vcpu.vm.create_vcpu(1)
    other.guest.load("tsc")

    fill(guest)

    assert not guest_ran(guest)
    assert ran(other)


def test_page_is_in_the_ring_again(guest: X86RingGuest) -> None:
    """A page that is written again after its entry was handed back has an entry again."""
    write_wall_clock(guest.vcpu, 1)
    guest.ring.harvest()
    guest.vcpu.vm.reset_dirty_rings()

    write_wall_clock(guest.vcpu, 1)

    assert set(guest.ring.harvest()) == {written(1)}


def test_reset_counts_what_was_harvested(guest: X86RingGuest) -> None:
    """KVM_RESET_DIRTY_RINGS returns how many entries it took back, 0 if there are no more."""
    write_wall_clock(guest.vcpu, 1)
    write_wall_clock(guest.vcpu, 2)
    harvested = len(guest.ring.harvest())

    assert harvested > 1
    assert [guest.vcpu.vm.reset_dirty_rings() for _ in range(2)] == [harvested, 0]


def test_reset_leaves_what_was_not_harvested(guest: X86RingGuest) -> None:
    """Entries that user space has not read stay as they are: not all must be harvested at once."""
    for page in (1, 2, 3):
        write_wall_clock(guest.vcpu, page)
    waiting = guest.ring.waiting()
    first = guest.ring.harvest(1)

    assert guest.vcpu.vm.reset_dirty_rings() == 1

    assert first == [written(1)]
    assert guest.ring.waiting() == waiting - 1
    assert set(guest.ring.harvest()) >= {written(2), written(3)}


def test_entries_are_unused_after_the_reset(guest: X86RingGuest) -> None:
    """Entries that were handed back have no flag, and those after them never had one."""
    write_wall_clock(guest.vcpu, 1)
    guest.ring.harvest()

    guest.vcpu.vm.reset_dirty_rings()

    assert {guest.ring.entry(index).flags for index in range(guest.ring.entries)} == {0}


def test_writes_continue_after_the_reset(guest: X86RingGuest) -> None:
    """Writes after a reset go where those before it ended, around the ring and on."""
    seen = 0

    while seen <= guest.ring.entries:
        write_wall_clock(guest.vcpu, 1)
        harvested = guest.ring.harvest()
        assert set(harvested) == {written(1)}
        assert guest.vcpu.vm.reset_dirty_rings() == len(harvested)
        seen += len(harvested)


def test_reset_is_of_all_rings(guest: X86RingGuest) -> None:
    """KVM_RESET_DIRTY_RINGS takes back what was harvested from the rings of all vCPUs."""
    vcpus = [guest.vcpu, guest.vcpu.vm.create_vcpu(1)]
    rings = [guest.ring, RingInMemory(vcpus[1], guest.size)]
    for vcpu in vcpus:
        write_wall_clock(vcpu, vcpu.id)
    harvested = [len(ring.harvest()) for ring in rings]

    assert guest.vcpu.vm.reset_dirty_rings() == sum(harvested)
    assert [ring.entry(0).flags for ring in rings] == [0, 0]


def test_full_ring_keeps_the_guest_out(guest: X86RingGuest) -> None:
    """KVM_RUN ends with KVM_EXIT_DIRTY_RING_FULL, before the last entry is used, and no guest code runs."""
    left = fill(guest)

    assert left.reason == KVM_EXIT_DIRTY_RING_FULL
    assert not guest_ran(guest)


@pytest.mark.promise(de_facto=DE_FACTO)
def test_harvest_alone_frees_nothing(guest: X86RingGuest) -> None:
    """A ring whose entries were harvested, and not handed back, is as full as before."""
    fill(guest)
    guest.ring.harvest()

    assert guest.vcpu.run().reason == KVM_EXIT_DIRTY_RING_FULL


def test_reset_lets_the_guest_in(guest: X86RingGuest) -> None:
    """After its ring was harvested and reset the guest runs, and further writes are in the ring."""
    fill(guest)
    harvested = guest.ring.harvest()
    reset = guest.vcpu.vm.reset_dirty_rings()

    assert guest_ran(guest)
    write_wall_clock(guest.vcpu, 2)

    assert set(harvested) == {written(1)}
    assert reset == len(harvested)
    assert set(guest.ring.harvest()) == {written(2)}


def test_slot_without_the_flag_is_in_no_ring(guest: X86RingGuest) -> None:
    """Writes to a slot without KVM_MEM_LOG_DIRTY_PAGES are in no ring; with the flag again they are."""
    guest.slot.insert(0)
    write_wall_clock(guest.vcpu, 1)
    without = guest.ring.harvest()

    guest.slot.insert(KVM_MEM_LOG_DIRTY_PAGES)
    write_wall_clock(guest.vcpu, 2)

    assert (without, set(guest.ring.harvest())) == ([], {written(2)})


@pytest.mark.promise(de_facto=DE_FACTO)
def test_entries_outlive_their_slot(guest: X86RingGuest) -> None:
    """Entries of a slot that was removed can be harvested and handed back, and the guest runs on."""
    write_wall_clock(guest.vcpu, 1)
    guest.slot.remove()

    harvested = guest.ring.harvest()

    assert set(harvested) == {written(1)}
    assert guest.vcpu.vm.reset_dirty_rings() == len(harvested)
    guest.vcpu.guest.read_tsc()


def test_rings_replace_the_bitmap(guest: X86RingGuest) -> None:
    """With rings KVM_GET_DIRTY_LOG is refused, ENXIO, and the writes are in the ring."""
    write_wall_clock(guest.vcpu, 1)

    with refused(errno.ENXIO):
        guest.slot.take_log()

    assert set(guest.ring.harvest()) == {written(1)}


@pytest.mark.parametrize(
    ("size", "number"),
    [
        pytest.param(0, errno.EINVAL, id="nothing"),
        pytest.param(PAGE_SIZE // 2, errno.EINVAL, id="half-a-page"),
        pytest.param(12 * PAGE_SIZE, errno.EINVAL, id="not-a-power-of-two"),
    ],
)
def test_impossible_size_is_refused(vm: X86Vm, size: int, number: int) -> None:
    """A ring's size is a power of two, and a page at least; what was refused has no effect."""
    capability = require_dirty_rings(vm)

    with refused(number):
        vm.enable_dirty_rings(size, capability)

    vm.enable_dirty_rings(64 * PAGE_SIZE, capability)


@pytest.mark.promise(de_facto=DE_FACTO)
def test_largest_size_is_what_kvm_says(vm: X86Vm) -> None:
    """KVM_CHECK_EXTENSION returns the largest size in bytes; twice as much is E2BIG, and has no effect."""
    capability = require_dirty_rings(vm)
    largest = vm.check_extension(capability)

    with refused(errno.E2BIG):
        vm.enable_dirty_rings(2 * largest, capability)

    vm.enable_dirty_rings(largest, capability)


def test_rings_come_before_vcpus(vm: X86Vm) -> None:
    """Rings are refused once the VM has a vCPU: EINVAL."""
    capability = require_dirty_rings(vm)
    vm.create_vcpu(0)

    with refused(errno.EINVAL):
        vm.enable_dirty_rings(64 * PAGE_SIZE, capability)


@pytest.mark.promise(de_facto=DE_FACTO)
def test_rings_are_enabled_once(vm: X86Vm) -> None:
    """Rings are refused, EINVAL, to a VM that has them, whatever their size."""
    capability = require_dirty_rings(vm)
    vm.enable_dirty_rings(64 * PAGE_SIZE, capability)

    for size in (64 * PAGE_SIZE, 16 * PAGE_SIZE):
        with refused(errno.EINVAL):
            vm.enable_dirty_rings(size, capability)


@pytest.mark.promise(de_facto=DE_FACTO)
def test_reset_without_rings_is_refused(vm: X86Vm) -> None:
    """KVM_RESET_DIRTY_RINGS of a VM without rings is refused: EINVAL."""
    require_dirty_rings(vm)

    with refused(errno.EINVAL):
        vm.reset_dirty_rings()


@pytest.mark.promise(de_facto=DE_FACTO)
def test_rings_are_of_one_vm(kvm: Kvm[X86Vm], guest: X86RingGuest) -> None:
    """Another VM has no rings to reset (EINVAL), and the attempt leaves the entries of the one that has."""
    write_wall_clock(guest.vcpu, 1)

    with refused(errno.EINVAL):
        kvm.create_vm().reset_dirty_rings()

    assert guest.ring.waiting() > 0
    assert guest.ring.harvest(1) == [written(1)]
