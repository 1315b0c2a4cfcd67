# SPDX-License-Identifier: GPL-2.0-only
"""A guest's deadline after user space has moved its time: past the deadline, or back from it.

Source: arch/riscv/kvm/vcpu_timer.c: kvm_riscv_vcpu_set_reg_timer(), kvm_riscv_vcpu_hrtimer_expired();
RISC-V Privileged Architecture, Sstc.
"""

from __future__ import annotations

import pytest

from fixtures.counters import NSEC_PER_MSEC
from fixtures.kvm.errors import GuestFault
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.kvm.riscv.vm import RiscvVm
from fixtures.kvm.system import Kvm
from fixtures.targets import Probe
from fixtures.uapi.riscv.csr import EXC_INST_ILLEGAL
from kvmtests.riscv.timers import FAR, OFF, ON, deadline_ahead, now, ticks

pytestmark = pytest.mark.promise(architectural="RISC-V SBI, Timer Extension")


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


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
def test_time_moved_in_another_vm_meets_no_deadline(kvm: Kvm[RiscvVm], vcpu: RiscvVcpu, quiet: int) -> None:
    """A deadline that user space moves another VM's time past is still ahead of this VM's guest."""
    other = kvm.create_vm().create_vcpu(0)
    deadline = now(vcpu) + FAR
    vcpu.guest.set_deadline(deadline)

    other.time = deadline + 1
    look = vcpu.guest.await_timer(now(vcpu) + quiet)

    assert (look.pending, look.after < deadline) == (False, True)


@pytest.mark.promise(architectural="RISC-V Privileged Architecture, the CSR time is read-only")
def test_guest_cannot_move_the_time_over_its_deadline(vcpus: list[RiscvVcpu], quiet: int) -> None:
    """A guest's CSRW of a time past its deadline is illegal: it waits on, and all vCPUs' time counts on."""
    writer, other = vcpus
    deadline = now(writer) + FAR
    writer.guest.set_deadline(deadline)
    first = other.guest.read_time()

    with pytest.raises(GuestFault) as fault:
        writer.guest.write_csr("time", deadline + 1)

    assert fault.value.vector == EXC_INST_ILLEGAL
    last = other.guest.read_time()
    assert last.value in last.since(first.before, first.after).shifted(first.value)
    assert not writer.guest.await_timer(now(writer) + quiet).pending


@pytest.mark.promise(architectural="RISC-V Privileged Architecture, Sstc and htimedelta")
@pytest.mark.usefixtures("sstc")
def test_interrupt_follows_a_time_that_moves(vcpu: RiscvVcpu, quiet: int) -> None:
    """With Sstc a time that moves past the deadline and back makes the interrupt come and go."""
    vcpu.guest.write_csr("stimecmp", FAR)

    looks = []
    for time in (0, 2 * FAR, 0, FAR):
        vcpu.time = time
        looks.append(vcpu.guest.await_timer(time + quiet).pending)

    assert looks == [False, True, False, True]


def test_time_moved_back_makes_the_deadline_later(vcpu: RiscvVcpu, soon: int, patience: int) -> None:
    """A time that moves back moves a deadline of the guest's: it is not met early."""
    vcpu.time = FAR  # so far ahead of 0 that it can be moved back
    deadline = deadline_ahead(vcpu, 10 * soon)

    vcpu.time = deadline - 20 * soon
    look = vcpu.guest.await_timer(deadline + patience)

    assert look.pending
    assert look.after >= deadline


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
@pytest.mark.usefixtures("no_sstc")
def test_timer_stays_on_while_its_deadline_moves_away(vcpu: RiscvVcpu, soon: int) -> None:
    """Without Sstc the state is still ON after a wait that a time moved back has made too short."""
    vcpu.time = FAR
    deadline_ahead(vcpu, 10 * soon)

    vcpu.time = 0
    look = vcpu.guest.await_timer(20 * soon)

    assert (look.pending, vcpu.state) == (False, ON)


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
@pytest.mark.usefixtures("no_sstc")
def test_timer_switched_off_and_on_fires_then(vcpu: RiscvVcpu, soon: int, quiet: int) -> None:
    """Without Sstc a deadline passes in silence while the state is OFF, and is met once it is ON again."""
    deadline_ahead(vcpu, 10 * soon)

    vcpu.state = OFF
    vcpu.vm.time.sleep_ns(300 * NSEC_PER_MSEC)
    silent = vcpu.guest.look_at_timer().pending
    vcpu.state = ON

    assert (silent, vcpu.guest.await_timer(now(vcpu) + quiet).pending) == (False, True)
