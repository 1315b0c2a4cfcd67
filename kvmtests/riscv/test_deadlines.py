# SPDX-License-Identifier: GPL-2.0-only
"""A guest's deadlines: set by its stimecmp, by the SBI, or by user space; moved with its time.

Source: arch/riscv/kvm/vcpu_timer.c; RISC-V Privileged Architecture, Sstc; RISC-V SBI, Timer Extension.
"""

from __future__ import annotations

import pytest

from fixtures.counters import NSEC_PER_MSEC
from fixtures.kvm.errors import GuestFault
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.targets import Probe, Target
from fixtures.uapi.riscv.csr import CAUSE_IRQ_FLAG, EXC_INST_ILLEGAL, IRQ_S_TIMER
from kvmtests.riscv.timers import FAR, NEVER, OFF, ON, arm, ticks

SSTC = "RISC-V Privileged Architecture, stimecmp"
SET_TIMER = "RISC-V SBI, Timer Extension"
pytestmark = pytest.mark.promise(architectural=SET_TIMER)


@pytest.fixture
def soon(target: Target, target_facts: Probe) -> int:
    """20 ms in ticks; 20 us of virtual time, since a simulated guest that waits takes long."""
    return ticks(target_facts, 20 * (1000 if target.simulated else NSEC_PER_MSEC))


@pytest.fixture
def patience(target_facts: Probe) -> int:
    """5 s in ticks, in which an interrupt that must come has come."""
    return ticks(target_facts, 5000 * NSEC_PER_MSEC)


@pytest.fixture
def quiet(target: Target, target_facts: Probe) -> int:
    """50 ms in ticks, in which an interrupt that must not come has time to; 50 us of virtual time."""
    return ticks(target_facts, 50 * (1000 if target.simulated else NSEC_PER_MSEC))


def now(vcpu: RiscvVcpu) -> int:
    """Return the guest's time, as the guest reads it."""
    return vcpu.guest.read_time().value


def deadline_ahead(vcpu: RiscvVcpu, distance: int) -> int:
    """Have the guest set a deadline that still lies ahead once it is set; return it.

    It is *distance* ticks away, or more on a host so slow that it has passed by then.
    """
    while True:
        deadline = now(vcpu) + distance
        if vcpu.guest.set_deadline(deadline).last < deadline:
            return deadline
        distance *= 2


@pytest.mark.promise(architectural=SSTC)
@pytest.mark.usefixtures("sstc")
def test_guest_reads_the_compare_of_user_space(vcpu: RiscvVcpu) -> None:
    """What user space writes to compare is the guest's stimecmp."""
    vcpu.compare = FAR

    assert vcpu.guest.read_csr("stimecmp").value == FAR


@pytest.mark.promise(architectural=SSTC)
@pytest.mark.usefixtures("sstc")
def test_user_space_reads_the_stimecmp_of_the_guest(vcpu: RiscvVcpu) -> None:
    """What the guest writes to stimecmp is compare, and survives exits."""
    vcpu.guest.write_csr("stimecmp", FAR)
    vcpu.guest.read_time()

    assert vcpu.compare == FAR
    assert vcpu.guest.read_csr("stimecmp").value == FAR


@pytest.mark.promise(architectural=SSTC)
@pytest.mark.usefixtures("no_sstc")
def test_guest_without_sstc_has_no_stimecmp(vcpu: RiscvVcpu) -> None:
    """Without Sstc stimecmp is an illegal instruction in the guest."""
    with pytest.raises(GuestFault) as fault:
        vcpu.guest.read_csr("stimecmp")

    assert fault.value.vector == EXC_INST_ILLEGAL


@pytest.mark.promise(architectural=SSTC)
@pytest.mark.usefixtures("sstc")
def test_interrupt_is_pending_while_stimecmp_has_passed(vcpu: RiscvVcpu, soon: int) -> None:
    """Pending with a stimecmp in the past; not with one far ahead, nor with one that comes soon."""
    looks = []
    for deadline in (0, FAR, now(vcpu) + 100 * soon, 1):
        vcpu.guest.write_csr("stimecmp", deadline)
        looks.append(vcpu.guest.look_at_timer().pending)

    assert looks == [True, False, False, True]


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
def test_state_shows_who_waits(vcpu: RiscvVcpu) -> None:
    """With a deadline the state is ON where KVM waits for the deadline, and OFF where hardware does."""
    vcpu.guest.set_deadline(FAR)

    assert vcpu.state == (OFF if vcpu.has_sstc else ON)


def test_interrupt_comes_and_is_not_early(vcpu: RiscvVcpu, soon: int, patience: int) -> None:
    """The interrupt becomes pending at the deadline or later."""
    deadline = deadline_ahead(vcpu, soon)

    look = vcpu.guest.await_timer(deadline + patience)

    assert look.pending
    assert look.after >= deadline


def test_interrupt_of_a_past_deadline_comes(vcpu: RiscvVcpu, patience: int) -> None:
    """A deadline that has passed when it is set makes the interrupt pending."""
    vcpu.guest.set_deadline(now(vcpu))

    assert vcpu.guest.await_timer(now(vcpu) + patience).pending


def test_no_interrupt_before_a_far_deadline(vcpu: RiscvVcpu, quiet: int) -> None:
    """With a deadline far ahead nothing is pending within 50 ms."""
    vcpu.guest.set_deadline(FAR)

    assert not vcpu.guest.await_timer(now(vcpu) + quiet).pending


def test_new_deadline_clears_a_pending_interrupt(vcpu: RiscvVcpu, quiet: int, patience: int) -> None:
    """A new deadline takes back the interrupt of one that has passed."""
    vcpu.guest.set_deadline(now(vcpu))
    before = vcpu.guest.await_timer(now(vcpu) + patience).pending

    vcpu.guest.set_deadline(NEVER)

    assert before
    assert not vcpu.guest.await_timer(now(vcpu) + quiet).pending


def test_last_deadline_holds(vcpu: RiscvVcpu, soon: int, patience: int) -> None:
    """A later deadline that replaces an earlier one is not met early."""
    vcpu.guest.set_deadline(now(vcpu) + soon)
    deadline = deadline_ahead(vcpu, 3 * soon)

    look = vcpu.guest.await_timer(deadline + patience)

    assert look.pending
    assert look.after >= deadline


def test_sleeping_vcpu_wakes(vcpu: RiscvVcpu, soon: int) -> None:
    """WFI ends with the interrupt pending, at the deadline or later."""
    deadline = deadline_ahead(vcpu, soon)

    assert vcpu.guest.wait_for_interrupt() >= deadline


def test_interrupt_is_taken(vcpu: RiscvVcpu, soon: int) -> None:
    """A guest with the interrupt enabled enters its handler at the deadline or later, with its cause."""
    deadline = deadline_ahead(vcpu, soon)

    time, cause = vcpu.guest.take_interrupt()

    assert cause == CAUSE_IRQ_FLAG | IRQ_S_TIMER
    assert time >= deadline


def test_deadlines_are_the_vcpus_own(vcpus: list[RiscvVcpu], quiet: int) -> None:
    """The deadline of one vCPU makes no interrupt pending on another."""
    vcpus[0].guest.set_deadline(0)

    assert not vcpus[1].guest.await_timer(now(vcpus[1]) + quiet).pending


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
def test_deadline_of_user_space_is_met(vcpu: RiscvVcpu, soon: int, patience: int) -> None:
    """A timer that user space restores fires at its deadline and not early: compare, then the state ON."""
    deadline = now(vcpu) + 10 * soon
    arm(vcpu, deadline)

    look = vcpu.guest.await_timer(deadline + patience)

    assert look.pending
    assert look.after >= deadline


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
@pytest.mark.usefixtures("no_sstc")
def test_switching_the_timer_off_cancels_the_deadline(vcpu: RiscvVcpu, soon: int) -> None:
    """Without Sstc the state OFF keeps the interrupt of a deadline from coming."""
    deadline = deadline_ahead(vcpu, 10 * soon)

    vcpu.state = OFF

    assert not vcpu.guest.await_timer(deadline + soon).pending


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
@pytest.mark.usefixtures("no_sstc")
def test_timer_is_off_once_it_has_fired(vcpu: RiscvVcpu, soon: int, patience: int) -> None:
    """Without Sstc the state is OFF after the interrupt came."""
    deadline = deadline_ahead(vcpu, soon)

    look = vcpu.guest.await_timer(deadline + patience)

    assert (look.pending, vcpu.state) == (True, OFF)


@pytest.mark.promise(architectural="RISC-V Privileged Architecture, htimedelta")
def test_time_moved_over_the_deadline_makes_it_pending(
    vcpu: RiscvVcpu, target_facts: Probe, quiet: int
) -> None:
    """A time that user space moves past the deadline makes the interrupt pending at the guest's next run."""
    ahead = ticks(target_facts, 20_000 * NSEC_PER_MSEC)
    deadline = now(vcpu) + ahead
    vcpu.guest.set_deadline(deadline)

    vcpu.time = deadline + ahead

    assert vcpu.guest.await_timer(deadline + ahead + quiet).pending


@pytest.mark.promise(architectural=SSTC)
@pytest.mark.usefixtures("sstc")
def test_time_moved_back_before_the_deadline_takes_it_back(vcpu: RiscvVcpu, quiet: int) -> None:
    """With Sstc a time that moves back before a deadline that has passed ends its interrupt."""
    vcpu.time = 2 * FAR
    vcpu.guest.write_csr("stimecmp", FAR)
    before = vcpu.guest.look_at_timer().pending

    vcpu.time = 0

    assert before
    assert not vcpu.guest.await_timer(quiet).pending


def test_time_moved_back_makes_the_deadline_later(vcpu: RiscvVcpu, soon: int, patience: int) -> None:
    """A time that moves back moves a deadline of the guest's: it is not met early."""
    vcpu.time = FAR  # so far ahead of 0 that it can be moved back
    deadline = deadline_ahead(vcpu, 10 * soon)

    vcpu.time = deadline - 20 * soon
    look = vcpu.guest.await_timer(deadline + patience)

    assert look.pending
    assert look.after >= deadline
