# SPDX-License-Identifier: GPL-2.0-only
"""The timers of EL2, those of EL1 as EL2 reaches them, and how CNTVOFF_EL2 moves a deadline.

Source: Arm ARM, CNTHP_CTL_EL2, CNTHV_CTL_EL2, CNTV_CTL_EL02; BSA, "PPI assignments";
arch/arm64/kvm/arch_timer.c.
"""

from __future__ import annotations

import errno

import pytest

from fixtures.kvm.arm64.interrupts import GicGuest, Patience
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.errors import GuestFault
from fixtures.kvm.expect import refused
from fixtures.uapi.arm64 import esr, sysreg
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.arm64.sysreg import ARCH_TIMER_CTRL_ENABLE as ENABLE
from fixtures.uapi.arm64.sysreg import ARCH_TIMER_CTRL_IT_MASK as IMASK
from fixtures.uapi.arm64.sysreg import ARCH_TIMER_CTRL_IT_STAT as ISTATUS
from fixtures.uapi.arm64.sysreg import SysReg
from kvmtests.arm64.el2 import EL1, EL2, el2_vcpus, guest_reads, guest_writes, read, write

pytestmark = [
    pytest.mark.promise(architectural="Arm ARM, CNTHP_CTL_EL2"),
    pytest.mark.requires("KVM_CAP_ARM_EL2"),
]

AHEAD = 2**36
"""Ticks: a deadline that no test lives to see."""

PPI_OF_CNTHP, PPI_OF_CNTHV = 26, 28
HYPERVISOR_TIMERS = [
    pytest.param("cnthp", sysreg.CNTHP_CTL_EL2, sysreg.CNTHP_CVAL_EL2, PPI_OF_CNTHP, id="physical"),
    pytest.param("cnthv", sysreg.CNTHV_CTL_EL2, sysreg.CNTHV_CVAL_EL2, PPI_OF_CNTHV, id="virtual"),
]


@pytest.mark.parametrize(("name", "ctl", "cval", "ppi"), HYPERVISOR_TIMERS)
def test_expired_timer_of_el2_raises_its_interrupt(
    hypervisor: Arm64Vcpu, name: str, ctl: SysReg, cval: SysReg, ppi: int
) -> None:
    """CNTHP_* and CNTHV_*, expired, show ISTATUS and raise a PPI each, and no other timer's."""
    write(hypervisor, cval, 0)
    write(hypervisor, ctl, ENABLE)

    assert guest_reads(hypervisor, f"{name}_ctl_el2") == ENABLE | ISTATUS
    assert GicGuest(hypervisor).private_irqs().pending == {ppi}


@pytest.mark.parametrize(("name", "ctl", "cval", "ppi"), HYPERVISOR_TIMERS)
def test_timer_of_el2_waits_for_its_deadline(
    hypervisor: Arm64Vcpu, name: str, ctl: SysReg, cval: SysReg, ppi: int
) -> None:
    """Before their deadlines CNTHP_* and CNTHV_* show no ISTATUS and raise nothing."""
    deadline = hypervisor.guest.enter(EL2).read_cntvct().value + AHEAD
    write(hypervisor, cval, deadline)
    write(hypervisor, ctl, ENABLE)

    assert guest_reads(hypervisor, f"{name}_cval_el2") == deadline
    assert guest_reads(hypervisor, f"{name}_ctl_el2") == ENABLE
    assert ppi not in GicGuest(hypervisor).private_irqs().pending


@pytest.mark.parametrize(("name", "ctl", "cval", "ppi"), HYPERVISOR_TIMERS)
def test_cntvoff_does_not_move_the_timers_of_el2(
    hypervisor: Arm64Vcpu, name: str, ctl: SysReg, cval: SysReg, ppi: int
) -> None:
    """A CNTVOFF_EL2 that takes the virtual count past the deadline leaves EL2's own timers waiting."""
    write(hypervisor, cval, hypervisor.guest.enter(EL2).read_cntvct().value + AHEAD)
    write(hypervisor, ctl, ENABLE)

    write(hypervisor, sysreg.CNTVOFF_EL2, -2 * AHEAD)

    assert guest_reads(hypervisor, f"{name}_ctl_el2") == ENABLE
    assert ppi not in GicGuest(hypervisor).private_irqs().pending


@pytest.mark.promise(architectural="Arm ARM, HCR_EL2.IMO, and CNTHP_CTL_EL2")
@pytest.mark.parametrize(("timer", "ppi"), [("cntp", PPI_OF_CNTHP), ("cntv", PPI_OF_CNTHV)])
def test_el2_takes_the_interrupts_of_its_timers(
    hypervisor: Arm64Vcpu, timer: str, ppi: int, quiet: int
) -> None:
    """With HCR_EL2.IMO an expired timer of EL2 interrupts EL2, which finds its number in ICC_IAR1_EL1."""
    write(hypervisor, sysreg.HCR_EL2, read(hypervisor, sysreg.HCR_EL2) | sysreg.HCR_E2H | sysreg.HCR_IMO)
    guest = GicGuest(hypervisor)
    guest.enable((PPI_OF_CNTHP, PPI_OF_CNTHV))

    waited = guest.program(f"{timer}_cval", 0, Patience(quiet, enough=1))

    assert waited.intids() == [ppi]


@pytest.mark.promise(
    documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_ARM_VCPU_TIMER_IRQ_VTIMER and others"
)
def test_equal_numbers_of_el2_do_not_run(vm: Arm64Vm) -> None:
    """A vCPU with EL2 whose two timers of EL2 have one interrupt number does not run: EINVAL."""
    vcpu = vm.create_el2_vcpu(0)
    gic = vm.create_gic()
    group, number = kvm_arm64.KVM_ARM_VCPU_TIMER_CTRL, kvm_arm64.KVM_ARM_VCPU_TIMER_IRQ_HPTIMER
    vcpu.attribute(group, number, "KVM_ARM_VCPU_TIMER_IRQ_HPTIMER").set_int(PPI_OF_CNTHV)
    gic.init()

    with refused(errno.EINVAL):
        vcpu.guest.read_cntvct()


@pytest.mark.promise(architectural="Arm ARM, CNTVOFF_EL2 and CNTV_CTL_EL0")
def test_cntvoff_moves_the_virtual_deadline_of_el1(hypervisor: Arm64Vcpu) -> None:
    """EL1's virtual timer expires when CNTVOFF_EL2 takes its count past the deadline, and not before."""
    deadline = hypervisor.guest.enter(EL1).read_cntvct().value + AHEAD
    hypervisor.set_reg(kvm_arm64.KVM_REG_ARM_TIMER_CVAL, deadline)
    hypervisor.set_reg(kvm_arm64.KVM_REG_ARM_TIMER_CTL, ENABLE)
    seen = []

    for offset in (0, -2 * AHEAD, 0):
        guest_writes(hypervisor, "cntvoff_el2", offset)
        by_el2 = guest_reads(hypervisor, "cntv_ctl_el02")
        by_el1 = hypervisor.guest.enter(EL1).read_timer("cntv_ctl").value
        seen.append((by_el2, by_el1))

    waiting, expired = (ENABLE, ENABLE), (ENABLE | ISTATUS, ENABLE | ISTATUS)
    assert seen == [waiting, expired, waiting]


@pytest.mark.promise(architectural="Arm ARM, CNTVOFF_EL2 and CNTP_CTL_EL0")
def test_cntvoff_leaves_the_physical_deadline_of_el1(hypervisor: Arm64Vcpu) -> None:
    """EL1's physical timer compares with the physical count: CNTVOFF_EL2 makes no difference to it."""
    deadline = hypervisor.guest.enter(EL1).read_cntpct().value + AHEAD
    hypervisor.set_reg(kvm_arm64.KVM_REG_ARM_PTIMER_CVAL, deadline)
    hypervisor.set_reg(kvm_arm64.KVM_REG_ARM_PTIMER_CTL, ENABLE)

    write(hypervisor, sysreg.CNTVOFF_EL2, -2 * AHEAD)

    assert hypervisor.guest.enter(EL1).read_timer("cntp_ctl").value == ENABLE


@pytest.mark.promise(architectural="Arm ARM, CNTV_CVAL_EL02")
@pytest.mark.parametrize("timer", ["cntv", "cntp"])
def test_el02_registers_are_those_of_el1(hypervisor: Arm64Vcpu, timer: str) -> None:
    """What EL2 writes to CNTV_CVAL_EL02 and CNTP_CVAL_EL02, EL1 and user space read; and the reverse."""
    reg_id = {"cntv": kvm_arm64.KVM_REG_ARM_TIMER_CVAL, "cntp": kvm_arm64.KVM_REG_ARM_PTIMER_CVAL}[timer]

    guest_writes(hypervisor, f"{timer}_cval_el02", 2**40 + 1)
    assert hypervisor.get_reg(reg_id) == 2**40 + 1
    assert hypervisor.guest.enter(EL1).read_timer(f"{timer}_cval").value == 2**40 + 1

    hypervisor.guest.enter(EL1).write_timer(f"{timer}_cval", 2**40 + 2)
    assert guest_reads(hypervisor, f"{timer}_cval_el02") == 2**40 + 2


@pytest.mark.promise(architectural="Arm ARM, CNTP_CTL_EL02: undefined where HCR_EL2.E2H is 0")
@pytest.mark.parametrize("register", ["cntp_ctl_el02", "cntv_cval_el02"])
def test_el02_names_need_vhe(vm: Arm64Vm, register: str) -> None:
    """To an EL2 without VHE the names *_EL02 are undefined."""
    (vcpu,) = el2_vcpus(vm, vhe=False)

    with pytest.raises(GuestFault):
        vcpu.guest.enter(EL2).run(f"read_{register}")

    assert read(vcpu, sysreg.ESR_EL2) >> esr.ESR_ELx_EC_SHIFT == esr.ESR_ELx_EC_UNKNOWN


@pytest.mark.promise(architectural="Arm ARM, HCR_EL2.E2H, redirection of accesses")
@pytest.mark.parametrize(
    ("timer", "own"),
    [("cntv", sysreg.CNTHV_CVAL_EL2), ("cntp", sysreg.CNTHP_CVAL_EL2)],
    ids=["virtual", "physical"],
)
def test_el0_registers_at_el2_are_its_own_timers(hypervisor: Arm64Vcpu, timer: str, own: SysReg) -> None:
    """With HCR_EL2.E2H, CNTV_CVAL_EL0 at EL2 is CNTHV_CVAL_EL2, CNTP_CVAL_EL0 is CNTHP_CVAL_EL2."""
    hypervisor.guest.enter(EL1).write_timer(f"{timer}_cval", 2**40)

    hypervisor.guest.enter(EL2).write_timer(f"{timer}_cval", 2**41)

    assert read(hypervisor, own) == 2**41
    assert hypervisor.guest.enter(EL1).read_timer(f"{timer}_cval").value == 2**40


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_ARM_VCPU_INIT")
@pytest.mark.parametrize(
    ("name", "cval"), [("cnthp", sysreg.CNTHP_CVAL_EL2), ("cnthv", sysreg.CNTHV_CVAL_EL2)]
)
def test_timer_enabled_after_initialising_again_is_due(
    hypervisor: Arm64Vcpu, name: str, cval: SysReg
) -> None:
    """After KVM_ARM_VCPU_INIT a timer of EL2 that is enabled without a deadline is due: CVAL is 0."""
    write(hypervisor, cval, 2**64 - 1)

    hypervisor.init()
    guest_writes(hypervisor, f"{name}_ctl_el2", ENABLE | IMASK)

    assert guest_reads(hypervisor, f"{name}_ctl_el2") == ENABLE | IMASK | ISTATUS


@pytest.mark.promise(architectural="Arm ARM, CNTHV_CTL_EL2: FEAT_VHE")
@pytest.mark.parametrize("register", ["ctl", "cval"])
def test_el2_without_vhe_arms_no_virtual_timer(vm: Arm64Vm, register: str) -> None:
    """A write of CNTHV_* by an EL2 without VHE is undefined: no interrupt, and EL1's deadlines stay."""
    (vcpu,) = el2_vcpus(vm, vhe=False)
    deadlines = {kvm_arm64.KVM_REG_ARM_TIMER_CVAL: 2**40, kvm_arm64.KVM_REG_ARM_PTIMER_CVAL: 2**41}
    for timer, deadline in deadlines.items():
        vcpu.set_reg(timer, deadline)

    with pytest.raises(GuestFault):
        vcpu.guest.enter(EL2).run(f"write_cnthv_{register}_el2", (ENABLE,))

    assert read(vcpu, sysreg.ESR_EL2) >> esr.ESR_ELx_EC_SHIFT == esr.ESR_ELx_EC_UNKNOWN
    assert {timer: vcpu.get_reg(timer) for timer in deadlines} == deadlines
    assert PPI_OF_CNTHV not in GicGuest(vcpu).private_irqs().pending


@pytest.mark.promise(architectural="Arm ARM, HCR_EL2.TWI, and ESR_ELx: ISS encoding for WF* instructions")
def test_hypervisor_finds_what_its_guest_waits_for(hypervisor: Arm64Vcpu) -> None:
    """In a WFI that it traps a hypervisor finds, unconditional, the wait for a timer, and its deadline."""
    write(hypervisor, sysreg.HCR_EL2, read(hypervisor, sysreg.HCR_EL2) | sysreg.HCR_TWI)
    hypervisor.guest.enter(EL1)
    deadline = hypervisor.guest.read_cntvct().value + AHEAD
    hypervisor.guest.write_timer("cntv_cval", deadline)
    hypervisor.guest.write_timer("cntv_ctl", ENABLE)

    with pytest.raises(GuestFault) as waiting:
        hypervisor.guest.run("wfi")

    assert waiting.value.vector == esr.ESR_ELx_EC_WFx
    assert waiting.value.error & esr.ESR_ELx_CV
    assert waiting.value.error >> esr.ESR_ELx_COND_SHIFT & 0xF == esr.ESR_ELx_COND_ALWAYS
    assert guest_reads(hypervisor, "cntv_ctl_el02") == ENABLE
    assert guest_reads(hypervisor, "cntv_cval_el02") == deadline
