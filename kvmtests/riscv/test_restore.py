# SPDX-License-Identifier: GPL-2.0-only
"""A vCPU's timer saved by its registers and restored in another VM, in every order.

Without Sstc the state has to come last: it starts KVM's own timer for the compare and the time that are
there. The state OFF is left out, as KVM refuses it (docs/findings/off-state-is-refused.md).

Source: arch/riscv/kvm/vcpu_timer.c: kvm_riscv_vcpu_set_reg_timer(), kvm_riscv_vcpu_update_hrtimer().
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

import pytest

from fixtures.counters import NSEC_PER_MSEC, Window
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.kvm.riscv.vm import RiscvVm
from fixtures.kvm.system import Kvm
from fixtures.targets import Probe, Target
from kvmtests.riscv.timers import OFF, ticks
from kvmtests.windows import timed

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG"),
    pytest.mark.thorough,
]

REGISTERS = ("time", "compare", "state")
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
