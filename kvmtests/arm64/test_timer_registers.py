# SPDX-License-Identifier: GPL-2.0-only
"""The EL1 timers among the system registers: what user space reads, what a reset leaves, how they are listed.

Linux 6.18 moved CTL and CVAL there: user space reads what the last exit, or user space, left in memory.
Older kernels compute ISTATUS at each KVM_GET_ONE_REG (test_timers) and keep CVAL in a reset
(test_timers_and_offsets).

Source: arch/arm64/kvm/sys_regs.c: TIMER_REG(), arch_timer_set_user(); arch_timer.c: timer_save_state().
"""

from __future__ import annotations

import pytest

from fixtures.architectures import ARM64
from fixtures.counters import wrap
from fixtures.guests import layout
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.targets import Probe
from fixtures.uapi import kvm as uapi
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.arm64 import psci
from fixtures.uapi.arm64.sysreg import MPIDR_EL1, MPIDR_HWID_BITMASK
from kvmtests.arm64.timers import ENABLE, IMASK, ISTATUS, PHYSICAL, TIMERS, VIRTUAL, Timer

pytestmark = [
    pytest.mark.promise(de_facto="Linux 6.18 to 7.3"),
    pytest.mark.since("timers_are_system_registers"),
    pytest.mark.thorough,
]

FAR = 2**40  # ticks: hours
CONTROLS = [
    pytest.param(0, id="off"),
    pytest.param(ENABLE, id="ENABLE"),
    pytest.param(IMASK, id="IMASK"),
    pytest.param(ENABLE | IMASK, id="ENABLE-IMASK"),
]
MPIDR = kvm_arm64.ARM64_SYS_REG(*MPIDR_EL1)
IN_THE_LISTS_ORDER = [PHYSICAL.cnt, VIRTUAL.cnt, PHYSICAL.ctl, PHYSICAL.cval, VIRTUAL.ctl, VIRTUAL.cval]
"""By the encodings of their names in the architecture, of which VIRTUAL's cnt and cval have each other's."""


@pytest.fixture
def of_the_cpu(target_facts: Probe, timer: Timer) -> bool:
    """Whether the guest's *timer* is the CPU's own: outside of VHE KVM emulates the physical one."""
    return timer is VIRTUAL or target_facts.facts.get("mode") == "vhe"


@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize("control", CONTROLS)
def test_status_is_not_computed_for_user_space(vcpu: Arm64Vcpu, timer: Timer, control: int) -> None:
    """CTL that user space wrote reads back without ISTATUS, also where CVAL is reached."""
    timer.set(vcpu, "cval", timer.get(vcpu, "cnt"))

    timer.set(vcpu, "ctl", control | ISTATUS)

    assert timer.get(vcpu, "ctl") == control


@pytest.mark.parametrize("timer", TIMERS)
def test_status_is_that_of_the_last_exit(vcpu: Arm64Vcpu, timer: Timer, of_the_cpu: bool) -> None:
    """CTL has ISTATUS as the CPU had it when the guest was left, whatever CVAL is by now.

    CTL of a timer that KVM emulates never has it.
    """
    timer.arm(vcpu, timer.count(vcpu) - 1, ENABLE | IMASK)
    due = timer.get(vcpu, "ctl")
    timer.set(vcpu, "cval", wrap(timer.get(vcpu, "cnt") + FAR))
    moved = timer.get(vcpu, "ctl")
    vcpu.guest.read_cntvct()

    status = ISTATUS if of_the_cpu else 0
    to_come = timer.get(vcpu, "ctl")
    assert (due, moved, to_come) == (ENABLE | IMASK | status, ENABLE | IMASK | status, ENABLE | IMASK)


@pytest.mark.parametrize("timer", TIMERS)
def test_written_control_has_no_status(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """CTL that user space writes back replaces the status of the last exit as well."""
    timer.arm(vcpu, timer.count(vcpu) - 1, ENABLE | IMASK)

    timer.set(vcpu, "ctl", timer.get(vcpu, "ctl"))

    assert timer.get(vcpu, "ctl") == ENABLE | IMASK


@pytest.mark.parametrize("timer", TIMERS)
def test_timer_that_user_space_switches_off_has_no_status(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """CTL 0, written to a timer that was due at the last exit, reads as 0, also after the next entry."""
    timer.arm(vcpu, timer.count(vcpu) - 1, ENABLE | IMASK)

    timer.set(vcpu, "ctl", 0)
    before = timer.get(vcpu, "ctl")
    vcpu.guest.read_cntvct()

    assert (before, timer.get(vcpu, "ctl")) == (0, 0)


@pytest.mark.parametrize("timer", TIMERS)
def test_reset_clears_the_deadline(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """KVM_ARM_VCPU_INIT of a vCPU that has run sets CVAL to 0, for user space and for the guest."""
    timer.arm(vcpu, timer.count(vcpu), ENABLE | IMASK)

    vcpu.init()

    assert (timer.get(vcpu, "cval"), timer.get(vcpu, "ctl")) == (0, 0)
    assert timer.read(vcpu, "cval").value == 0


@pytest.mark.parametrize("timer", TIMERS)
def test_power_on_clears_the_deadline(vcpus: list[Arm64Vcpu], timer: Timer) -> None:
    """A vCPU that PSCI CPU_ON starts finds CVAL 0."""
    caller, vcpu = vcpus
    timer.arm(vcpu, timer.count(vcpu), ENABLE | IMASK)
    vcpu.finish_exit()
    vcpu.mp_state = uapi.KVM_MP_STATE_STOPPED

    mpidr = vcpu.get_reg(MPIDR) & MPIDR_HWID_BITMASK
    answer = caller.guest.call_hypervisor(
        psci.PSCI_0_2_FN64_CPU_ON, mpidr, layout.entry(ARM64.name, "cntvct"), 0
    )
    vcpu.guest.restart("cntvct")

    assert answer.x[0] == psci.PSCI_RET_SUCCESS
    assert timer.read(vcpu, "cval").value == 0


def test_timers_are_listed_by_their_encodings(vcpu: Arm64Vcpu) -> None:
    """KVM_GET_REG_LIST has the physical count first, then the virtual one, then CTL and CVAL of each."""
    names = {getattr(kvm_arm64, name): name for name in IN_THE_LISTS_ORDER}
    ids, _ = vcpu.reg_list_with_room(4096)

    assert [names[reg_id] for reg_id in ids if reg_id in names] == IN_THE_LISTS_ORDER
