# SPDX-License-Identifier: GPL-2.0-only
"""What of EL1's time a guest hypervisor traps by CNTHCTL_EL2, and what it finds in ESR_EL2 and ELR_EL2.

Source: Arm ARM, CNTHCTL_EL2 with HCR_EL2.E2H = 1, and ESR_ELx, "ISS encoding for an exception from
MSR, MRS, or System instruction execution"; arch/arm64/kvm/arch_timer.c: timer_set_traps().
"""

from __future__ import annotations

import pytest

from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.uapi.arm64 import sysreg
from fixtures.uapi.arm64.sysreg import SysReg
from kvmtests.arm64.el2 import EL1, EL2, el2_vcpus, mrs, read, taken, write

pytestmark = [
    pytest.mark.promise(architectural="Arm ARM, CNTHCTL_EL2"),
    pytest.mark.requires("KVM_CAP_ARM_EL2"),
]

PHYSICAL_COUNTER = [
    pytest.param("cntpct", sysreg.CNTPCT_EL0, id="cntpct"),
    pytest.param("cntpctss", sysreg.CNTPCTSS_EL0, id="cntpctss"),
]
PHYSICAL_TIMER = [
    pytest.param("read_cntp_ctl", sysreg.CNTP_CTL_EL0, id="ctl"),
    pytest.param("read_cntp_cval", sysreg.CNTP_CVAL_EL0, id="cval"),
    pytest.param("read_cntp_tval", sysreg.CNTP_TVAL_EL0, id="tval"),
]
VIRTUAL_COUNTER = [
    pytest.param("cntvct", sysreg.CNTVCT_EL0, id="cntvct"),
    pytest.param("cntvctss", sysreg.CNTVCTSS_EL0, id="cntvctss"),
]
VIRTUAL_TIMER = [
    pytest.param("read_cntv_ctl", sysreg.CNTV_CTL_EL0, id="ctl"),
    pytest.param("read_cntv_cval", sysreg.CNTV_CVAL_EL0, id="cval"),
]


@pytest.mark.parametrize(("program", "register"), PHYSICAL_COUNTER)
def test_physical_counter_of_el1_traps_unless_allowed(
    hypervisor: Arm64Vcpu, program: str, register: SysReg
) -> None:
    """Without EL1PCTEN a read of the physical counter at EL1 goes to EL2, with its syndrome and address."""
    hypervisor.require_self_synchronised_counters()
    write(hypervisor, sysreg.CNTHCTL_EL2, sysreg.CNTHCTL_E2H_EL1PTEN)

    assert taken(hypervisor, program) == mrs(register, program)


@pytest.mark.parametrize(("program", "register"), PHYSICAL_COUNTER)
def test_physical_counter_traps_without_vhe(vm: Arm64Vm, program: str, register: SysReg) -> None:
    """To an EL2 without VHE as well: EL1PCTEN, which is another bit there, keeps both names from trapping."""
    (vcpu,) = el2_vcpus(vm, vhe=False)
    vcpu.require_self_synchronised_counters()
    vcpu.guest.enter(EL1).run(program)
    write(vcpu, sysreg.CNTHCTL_EL2, sysreg.CNTHCTL_EL1PCEN)

    assert taken(vcpu, program) == mrs(register, program)


@pytest.mark.parametrize(("program", "register"), PHYSICAL_TIMER)
def test_physical_timer_of_el1_traps_unless_allowed(
    hypervisor: Arm64Vcpu, program: str, register: SysReg
) -> None:
    """Without EL1PTEN an access to the physical timer at EL1 goes to EL2."""
    write(hypervisor, sysreg.CNTHCTL_EL2, sysreg.CNTHCTL_E2H_EL1PCTEN)

    assert taken(hypervisor, program) == mrs(register, program)


def test_nothing_virtual_traps_by_itself(hypervisor: Arm64Vcpu) -> None:
    """With CNTHCTL_EL2 0, EL1 reads its virtual counter and its virtual timer without an exception."""
    write(hypervisor, sysreg.CNTHCTL_EL2, 0)

    for program in ("cntvct", "read_cntv_ctl", "read_cntv_cval", "read_cntv_tval"):
        hypervisor.guest.enter(EL1).run(program)


@pytest.mark.parametrize(("program", "register"), VIRTUAL_COUNTER)
def test_virtual_counter_of_el1_traps_if_asked_for(
    hypervisor: Arm64Vcpu, program: str, register: SysReg
) -> None:
    """With FEAT_ECV and EL1TVCT a read of the virtual counter at EL1 goes to EL2."""
    hypervisor.require_self_synchronised_counters()
    write(hypervisor, sysreg.CNTHCTL_EL2, allowed(hypervisor) | sysreg.CNTHCTL_EL1TVCT)

    assert taken(hypervisor, program) == mrs(register, program)


@pytest.mark.parametrize(("program", "register"), VIRTUAL_TIMER)
def test_virtual_timer_of_el1_traps_if_asked_for(
    hypervisor: Arm64Vcpu, program: str, register: SysReg
) -> None:
    """With FEAT_ECV and EL1TVT an access to the virtual timer at EL1 goes to EL2."""
    hypervisor.require_self_synchronised_counters()
    write(hypervisor, sysreg.CNTHCTL_EL2, allowed(hypervisor) | sysreg.CNTHCTL_EL1TVT)

    assert taken(hypervisor, program) == mrs(register, program)


def test_el2_itself_is_never_trapped(hypervisor: Arm64Vcpu) -> None:
    """CNTHCTL_EL2 is about the levels below: with 0 in it, EL2 reads counters and timers all the same."""
    write(hypervisor, sysreg.CNTHCTL_EL2, 0)

    for program in ("cntvct", "cntpct", "read_cntp_ctl", "read_cntv_ctl"):
        hypervisor.guest.enter(EL2).run(program)


def allowed(vcpu: Arm64Vcpu) -> int:
    """Return CNTHCTL_EL2 as it is: EL1 may use the physical counter and timer."""
    return read(vcpu, sysreg.CNTHCTL_EL2)
