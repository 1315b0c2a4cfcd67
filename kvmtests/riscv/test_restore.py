# SPDX-License-Identifier: GPL-2.0-only
"""A vCPU's timer saved by its registers and restored in another VM, in every order.

Without Sstc the state has to come last: it starts KVM's own timer for the compare and the time that are
there. The state OFF is left out, as KVM refuses it (docs/findings/off-state-is-refused.md).

Source: arch/riscv/kvm/vcpu_timer.c: kvm_riscv_vcpu_set_reg_timer(), kvm_riscv_vcpu_update_hrtimer().
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ctypes import sizeof
from itertools import permutations

import pytest

from fixtures.counters import NSEC_PER_MSEC, Window
from fixtures.guests import layout
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.kvm.riscv.vm import RiscvVm
from fixtures.kvm.run_delay import RunDelay
from fixtures.kvm.system import Kvm
from fixtures.targets import Probe, Target
from fixtures.uapi.riscv.csr import CAUSE_IRQ_FLAG, IRQ_S_TIMER
from fixtures.uapi.riscv.kvm import REG_STA_SHMEM_HI, REG_STA_SHMEM_LO, csr_reg
from fixtures.uapi.riscv.sbi import SBI_EXT_STA, SBI_EXT_STA_STEAL_TIME_SET_SHMEM, sbi_sta_struct
from kvmtests.riscv.timers import OFF, ticks
from kvmtests.windows import timed

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG"),
    pytest.mark.thorough,
]

REGISTERS = ("time", "compare", "state")
SIP = csr_reg("sip")
ORDERS = [pytest.param(order, id="-".join(order)) for order in permutations(REGISTERS)]


@pytest.fixture
def second(target_facts: Probe) -> int:
    """1 s in ticks."""
    return ticks(target_facts, 1000 * NSEC_PER_MSEC)


@pytest.fixture
def ahead(target: Target, target_facts: Probe) -> int:
    """250 ms in ticks; 250 us of virtual time, since a simulated guest that waits takes long."""
    return ticks(target_facts, 250 * (1000 if target.simulated else NSEC_PER_MSEC))


@pytest.fixture
def heir(kvm: Kvm[RiscvVm]) -> RiscvVcpu:
    """The vCPU of another VM, to which the timer is restored."""
    return kvm.create_vm().create_vcpu(0)


def saved(vcpu: RiscvVcpu) -> dict[str, int]:
    """Return the timer's registers by name."""
    return {name: getattr(vcpu, name) for name in REGISTERS}


def restore(vcpu: RiscvVcpu, registers: Mapping[str, int], order: Sequence[str]) -> Window:
    """Write *registers* in *order*; return the host's time between which the time was written.

    `CapabilityMissing` where this order loses the deadline of a timer that KVM itself waits for.
    """
    if not vcpu.has_sstc and order[-1] != "state":
        raise CapabilityMissing("Sstc, with which the order does not matter")
    at = Window(0, 0)
    for name in order:
        value = registers[name]
        if name == "state" and value == OFF:
            continue
        window, _ = timed(vcpu.vm, lambda name=name, value=value: setattr(vcpu, name, value))  # type: ignore[misc]
        at = window if name == "time" else at
    return at


@pytest.mark.parametrize("order", ORDERS)
def test_time_continues_from_what_was_saved(
    vcpu: RiscvVcpu, heir: RiscvVcpu, second: int, order: Sequence[str]
) -> None:
    """The heir's time is the one that was saved, plus what passed since it was written."""
    vcpu.guest.set_deadline(vcpu.time + 100 * second)
    registers = saved(vcpu)

    window = restore(heir, registers, order)

    reading = heir.guest.read_time()
    assert reading.value in reading.since(window.first, window.last).shifted(registers["time"])


@pytest.mark.parametrize("order", ORDERS)
def test_deadline_is_the_one_that_was_saved(
    vcpu: RiscvVcpu, heir: RiscvVcpu, second: int, order: Sequence[str]
) -> None:
    """The heir's compare and state are those that were saved, also after it has run."""
    vcpu.guest.set_deadline(vcpu.time + 100 * second)
    registers = saved(vcpu)
    deadline = registers["compare"], registers["state"]
    restore(heir, registers, order)
    before = heir.compare, heir.state

    heir.guest.read_time()

    assert before == (heir.compare, heir.state) == deadline


@pytest.mark.parametrize("order", ORDERS)
def test_restored_deadline_is_met(
    vcpu: RiscvVcpu, heir: RiscvVcpu, second: int, ahead: int, patience: int, order: Sequence[str]
) -> None:
    """The heir's interrupt comes at the deadline of the guest's time, or later."""
    deadline = vcpu.time + 100 * second
    vcpu.guest.set_deadline(deadline)
    registers = {**saved(vcpu), "time": deadline - ahead}
    restore(heir, registers, order)

    look = heir.guest.await_timer(deadline + patience)

    assert look.pending
    assert look.after >= deadline


@pytest.mark.parametrize("order", ORDERS)
def test_deadline_that_passed_on_the_way_is_pending(
    vcpu: RiscvVcpu, heir: RiscvVcpu, second: int, patience: int, order: Sequence[str]
) -> None:
    """A VMM that adds the time away to what it saved finds the interrupt pending at the guest's next run."""
    deadline = vcpu.time + 100 * second
    vcpu.guest.set_deadline(deadline)
    registers = {**saved(vcpu), "time": deadline + second}

    restore(heir, registers, order)

    assert heir.guest.await_timer(deadline + second + patience).pending


@pytest.mark.promise(architectural="RISC-V Privileged Architecture, sip.STIP and scause")
def test_restored_interrupt_is_taken(vcpu: RiscvVcpu, heir: RiscvVcpu, second: int) -> None:
    """The heir's guest enters its handler with the timer's cause if its deadline passed on the way."""
    deadline = vcpu.time + 100 * second
    vcpu.guest.set_deadline(deadline)
    restore(heir, {**saved(vcpu), "time": deadline + second}, REGISTERS)

    time, cause = heir.guest.take_interrupt()

    assert cause == CAUSE_IRQ_FLAG | IRQ_S_TIMER
    assert time >= deadline + second


@pytest.mark.usefixtures("no_sstc")
def test_pending_interrupt_is_restored_by_sip(vcpu: RiscvVcpu, heir: RiscvVcpu, patience: int) -> None:
    """Without Sstc an interrupt that is pending when sip is saved is pending for the heir, its timer off."""
    vcpu.guest.set_deadline(0)
    assert vcpu.guest.await_timer(vcpu.time + patience).pending

    heir.set_reg(SIP, vcpu.get_reg(SIP))

    assert (heir.state, heir.guest.look_at_timer().pending) == (OFF, True)


@pytest.mark.promise(architectural="RISC-V SBI, Steal-time Accounting Extension")
def test_steal_time_continues_in_the_heir(vcpu: RiscvVcpu, heir: RiscvVcpu, run_delay: RunDelay) -> None:
    """The heir's waits are added to the record that came with the memory, and its sequence continues."""
    vcpu.require_steal_time()
    at = layout.steal_time(0)
    vcpu.guest.call_sbi(SBI_EXT_STA, SBI_EXT_STA_STEAL_TIME_SET_SHMEM, at, 0, 0)
    run_delay.wait()
    vcpu.guest.read_time()
    place = slice(at, at + sizeof(sbi_sta_struct))
    heir.vm.memory[place] = vcpu.vm.memory[place]
    for reg_id in (REG_STA_SHMEM_LO, REG_STA_SHMEM_HI):
        heir.set_reg(reg_id, vcpu.get_reg(reg_id))

    outer_before = run_delay.so_far_ns()
    heir.guest.read_time()
    records, inner_before = [stolen(vcpu), stolen(heir)], run_delay.so_far_ns()
    run_delay.wait()
    inner_after = run_delay.so_far_ns()
    heir.guest.read_time()
    records, outer_after = [*records, stolen(heir)], run_delay.so_far_ns()

    gained_ns = records[2].steal - records[1].steal
    assert gained_ns in Window(inner_after - inner_before, outer_after - outer_before)
    assert records[1].steal >= records[0].steal
    assert records[0].sequence < records[1].sequence < records[2].sequence


def stolen(vcpu: RiscvVcpu) -> sbi_sta_struct:
    """Return the record of steal time as it lies in the guest's memory."""
    return sbi_sta_struct.from_buffer_copy(vcpu.vm.memory, layout.steal_time(0))
