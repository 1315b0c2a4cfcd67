# SPDX-License-Identifier: GPL-2.0-only
"""A guest's deadlines: set by its stimecmp, by the SBI, or by user space.

Source: arch/riscv/kvm/vcpu_timer.c; RISC-V Privileged Architecture, Sstc; RISC-V SBI, Timer Extension.
"""

from __future__ import annotations

import errno

import pytest

from fixtures.counters import NSEC_PER_MSEC
from fixtures.kvm.errors import GuestFault
from fixtures.kvm.expect import refused
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.uapi.kvm import KVM_REG_SIZE_MASK, KVM_REG_SIZE_U32
from fixtures.uapi.riscv.csr import CAUSE_IRQ_FLAG, EXC_INST_ILLEGAL, IRQ_S_TIMER
from fixtures.uapi.riscv.kvm import REG_TIMER_COMPARE, REG_TIMER_STATE, REG_TIMER_TIME, csr_reg
from fixtures.uapi.riscv.sbi import SBI_EXT_TIME
from kvmtests.riscv.timers import FAR, NEVER, OFF, ON, arm, deadline_ahead, now

SSTC = "RISC-V Privileged Architecture, stimecmp"
SET_TIMER = "RISC-V SBI, Timer Extension"
SIP = csr_reg("sip")
pytestmark = pytest.mark.promise(architectural=SET_TIMER)


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
    """Pending with a stimecmp in the past; not with one soon or far ahead, as an unsigned number."""
    looks = []
    for deadline in (0, FAR, now(vcpu) + 100 * soon, 1, 2**63, NEVER):
        vcpu.guest.write_csr("stimecmp", deadline)
        looks.append(vcpu.guest.look_at_timer().pending)

    assert looks == [True, False, False, True, False, False]


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


@pytest.mark.parametrize("passed", [True, False], ids=["zero", "now"])
def test_interrupt_of_a_past_deadline_comes(vcpu: RiscvVcpu, patience: int, passed: bool) -> None:
    """A deadline that has passed when it is set makes the interrupt pending."""
    vcpu.guest.set_deadline(0 if passed else now(vcpu))

    assert vcpu.guest.await_timer(now(vcpu) + patience).pending


@pytest.mark.parametrize("deadline", [FAR, 2**63, NEVER], ids=["hours-away", "two-to-63", "never"])
def test_no_interrupt_before_a_far_deadline(vcpu: RiscvVcpu, quiet: int, deadline: int) -> None:
    """With a deadline far ahead, as an unsigned number, nothing is pending within 50 ms."""
    vcpu.guest.set_deadline(deadline)

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


@pytest.mark.promise(architectural="RISC-V Privileged Architecture, sip.STIP and scause")
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
def test_past_deadline_of_user_space_is_pending(vcpu: RiscvVcpu, patience: int) -> None:
    """A timer that user space restores after its deadline fires."""
    vcpu.time = FAR
    arm(vcpu, 0)

    assert vcpu.guest.await_timer(FAR + patience).pending


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
def test_deadline_of_user_space_is_met(vcpu: RiscvVcpu, soon: int, patience: int) -> None:
    """A timer that user space restores fires at its deadline and not early: compare, then the state ON."""
    deadline = now(vcpu) + 10 * soon
    arm(vcpu, deadline)

    look = vcpu.guest.await_timer(deadline + patience)

    assert look.pending
    assert look.after >= deadline


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
def test_refused_register_leaves_the_deadline(vcpu: RiscvVcpu, soon: int, patience: int) -> None:
    """After KVM has refused registers of the timer with 32 bits the interrupt comes as it was due."""
    deadline = deadline_ahead(vcpu, 10 * soon)

    for reg_id in (REG_TIMER_TIME, REG_TIMER_COMPARE, REG_TIMER_STATE):
        with refused(errno.EINVAL):
            vcpu.set_reg(reg_id & ~KVM_REG_SIZE_MASK | KVM_REG_SIZE_U32, 0)
    look = vcpu.guest.await_timer(deadline + patience)

    assert look.pending
    assert look.after >= deadline


def test_unknown_function_leaves_the_deadline(vcpu: RiscvVcpu, soon: int, patience: int) -> None:
    """After another function of the Timer Extension the interrupt comes at the deadline that was set."""
    deadline = deadline_ahead(vcpu, soon)

    vcpu.guest.call_sbi(SBI_EXT_TIME, 1, FAR)
    look = vcpu.guest.await_timer(deadline + patience)

    assert look.pending
    assert look.after >= deadline


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
@pytest.mark.usefixtures("no_sstc")
def test_sip_follows_the_timer(vcpu: RiscvVcpu, patience: int) -> None:
    """Without Sstc user space reads in sip an interrupt that is pending, and none after a new deadline."""
    vcpu.guest.set_deadline(0)
    pending = vcpu.guest.await_timer(now(vcpu) + patience).pending, vcpu.get_reg(SIP)

    vcpu.guest.set_deadline(NEVER)

    assert (pending, vcpu.get_reg(SIP)) == ((True, 1 << IRQ_S_TIMER), 0)


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
@pytest.mark.usefixtures("no_sstc")
def test_timer_that_fires_outside_is_off(vcpu: RiscvVcpu, soon: int) -> None:
    """Without Sstc a deadline that passes while the vCPU is outside of KVM_RUN switches the state off."""
    vcpu.guest.set_deadline(now(vcpu) + soon)

    vcpu.vm.time.sleep_ns(100 * NSEC_PER_MSEC)

    assert vcpu.state == OFF
    assert vcpu.guest.look_at_timer().pending


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
