# SPDX-License-Identifier: GPL-2.0-only
"""When the decrementer's interrupt comes: at the deadline, wherever offset and deadline were written from.

Source: Power ISA, Book III, Decrementer; arch/powerpc/kvm/book3s_hv.c: kvmppc_set_timer(), H_CEDE.
"""

from __future__ import annotations

import pytest

from fixtures.kvm.powerpc.vcpu import PpcVcpu
from kvmtests.powerpc.timebase import STEP, guest_now

pytestmark = pytest.mark.promise(architectural="Power ISA, Book III, Decrementer Interrupt")


@pytest.fixture
def soon(second: int) -> int:
    """40 ms in ticks."""
    return second // 25


@pytest.fixture
def quiet(second: int) -> int:
    """100 ms in ticks, in which an interrupt that must not come has time to."""
    return second // 10


@pytest.mark.parametrize("offset", [0, 2**36, 2**64 - 2**30])
def test_interrupt_comes_at_the_deadline(vcpu: PpcVcpu, offset: int, soon: int, second: int) -> None:
    """The guest takes the interrupt when its time base has reached the deadline, not before."""
    vcpu.timebase_offset = offset
    vcpu.deadline_ticks = deadline_ticks = guest_now(vcpu) + soon

    taken = vcpu.guest.await_decrementer(deadline_ticks + 4 * second)

    assert taken >= deadline_ticks


def test_deadline_that_has_passed_interrupts_at_once(vcpu: PpcVcpu, second: int) -> None:
    """A deadline in the guest's past interrupts within seconds once the guest allows interrupts."""
    vcpu.deadline_ticks = guest_now(vcpu) - 1000

    assert vcpu.guest.await_decrementer(guest_now(vcpu) + 4 * second)


def test_no_interrupt_before_the_deadline(vcpu: PpcVcpu, quiet: int, second: int) -> None:
    """A deadline that is far away interrupts nothing."""
    vcpu.deadline_ticks = guest_now(vcpu) + 3 * second

    assert vcpu.guest.await_decrementer(guest_now(vcpu) + quiet) == 0


def test_offset_takes_the_guest_over_its_deadline(vcpu: PpcVcpu, second: int) -> None:
    """A guest that an offset moves past its deadline takes the interrupt within a second."""
    vcpu.deadline_ticks = deadline_ticks = guest_now(vcpu) + 3 * second

    vcpu.timebase_offset = 4 * second

    taken = vcpu.guest.await_decrementer(guest_now(vcpu) + second)
    assert taken >= deadline_ticks


def test_offset_takes_the_guest_away_from_its_deadline(
    vcpu: PpcVcpu, soon: int, quiet: int, second: int
) -> None:
    """A guest that an offset moves back waits for longer: the interrupt comes by its own time base."""
    vcpu.timebase_offset = 2**40
    vcpu.deadline_ticks = guest_now(vcpu) + soon

    vcpu.timebase_offset = 2**40 - 3 * second // STEP * STEP

    assert vcpu.guest.await_decrementer(guest_now(vcpu) + quiet) == 0


def test_guest_interrupts_itself(vcpu: PpcVcpu, soon: int, second: int) -> None:
    """A deadline that the guest set interrupts it after an exit, as it would have without."""
    access = vcpu.guest.write_decrementer(soon)

    taken = vcpu.guest.await_decrementer(access.after + 4 * second)

    assert taken >= access.before + soon


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
@pytest.mark.parametrize("offset", [0, 2**36])
def test_waiting_guest_wakes_at_the_deadline(vcpu: PpcVcpu, offset: int, soon: int) -> None:
    """H_CEDE, which KVM handles, ends with the decrementer's interrupt, and not before the deadline."""
    vcpu.timebase_offset = offset
    vcpu.deadline_ticks = deadline_ticks = guest_now(vcpu) + soon

    taken = vcpu.guest.cede()

    assert taken >= deadline_ticks


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
def test_waiting_guest_whose_deadline_has_passed_does_not_wait(vcpu: PpcVcpu) -> None:
    """H_CEDE with a deadline in the past ends, though no other deadline is to come."""
    vcpu.deadline_ticks = guest_now(vcpu) - 1000

    assert vcpu.guest.cede()
