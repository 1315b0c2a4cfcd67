# SPDX-License-Identifier: GPL-2.0-only
"""What is set of the VM or of another vCPU while a guest reads its counters without ever leaving."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from fixtures.counters import OutsideWindow, Window
from fixtures.guests import layout
from fixtures.kvm.arm64.gic import Gic
from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.arm64.watching import StepsBack, counter_steps, word_steps
from fixtures.kvm.attribute import Attribute
from fixtures.kvm.expect import refused
from fixtures.kvm.meanwhile import await_readings
from fixtures.kvm.run_delay import RunDelay
from fixtures.kvm.system import Kvm
from fixtures.kvm.values import Reading
from fixtures.uapi import kvm as uapi
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.arm64 import smccc
from fixtures.uapi.arm64.arm_gic_v3 import GICD_CTLR, GICR_ISENABLER0, SGI_BASE
from fixtures.uapi.arm64.pvclock import pvclock_vcpu_stolen_time
from fixtures.uapi.arm64.sysreg import ICC_PMR_EL1
from kvmtests.arm64.counters import COUNTERS, offset_counter
from kvmtests.arm64.timers import ENABLE, PHYSICAL, VIRTUAL

pytestmark = [
    pytest.mark.promise(architectural="Arm ARM, The Generic Timer: counters count up"),
    pytest.mark.thorough,
]

NO_STEP = StepsBack(0, 0)
BACK = 2**30
ROUNDS = 3
SLOW_LIMIT_S = 30.0  # giving others their turn takes seconds where there are many

Change = Callable[[Arm64Vcpu], None]


def sets_timers(vcpu: Arm64Vcpu) -> None:
    """Set both timers by KVM_SET_ONE_REG."""
    for timer in (VIRTUAL, PHYSICAL):
        timer.set(vcpu, "cval", 12345)
        timer.set(vcpu, "ctl", ENABLE)


def arms_timers(vcpu: Arm64Vcpu) -> None:
    """Let the guest arm both timers, far ahead."""
    for timer in (VIRTUAL, PHYSICAL):
        timer.arm(vcpu, 2**48)
        timer.write(vcpu, "ctl", 0)


def resets(vcpu: Arm64Vcpu) -> None:
    """Reset the vCPU by KVM_ARM_VCPU_INIT."""
    vcpu.finish_exit()
    vcpu.init()


def finds_itself_busy(vcpu: Arm64Vcpu) -> None:
    """Have KVM_ARM_SET_COUNTER_OFFSET refused."""
    vcpu.vm.require_counter_offset()
    with refused(errno.EBUSY):
        vcpu.vm.set_counter_offset(BACK)


def reads_all_registers(vcpu: Arm64Vcpu) -> None:
    """Read the counters and timers as a VMM that saves them."""
    for timer in (VIRTUAL, PHYSICAL):
        for register in ("cnt", "cval", "ctl"):
            timer.get(vcpu, register)


CHANGES: list[Change] = [sets_timers, arms_timers, resets, finds_itself_busy, reads_all_registers]


def stays_on_its_line(name: str, before: Reading, last: int, window: Window) -> None:
    """Fail unless a counter that was read *before* and counted on is *last* within *window* of the host's."""
    expected = Window(
        before.value + window.first - before.after, before.value + window.last - before.before, before.bits
    )
    if last not in expected:
        raise OutsideWindow(name, last, expected)


@pytest.mark.parametrize("change", CHANGES, ids=[change.__name__.replace("_", "-") for change in CHANGES])
def test_others_leave_the_running_counters(vcpus: list[Arm64Vcpu], change: Change) -> None:
    """Both counters of a guest that reads them all the while count on, whatever is done to another vCPU."""
    other, reader = vcpus
    other.guest.read_cntvct()
    virtual, physical = reader.guest.read_cntvct(), reader.guest.read_cntpct()

    def work() -> None:
        for _ in range(ROUNDS):
            change(other)
            other.guest.read_cntvct()

    seen = counter_steps(reader, work)

    assert (seen.virtual, seen.physical) == (NO_STEP, NO_STEP)
    stays_on_its_line("CNTVCT_EL0 at last", virtual, seen.last_virtual, seen.last)
    stays_on_its_line("CNTPCT_EL0 at last", physical, seen.last_physical, seen.last)


@pytest.mark.parametrize("counter", COUNTERS)
def test_guests_of_another_vm_leave_the_running_counters(
    kvm: Kvm[Arm64Vm], vcpu: Arm64Vcpu, counter: Counter
) -> None:
    """Both counters of a guest that reads them count on while another VM's guest, with an offset, is run."""
    other = kvm.create_vm().create_vcpu(0)
    offset_counter(other, counter, BACK)
    virtual, physical = vcpu.guest.read_cntvct(), vcpu.guest.read_cntpct()

    def work() -> None:
        for _ in range(ROUNDS):
            other.guest.read_counter(counter)
            await_readings(vcpu, vcpu.guest.readings_so_far, 3)

    seen = counter_steps(vcpu, work)

    assert (seen.virtual, seen.physical) == (NO_STEP, NO_STEP)
    stays_on_its_line("CNTVCT_EL0 at last", virtual, seen.last_virtual, seen.last)
    stays_on_its_line("CNTPCT_EL0 at last", physical, seen.last_physical, seen.last)


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
def test_counter_set_takes_at_most_that_step(vcpus: list[Arm64Vcpu]) -> None:
    """A virtual counter that is set back through another vCPU steps back by that at most, CNTPCT never."""
    other, reader = vcpus
    other.guest.read_cntvct()
    physical = reader.guest.read_cntpct()

    def work() -> None:
        for _ in range(ROUNDS):
            VIRTUAL.set(other, "cnt", (VIRTUAL.get(other, "cnt") - BACK) % 2**64)
            other.guest.read_cntvct()

    seen = counter_steps(reader, work)

    after = reader.guest.read_cntpct()
    stays_on_its_line("CNTPCT_EL0 at the next entry", physical, after.value, after.window)
    assert seen.physical == NO_STEP
    assert seen.virtual.count <= ROUNDS
    assert seen.virtual.largest <= ROUNDS * BACK


@pytest.mark.promise(documented="Documentation/virt/kvm/arm/pvtime.rst, Stolen Time")
def test_watched_stolen_time_grows(vcpus: list[Arm64Vcpu], run_delay: RunDelay) -> None:
    """A second vCPU never finds another one's stolen time less than before, once that one has it."""
    other, reader = vcpus
    other.vm.require(uapi.KVM_CAP_STEAL_TIME)
    reader.run_limit_s = SLOW_LIMIT_S
    reader.guest.read_cntvct()
    group, number = kvm_arm64.KVM_ARM_VCPU_PVTIME_CTRL, kvm_arm64.KVM_ARM_VCPU_PVTIME_IPA

    other.attribute(group, number, "KVM_ARM_VCPU_PVTIME_IPA").set_u64(layout.steal_time(other.id))
    other.guest.call_hypervisor(smccc.ARM_SMCCC_HV_PV_TIME_ST)

    def work() -> None:
        for _ in range(ROUNDS):
            run_delay.wait()
            other.guest.read_cntvct()
            await_readings(reader, reader.guest.readings_so_far, 2)

    stolen_time = layout.steal_time(other.id) + pvclock_vcpu_stolen_time.stolen_time.offset

    assert word_steps(reader, stolen_time, work) == NO_STEP


def distributor(gic: Gic) -> Attribute:
    """Return a register of the distributor."""
    return gic.distributor_register(GICD_CTLR, "GICD_CTLR")


def redistributor(gic: Gic) -> Attribute:
    """Return a register of the redistributor of a vCPU that does not run."""
    return gic.redistributor_register(0, SGI_BASE + GICR_ISENABLER0, "GICR_ISENABLER0")


def cpu_interface(gic: Gic) -> Attribute:
    """Return a register of the CPU interface of a vCPU that does not run."""
    return gic.cpu_register(0, ICC_PMR_EL1, "ICC_PMR_EL1")


REGISTERS = [distributor, redistributor, cpu_interface]


@pytest.mark.promise(documented="Documentation/virt/kvm/devices/arm-vgic-v3.rst, Errors: EBUSY")
@pytest.mark.parametrize(
    "register", [distributor, redistributor, cpu_interface], ids=lambda find: find.__name__
)
def test_gic_is_busy_while_a_vcpu_runs(
    vm: Arm64Vm, vcpus: list[Arm64Vcpu], register: Callable[[Gic], Attribute]
) -> None:
    """While any vCPU runs, registers of the GIC are neither read nor written: EBUSY; afterwards they are."""
    gic = vm.create_gic()
    gic.require_registers()
    gic.init()
    before = register(gic).get_u64()

    with vcpus[1].guest.spinning():
        with refused(errno.EBUSY):
            register(gic).get_u64()
        with refused(errno.EBUSY):
            register(gic).set_u64(0xF0)

    assert register(gic).get_u64() == before
    register(gic).set_u64(before)
    assert register(gic).get_u64() == before
