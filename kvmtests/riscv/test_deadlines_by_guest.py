# SPDX-License-Identifier: GPL-2.0-only
"""Deadlines that guests set, by stimecmp or by the SBI, and what becomes of their interrupts.

A timer is never early. How late it is depends on the host, so no claim limits that.

Source: arch/riscv/kvm/vcpu_timer.c: kvm_riscv_vcpu_timer_next_event(), kvm_riscv_vcpu_timer_pending();
arch/riscv/kvm/vcpu_sbi_replace.c: kvm_sbi_ext_time_handler().
"""

from __future__ import annotations

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC, wrap
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.kvm.riscv.vm import RiscvVm
from fixtures.uapi.riscv import kvm as kvm_riscv
from fixtures.uapi.riscv import sbi
from fixtures.uapi.riscv.csr import CAUSE_IRQ_FLAG, IRQ_S_TIMER

pytestmark = pytest.mark.promise(architectural="RISC-V SBI, Timer Extension")

OFF, ON = kvm_riscv.KVM_RISCV_TIMER_STATE_OFF, kvm_riscv.KVM_RISCV_TIMER_STATE_ON
NEVER = 2**64 - 1
FAR = 2**44
SOON_NS = 50 * NSEC_PER_MSEC
DEADLINES = [
    pytest.param(0, id="zero"),
    pytest.param(FAR, id="hours-away"),
    pytest.param(2**63, id="two-to-63"),
    pytest.param(NEVER, id="never"),
]


def in_ns(vcpu: RiscvVcpu, duration_ns: int) -> int:
    """Return the guest's time in *duration_ns* from now."""
    return wrap(vcpu.time + duration_ns * vcpu.frequency // NSEC_PER_SEC)


def arm(vcpu: RiscvVcpu, deadline: int) -> None:
    """Let the guest set its deadline as it can."""
    if vcpu.has_sstc:
        vcpu.guest.write_csr("stimecmp", deadline)
    else:
        assert vcpu.guest.set_timer(deadline).error == sbi.SBI_SUCCESS


@pytest.mark.parametrize("deadline", DEADLINES)
def test_set_timer_sets_the_deadline(vcpu: RiscvVcpu, deadline: int) -> None:
    """The SBI's set_timer takes a value of the guest's time, which user space reads in compare."""
    vcpu.time = 2**40

    returned = vcpu.guest.set_timer(deadline)

    assert (returned.error, vcpu.compare) == (sbi.SBI_SUCCESS, deadline)


@pytest.mark.parametrize("deadline", DEADLINES)
def test_only_a_deadline_that_is_over_is_pending(vcpu: RiscvVcpu, deadline: int) -> None:
    """Time and deadline are compared as unsigned numbers of 64 bits."""
    vcpu.time = 2**40
    arm(vcpu, deadline)
    vcpu.vm.time.sleep_ns(NSEC_PER_MSEC)  # without Sstc the host's timer comes by an interrupt

    assert vcpu.guest.look_at_timer().pending == (deadline == 0)


def test_later_deadline_takes_the_interrupt_back(vcpu: RiscvVcpu) -> None:
    """A pending interrupt is no longer pending once the guest has set a deadline to come."""
    arm(vcpu, 0)
    vcpu.vm.time.sleep_ns(NSEC_PER_MSEC)
    first = vcpu.guest.look_at_timer()

    arm(vcpu, NEVER)

    assert first.pending
    assert not vcpu.guest.look_at_timer().pending


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
@pytest.mark.usefixtures("no_sstc")
def test_state_follows_the_timer(vcpu: RiscvVcpu) -> None:
    """Without Sstc the state is ON from set_timer until the interrupt comes."""
    vcpu.guest.set_timer(FAR)
    armed = vcpu.state
    vcpu.guest.set_timer(in_ns(vcpu, SOON_NS))
    vcpu.vm.time.sleep_ns(2 * SOON_NS)
    look = vcpu.guest.look_at_timer()

    assert look.pending
    assert (armed, vcpu.state) == (ON, OFF)


@pytest.mark.promise(architectural="RISC-V Privileged Architecture, Sstc: stimecmp")
@pytest.mark.usefixtures("sstc")
def test_stimecmp_and_compare_are_one_register(vcpu: RiscvVcpu) -> None:
    """With Sstc the guest reads the deadline that user space wrote, and user space the guest's."""
    vcpu.compare = FAR
    seen = vcpu.guest.read_csr("stimecmp").value
    vcpu.guest.write_csr("stimecmp", FAR + 1)
    vcpu.guest.read_time()

    assert (seen, vcpu.compare) == (FAR, FAR + 1)
    assert vcpu.guest.read_csr("stimecmp").value == FAR + 1


@pytest.mark.promise(architectural="RISC-V Privileged Architecture, Sstc and htimedelta")
@pytest.mark.usefixtures("sstc")
def test_interrupt_follows_the_guests_time_with_sstc(vcpu: RiscvVcpu) -> None:
    """Time that user space moves past the deadline and back makes the interrupt come and go."""
    vcpu.compare = FAR

    seen = []
    for time in (0, 2 * FAR, 0, FAR):
        vcpu.time = time
        seen.append(vcpu.guest.look_at_timer().pending)

    assert seen == [False, True, False, True]


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
@pytest.mark.usefixtures("no_sstc")
def test_time_moved_back_delays_the_interrupt(vm: RiscvVm, vcpu: RiscvVcpu) -> None:
    """Without Sstc an armed timer waits longer where user space has moved the time back."""
    vcpu.time = FAR
    vcpu.guest.set_timer(in_ns(vcpu, NSEC_PER_SEC))

    vcpu.time = FAR - 3600 * vcpu.frequency
    vm.time.sleep_ns(NSEC_PER_SEC + SOON_NS)

    assert not vcpu.guest.look_at_timer().pending
    assert vcpu.state == ON


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
def test_wfi_lasts_until_the_deadline(vcpu: RiscvVcpu) -> None:
    """A guest that waits for its timer is not woken before the deadline, and sees the interrupt then."""
    deadline = in_ns(vcpu, SOON_NS)
    arm(vcpu, deadline)

    assert vcpu.guest.wait_for_interrupt() >= deadline


@pytest.mark.promise(architectural="RISC-V Privileged Architecture, sip.STIP and scause")
def test_timer_interrupts_a_computing_guest(vcpu: RiscvVcpu) -> None:
    """The interrupt is taken at the deadline or later, with the cause of a timer's."""
    deadline = in_ns(vcpu, SOON_NS)
    arm(vcpu, deadline)

    time, cause = vcpu.guest.take_interrupt()

    assert cause == CAUSE_IRQ_FLAG | IRQ_S_TIMER
    assert time >= deadline


def test_unknown_function_is_refused(vcpu: RiscvVcpu) -> None:
    """A function that the Timer Extension does not have gives an error and sets no deadline."""
    returned = vcpu.guest.call_sbi(sbi.SBI_EXT_TIME, 7, 0)

    assert returned.error < 0
    assert vcpu.compare == NEVER
