# SPDX-License-Identifier: GPL-2.0-only
"""The registers of EL2's time in KVM_GET_ONE_REG, and a vCPU with EL2 restored register by register.

Source: Documentation/virt/kvm/api.rst, 4.68, 4.69; arch/arm64/kvm/sys_regs.c: sys_reg_descs[];
Arm ARM, ID_AA64MMFR0_EL1.ECV, CNTPOFF_EL2.
"""

from __future__ import annotations

import errno

import pytest

from fixtures.counters import Window
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.errors import GuestFault
from fixtures.kvm.expect import refused
from fixtures.uapi import kvm
from fixtures.uapi.arm64 import esr, sysreg
from fixtures.uapi.arm64.kvm import ARM64_SYS_REG
from fixtures.uapi.arm64.sysreg import (
    ARCH_TIMER_CTRL_ENABLE,
    ARCH_TIMER_CTRL_IT_MASK,
    ARCH_TIMER_CTRL_IT_STAT,
    SysReg,
)
from kvmtests.arm64.el2 import EL1, EL2, KINDS, el2_vcpus, guest_reads, guest_writes, read, write
from kvmtests.windows import timed

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG"),
    pytest.mark.requires("KVM_CAP_ARM_EL2"),
]
VALUES = [
    pytest.param(sysreg.CNTVOFF_EL2, id="CNTVOFF_EL2"),
    pytest.param(sysreg.CNTHP_CVAL_EL2, id="CNTHP_CVAL_EL2"),
    pytest.param(sysreg.CNTHV_CVAL_EL2, id="CNTHV_CVAL_EL2"),
]
CONTROLS = [
    pytest.param(sysreg.CNTHP_CTL_EL2, id="CNTHP_CTL_EL2"),
    pytest.param(sysreg.CNTHV_CTL_EL2, id="CNTHV_CTL_EL2"),
]
DERIVED = [
    pytest.param(sysreg.CNTHP_TVAL_EL2, id="CNTHP_TVAL_EL2"),
    pytest.param(sysreg.CNTHV_TVAL_EL2, id="CNTHV_TVAL_EL2"),
    pytest.param(sysreg.CNTV_CVAL_EL02, id="CNTV_CVAL_EL02"),
    pytest.param(sysreg.CNTP_CVAL_EL02, id="CNTP_CVAL_EL02"),
    pytest.param(sysreg.CNTVCTSS_EL0, id="CNTVCTSS_EL0"),
    pytest.param(sysreg.CNTPOFF_EL2, id="CNTPOFF_EL2"),
]
OF_EL2 = [*VALUES, *CONTROLS, pytest.param(sysreg.CNTHCTL_EL2, id="CNTHCTL_EL2")]
MMFR1_VH_SHIFT, MMFR4_E2H0_SHIFT = 8, 24
CNTVOFF = 2**44
"""Ticks: hours, so that no restore takes as long."""


@pytest.mark.parametrize("register", VALUES)
def test_value_reads_back(hypervisor: Arm64Vcpu, register: SysReg) -> None:
    """Offsets and compare values of EL2 keep all 64 bits, and are in KVM_GET_REG_LIST."""
    assert {ARM64_SYS_REG(*register)} <= hypervisor.reg_list()

    for value in (2**64 - 1, 0x0123_4567_89AB_CDEF, 0):
        write(hypervisor, register, value)
        assert read(hypervisor, register) == value


@pytest.mark.promise(architectural="Arm ARM, CNTHP_CTL_EL2")
@pytest.mark.parametrize("register", CONTROLS)
def test_istatus_cannot_be_set(hypervisor: Arm64Vcpu, register: SysReg) -> None:
    """ISTATUS of EL2's timers is what they compute: a timer that is off does not show what was written."""
    write(hypervisor, register, ARCH_TIMER_CTRL_IT_STAT)

    assert read(hypervisor, register) & ARCH_TIMER_CTRL_IT_STAT == 0


@pytest.mark.promise(de_facto="Linux 6.16 to 7.3")
@pytest.mark.parametrize("register", DERIVED)
def test_views_of_other_registers_have_no_id(hypervisor: Arm64Vcpu, register: SysReg) -> None:
    """Views of other registers, as TVAL and *_EL02, and the hidden CNTPOFF_EL2 give ENOENT."""
    with refused(errno.ENOENT):
        read(hypervisor, register)


@pytest.mark.promise(de_facto="Linux 6.16 to 7.3")
@pytest.mark.parametrize("register", OF_EL2)
def test_plain_vcpu_has_no_register_of_el2(vm: Arm64Vm, vcpu: Arm64Vcpu, register: SysReg) -> None:
    """On a vCPU without EL2 its registers are ENOENT, although KVM has vCPUs with it."""
    vm.require(kvm.KVM_CAP_ARM_EL2)

    with refused(errno.ENOENT):
        read(vcpu, register)


@pytest.mark.promise(architectural="Arm ARM, CNTHV_CTL_EL2: FEAT_VHE")
@pytest.mark.parametrize("register", ["ctl", "cval"])
def test_virtual_timer_of_el2_needs_vhe(vm: Arm64Vm, register: str) -> None:
    """Without VHE there is no CNTHV_*: ENOENT for user space, an undefined instruction for the guest."""
    (vcpu,) = el2_vcpus(vm, vhe=False)
    number = {"ctl": sysreg.CNTHV_CTL_EL2, "cval": sysreg.CNTHV_CVAL_EL2}[register]

    with refused(errno.ENOENT):
        read(vcpu, number)
    assert exception_class(vcpu, f"read_cnthv_{register}_el2") == esr.ESR_ELx_EC_UNKNOWN


@pytest.mark.promise(architectural="Arm ARM, CNTVOFF_EL2 and CNTHP_CTL_EL2: undefined at EL1")
@pytest.mark.parametrize("name", ["cntvoff_el2", "cnthctl_el2", "cnthp_ctl_el2", "cnthp_cval_el2"])
def test_registers_of_el2_are_undefined_below_it(hypervisor: Arm64Vcpu, name: str) -> None:
    """At EL1 a read of a register of EL2's time is an undefined instruction, which EL1 takes and not EL2."""
    write(hypervisor, sysreg.ESR_EL1, 2**32 - 1)

    with pytest.raises(GuestFault):
        hypervisor.guest.enter(EL1).run(f"read_{name}")

    assert read(hypervisor, sysreg.ESR_EL1) >> esr.ESR_ELx_EC_SHIFT == esr.ESR_ELx_EC_UNKNOWN
    assert read(hypervisor, sysreg.ESR_EL2) == 0


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_REG_LIST")
@pytest.mark.parametrize("vhe", KINDS)
def test_list_has_the_timers_of_its_el2(vm: Arm64Vm, vhe: bool) -> None:
    """KVM_GET_REG_LIST has CNTHP_* for each EL2, and CNTHV_* for one with VHE."""
    (vcpu,) = el2_vcpus(vm, vhe=vhe)

    listed = vcpu.reg_list()

    has = [
        ARM64_SYS_REG(*register) in listed
        for register in (
            sysreg.CNTHP_CTL_EL2,
            sysreg.CNTHP_CVAL_EL2,
            sysreg.CNTHV_CTL_EL2,
            sysreg.CNTHV_CVAL_EL2,
        )
    ]
    assert has == [True, True, vhe, vhe]


@pytest.mark.promise(architectural="Arm ARM, CNTPOFF_EL2: FEAT_ECV_POFF")
def test_hidden_cntpoff_is_undefined(hypervisor: Arm64Vcpu) -> None:
    """Where ID_AA64MMFR0_EL1.ECV says that there is no CNTPOFF_EL2, EL2 cannot read it."""
    if hypervisor.ecv > 1:
        pytest.skip("the guest's CPU has CNTPOFF_EL2")

    assert exception_class(hypervisor, "read_cntpoff_el2") == esr.ESR_ELx_EC_UNKNOWN


@pytest.mark.promise(architectural="Arm ARM, CNTPOFF_EL2 and CNTHCTL_EL2.ECV")
def test_announced_cntpoff_has_an_effect(hypervisor: Arm64Vcpu) -> None:
    """A CNTPOFF_EL2 that is announced moves the physical counter of EL1, under CNTHCTL_EL2.ECV."""
    if hypervisor.ecv < 2:
        pytest.skip("the guest's CPU has no CNTPOFF_EL2")
    write(hypervisor, sysreg.CNTHCTL_EL2, read(hypervisor, sysreg.CNTHCTL_EL2) | sysreg.CNTHCTL_ECV)

    guest_writes(hypervisor, "cntpoff_el2", 2**40)

    reading = hypervisor.guest.enter(EL1).read_cntpct()
    assert reading.value in reading.window.shifted(-(2**40))


@pytest.mark.promise(architectural="Arm ARM, HCR_EL2.E2H: RES1 without FEAT_E2H0")
def test_e2h_cannot_be_cleared(hypervisor: Arm64Vcpu) -> None:
    """Where E2H0 is not announced, HCR_EL2.E2H reads as 1 after 0 was written, and EL02 names still work."""
    hypervisor.guest.enter(EL2).read_cntvct()

    write(hypervisor, sysreg.HCR_EL2, read(hypervisor, sysreg.HCR_EL2) & ~sysreg.HCR_E2H)

    guest_writes(hypervisor, "cntv_cval_el02", 2**40)
    assert hypervisor.guest.enter(EL1).read_timer("cntv_cval").value == 2**40
    assert read(hypervisor, sysreg.HCR_EL2) & sysreg.HCR_E2H


@pytest.mark.promise(architectural="Arm ARM, CNTPOFF_EL2: FEAT_ECV_POFF")
def test_announced_cntpoff_moves_the_deadline(hypervisor: Arm64Vcpu) -> None:
    """A CNTPOFF_EL2 that is announced takes EL1's physical timer from its deadline, under CNTHCTL_EL2.ECV."""
    if hypervisor.ecv < 2:
        pytest.skip("the guest's CPU has no CNTPOFF_EL2")
    write(hypervisor, sysreg.CNTHCTL_EL2, read(hypervisor, sysreg.CNTHCTL_EL2) | sysreg.CNTHCTL_ECV)
    deadline = hypervisor.guest.enter(EL1).read_cntpct().value
    hypervisor.guest.enter(EL1).write_timer("cntp_cval", deadline)
    hypervisor.guest.enter(EL1).write_timer("cntp_ctl", ARCH_TIMER_CTRL_ENABLE | ARCH_TIMER_CTRL_IT_MASK)

    guest_writes(hypervisor, "cntpoff_el2", 2**40)

    assert not hypervisor.guest.enter(EL1).read_timer("cntp_ctl").value & ARCH_TIMER_CTRL_IT_STAT


@pytest.mark.promise(architectural="Arm ARM, ID_AA64MMFR1_EL1.VH, ID_AA64MMFR4_EL1.E2H0 and HCR_EL2.E2H")
@pytest.mark.parametrize("vhe", KINDS)
def test_id_registers_say_which_el2_it_is(vm: Arm64Vm, vhe: bool) -> None:
    """A vCPU with VHE announces VH and no E2H0, and has HCR_EL2.E2H once it ran; one without the contrary."""
    (vcpu,) = el2_vcpus(vm, vhe=vhe)
    guest_reads(vcpu, "cntvoff_el2")

    has_vh = bool(read(vcpu, sysreg.ID_AA64MMFR1_EL1) >> MMFR1_VH_SHIFT & 0xF)
    has_e2h0 = not read(vcpu, sysreg.ID_AA64MMFR4_EL1) >> MMFR4_E2H0_SHIFT & 0xF
    has_e2h = bool(read(vcpu, sysreg.HCR_EL2) & sysreg.HCR_E2H)

    assert (has_vh, has_e2h0, has_e2h) == (vhe, not vhe, vhe)


@pytest.mark.promise(de_facto="Linux 6.16 to 7.3")
@pytest.mark.parametrize(("vhe", "kept"), [(True, 0x3_CDEF), (False, 0x3_C0EF)], ids=["vhe", "no-vhe"])
def test_reserved_bits_of_cnthctl_stay_0(vm: Arm64Vm, vhe: bool, kept: int) -> None:
    """Once a vCPU ran, CNTHCTL_EL2 keeps bits of FEAT_ECV without CNTPOFF_EL2, and those of VHE it has."""
    (vcpu,) = el2_vcpus(vm, vhe=vhe)
    guest_reads(vcpu, "cntvoff_el2")
    if vcpu.ecv != 1:
        pytest.skip("the guest's CPU has other bits")

    write(vcpu, sysreg.CNTHCTL_EL2, 0x0123_4567_89AB_CDEF)

    assert read(vcpu, sysreg.CNTHCTL_EL2) == kept


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_ARM_VCPU_INIT")
@pytest.mark.parametrize("register", [*VALUES, *CONTROLS])
def test_initialising_again_resets_el2(hypervisor: Arm64Vcpu, register: SysReg) -> None:
    """KVM_ARM_VCPU_INIT of a vCPU with EL2 returns the registers of EL2's time to their first values."""
    first = read(hypervisor, register)
    write(hypervisor, register, first ^ 2)

    hypervisor.init()

    assert read(hypervisor, register) == first


def exception_class(vcpu: Arm64Vcpu, program: str) -> int:
    """Run *program* at EL2: the class of the exception that it takes, from ESR_EL2.

    The guest's own handler reads ESR_EL1, which is EL2's only where HCR_EL2.E2H is 1.
    """
    with pytest.raises(GuestFault):
        vcpu.guest.enter(EL2).run(program)
    return read(vcpu, sysreg.ESR_EL2) >> esr.ESR_ELx_EC_SHIFT


@pytest.mark.parametrize("order", ["in-the-lists-order", "in-the-reverse-order"])
def test_restored_registers_leave_both_counters(vm: Arm64Vm, order: str) -> None:
    """All 64-bit registers of a vCPU with EL2, read and written back one by one, cost the counters that time.

    A count restored by value is late by what passed since it was read, and by no more.
    """
    (vcpu,) = el2_vcpus(vm)
    write(vcpu, sysreg.CNTVOFF_EL2, CNTVOFF)

    spent, _ = timed(vm, lambda: write_back(vcpu, in_reverse=order == "in-the-reverse-order"))

    physical = vcpu.guest.enter(EL2).read_cntpct()
    virtual = vcpu.guest.enter(EL1).read_cntvct()
    assert physical.value in late(physical.window, spent)
    assert virtual.value in late(virtual.window, spent).shifted(-CNTVOFF)


def write_back(vcpu: Arm64Vcpu, *, in_reverse: bool) -> None:
    """Read all 64-bit registers of *vcpu*, and write them in the order of KVM_GET_REG_LIST or against it."""
    ids, _ = vcpu.reg_list_with_room(4096)
    words = [each for each in ids if each & kvm.KVM_REG_SIZE_MASK == kvm.KVM_REG_SIZE_U64]
    saved = [(each, vcpu.get_reg(each)) for each in words]
    for reg_id, value in reversed(saved) if in_reverse else saved:
        vcpu.set_reg(reg_id, value)


def late(window: Window, spent: Window) -> Window:
    """Return *window* for a count that may have lost as many ticks as *spent* is wide."""
    return Window(window.first - spent.width, window.last, window.bits)
