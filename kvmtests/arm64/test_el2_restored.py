# SPDX-License-Identifier: GPL-2.0-only
"""A vCPU with EL2 saved and restored in another VM, in the orders that VMMs may have.

Source: arch/arm64/kvm/arch_timer.c: kvm_arm_timer_set_reg(), kvm_timer_vcpu_load_nested_switch();
Arm ARM, CNTVOFF_EL2, CNTHP_CTL_EL2, CNTHV_CTL_EL2.
"""

from __future__ import annotations

import pytest

from fixtures.kvm.arm64.interrupts import GicGuest, Patience
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.system import Kvm
from fixtures.restore.arm64.el2 import EL2_ORDERS, EL2_PARTS
from fixtures.restore.parts import copy_memory, restore, save
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.arm64 import sysreg
from fixtures.uapi.arm64.sysreg import ARCH_TIMER_CTRL_ENABLE as ENABLE
from fixtures.uapi.arm64.sysreg import ARCH_TIMER_CTRL_IT_STAT as ISTATUS
from fixtures.uapi.arm64.sysreg import SysReg
from kvmtests.arm64.el2 import EL1, EL2, VM_OFFSET, el2_vcpus, guest_reads, read, write

pytestmark = [
    pytest.mark.promise(architectural="Arm ARM, CNTVOFF_EL2 and CNTHP_CTL_EL2"),
    pytest.mark.requires("KVM_CAP_ARM_EL2"),
    pytest.mark.thorough,
]
ALL_ORDERS = [pytest.param(order, id=name) for name, order in EL2_ORDERS.items()]
CNTVOFF = 0x7_0000_0000
AHEAD = 2**40
"""Ticks: a deadline that no test lives to see."""

TIMERS = [
    pytest.param("cnthp", sysreg.CNTHP_CTL_EL2, sysreg.CNTHP_CVAL_EL2, 26, id="physical"),
    pytest.param("cnthv", sysreg.CNTHV_CTL_EL2, sysreg.CNTHV_CVAL_EL2, 28, id="virtual"),
]
"""EL2's timers: name, registers and PPI."""


@pytest.fixture
def source(vm: Arm64Vm) -> Arm64Vcpu:
    """The vCPU that is saved: VM offset, CNTVOFF_EL2, and far deadlines of all four timers."""
    return with_offsets(vm, CNTVOFF)


def with_offsets(vm: Arm64Vm, cntvoff: int = 0) -> Arm64Vcpu:
    """Return a vCPU with EL2 in *vm*, whose offset is set, with timers that wait."""
    (vcpu,) = el2_vcpus(vm)
    vm.set_counter_offset(VM_OFFSET)
    vm.gic.require_registers()
    if cntvoff:
        write(vcpu, sysreg.CNTVOFF_EL2, cntvoff)
        far = vm.time.counter() + AHEAD
        for register in (sysreg.CNTHP_CVAL_EL2, sysreg.CNTHV_CVAL_EL2):
            write(vcpu, register, far)
        vcpu.set_reg(kvm_arm64.KVM_REG_ARM_TIMER_CVAL, far)
        vcpu.set_reg(kvm_arm64.KVM_REG_ARM_PTIMER_CVAL, far)
    return vcpu


def moved(kvm: Kvm[Arm64Vm], source: Arm64Vcpu, order: tuple[str, ...]) -> Arm64Vcpu:
    """Return a vCPU of another VM to which *source* was saved and restored in *order*."""
    saved = save(source, EL2_PARTS, order)
    destination = with_offsets(kvm.create_vm())
    copy_memory(source, destination)
    restore(destination, EL2_PARTS, saved, order)
    return destination


@pytest.mark.parametrize("order", ALL_ORDERS)
def test_timers_of_both_levels_read_back(
    kvm: Kvm[Arm64Vm], source: Arm64Vcpu, order: tuple[str, ...]
) -> None:
    """Whatever the order, all registers of the timers of EL2 and EL1 are what they were."""
    write(source, sysreg.CNTHP_CTL_EL2, ENABLE)
    source.set_reg(kvm_arm64.KVM_REG_ARM_TIMER_CTL, ENABLE)
    timers = [name for name in order if name not in {"gic", "distributor"}]
    before = save(source, EL2_PARTS, timers)

    destination = moved(kvm, source, order)

    assert save(destination, EL2_PARTS, timers) == before


@pytest.mark.parametrize("order", ALL_ORDERS)
def test_counters_of_both_levels_continue(
    kvm: Kvm[Arm64Vm], source: Arm64Vcpu, order: tuple[str, ...]
) -> None:
    """Whatever the order, EL2 has the VM's offset after it, and EL1 also CNTVOFF_EL2, to the tick."""
    destination = moved(kvm, source, order)

    physical = destination.guest.enter(EL2).read_cntpct()
    virtual = destination.guest.enter(EL1).read_cntvct()
    assert physical.value in physical.window.shifted(-VM_OFFSET)
    assert virtual.value in virtual.window.shifted(-VM_OFFSET - CNTVOFF)


@pytest.mark.parametrize("order", ALL_ORDERS)
@pytest.mark.parametrize(("name", "ctl", "cval", "ppi"), TIMERS)
def test_expired_timer_of_el2_stays_expired(
    kvm: Kvm[Arm64Vm],
    source: Arm64Vcpu,
    name: str,
    ctl: SysReg,
    cval: SysReg,
    ppi: int,
    order: tuple[str, ...],
) -> None:
    """A timer of EL2 that was due when it was saved shows ISTATUS after it, and raises its PPI alone."""
    write(source, cval, 0)
    write(source, ctl, ENABLE)

    destination = moved(kvm, source, order)

    assert guest_reads(destination, f"{name}_ctl_el2") == ENABLE | ISTATUS
    assert GicGuest(destination).private_irqs().pending == {ppi}


@pytest.mark.parametrize("deadline_first", [True, False], ids=["cval-first", "ctl-first"])
@pytest.mark.parametrize(("name", "ctl", "cval", "ppi"), TIMERS)
def test_status_that_was_saved_is_not_kept(
    vm: Arm64Vm, name: str, ctl: SysReg, cval: SysReg, ppi: int, deadline_first: bool
) -> None:
    """ISTATUS of a CTL that was saved from a timer that was due is not that of one whose deadline is far."""
    del name, ppi
    vcpu = with_offsets(vm)
    values = [(cval, vm.time.counter() + AHEAD), (ctl, ENABLE | ISTATUS)]
    for register, value in values if deadline_first else reversed(values):
        write(vcpu, register, value)

    assert read(vcpu, ctl) == ENABLE


@pytest.mark.promise(architectural="Arm ARM, HCR_EL2.IMO, and CNTHP_CTL_EL2")
@pytest.mark.parametrize("order", ALL_ORDERS)
def test_restored_hypervisor_takes_its_interrupts(
    kvm: Kvm[Arm64Vm], source: Arm64Vcpu, quiet: int, order: tuple[str, ...]
) -> None:
    """The IMO that was saved routes an expired timer of EL2 to EL2 in the other VM."""
    write(source, sysreg.HCR_EL2, read(source, sysreg.HCR_EL2) | sysreg.HCR_E2H | sysreg.HCR_IMO)

    guest = GicGuest(moved(kvm, source, order))
    guest.enable((26,))
    waited = guest.program("cntp_cval", 0, Patience(quiet, enough=1))

    assert waited.intids() == [26]


@pytest.mark.parametrize("order", ALL_ORDERS)
def test_deadline_of_el1_is_due_by_its_own_count(
    kvm: Kvm[Arm64Vm], source: Arm64Vcpu, order: tuple[str, ...]
) -> None:
    """A deadline between EL1's virtual count and EL2's is not due after it, for CNTVOFF_EL2 came along."""
    between = source.guest.enter(EL1).read_cntvct().value + CNTVOFF // 2
    source.set_reg(kvm_arm64.KVM_REG_ARM_TIMER_CVAL, between)
    source.set_reg(kvm_arm64.KVM_REG_ARM_TIMER_CTL, ENABLE)

    destination = moved(kvm, source, order)

    assert destination.guest.enter(EL1).read_timer("cntv_ctl").value == ENABLE
    write(destination, sysreg.CNTVOFF_EL2, 0)
    assert destination.guest.enter(EL1).read_timer("cntv_ctl").value == ENABLE | ISTATUS
