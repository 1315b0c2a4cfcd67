# SPDX-License-Identifier: GPL-2.0-only
"""Instructions of EL1 that a guest hypervisor traps: WFI, SMC, and a hypervisor's own names of timers.

What waits is part of time: a hypervisor that traps WFI runs something else until its guest's timer is due.

Source: Arm ARM, HCR_EL2.TWI, TSC and NV, CNTHCTL_EL2.EL1NVPCT and EL1NVVCT, and ESR_ELx;
arch/arm64/kvm/handle_exit.c: kvm_handle_wfx(), handle_smc(); emulate-nested.c: forward_smc_trap().
"""

from __future__ import annotations

import pytest

from fixtures.architectures import ARM64
from fixtures.guests import layout
from fixtures.guests.arm64.state import ExceptionLevel
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.errors import GuestFault
from fixtures.uapi.arm64 import esr, psci, sysreg
from fixtures.uapi.arm64.sysreg import SysReg
from kvmtests.arm64.el2 import EL1, EL2, KINDS, el2_vcpus, mrs, read, taken, write

pytestmark = pytest.mark.promise(architectural="Arm ARM, HCR_EL2")

INSTRUCTION = 4
ALWAYS = esr.ESR_ELx_CV | esr.ESR_ELx_COND_ALWAYS << esr.ESR_ELx_COND_SHIFT
NESTED_HYPERVISOR = sysreg.HCR_NV | sysreg.HCR_NV2
EL02 = [
    pytest.param(sysreg.CNTHCTL_EL1NVPCT, "read_cntp_ctl_el02", sysreg.CNTP_CTL_EL02, id="cntp_ctl"),
    pytest.param(sysreg.CNTHCTL_EL1NVPCT, "read_cntp_cval_el02", sysreg.CNTP_CVAL_EL02, id="cntp_cval"),
    pytest.param(sysreg.CNTHCTL_EL1NVVCT, "read_cntv_ctl_el02", sysreg.CNTV_CTL_EL02, id="cntv_ctl"),
    pytest.param(sysreg.CNTHCTL_EL1NVVCT, "read_cntv_cval_el02", sysreg.CNTV_CVAL_EL02, id="cntv_cval"),
]


def syndrome(exception_class: int, iss: int = 0) -> int:
    """Return ESR_EL2 of a 32-bit instruction."""
    return exception_class << esr.ESR_ELx_EC_SHIFT | esr.ESR_ELx_IL | iss


def traps(vcpu: Arm64Vcpu, bits: int) -> None:
    """Set *bits* in HCR_EL2."""
    write(vcpu, sysreg.HCR_EL2, read(vcpu, sysreg.HCR_EL2) | bits)


@pytest.mark.parametrize("vhe", KINDS)
def test_wfi_of_el1_traps_if_asked_for(vm: Arm64Vm, vhe: bool) -> None:
    """With HCR_EL2.TWI a WFI of EL1 that would wait goes to EL2, which finds the WFI's own address."""
    (vcpu,) = el2_vcpus(vm, vhe=vhe)
    traps(vcpu, sysreg.HCR_TWI)

    assert taken(vcpu, "wfi") == (syndrome(esr.ESR_ELx_EC_WFx, ALWAYS), layout.entry(ARM64.name, "wfi"))


@pytest.mark.parametrize("vhe", KINDS)
def test_smc_of_el1_traps_if_asked_for(vm: Arm64Vm, vhe: bool) -> None:
    """With HCR_EL2.TSC an SMC of EL1 goes to EL2, which finds the SMC's own address, not the one after it."""
    (vcpu,) = el2_vcpus(vm, vhe=vhe)
    traps(vcpu, sysreg.HCR_TSC)

    at = layout.entry(ARM64.name, "smc") + INSTRUCTION
    assert taken(vcpu, "smc") == (syndrome(esr.ESR_ELx_EC_SMC64), at)


@pytest.mark.promise(de_facto="Linux 6.16 to 7.3")
@pytest.mark.parametrize("level", [EL1, EL2], ids=["el1", "el2"])
def test_smc_that_is_not_trapped_is_kvms(hypervisor: Arm64Vcpu, level: ExceptionLevel) -> None:
    """Without HCR_EL2.TSC, and at EL2 always, KVM answers an SMC as it answers HVC of a plain guest."""
    traps(hypervisor, {EL1: 0, EL2: sysreg.HCR_TSC}[level])

    answer = hypervisor.guest.enter(level).run("smc", (psci.PSCI_0_2_FN_PSCI_VERSION,))

    assert answer.value >> 16 == 1


@pytest.mark.promise(architectural="Arm ARM, CNTHCTL_EL2.EL1NVPCT and EL1NVVCT")
@pytest.mark.parametrize(("bit", "program", "register"), EL02)
def test_el02_timers_of_a_nested_hypervisor_trap_if_asked_for(
    hypervisor: Arm64Vcpu, bit: int, program: str, register: SysReg
) -> None:
    """Where EL1 is a hypervisor itself (HCR_EL2.NV and NV2), its *_EL02 timers go to EL2."""
    traps(hypervisor, NESTED_HYPERVISOR)
    write(hypervisor, sysreg.CNTHCTL_EL2, read(hypervisor, sysreg.CNTHCTL_EL2) | bit)

    assert taken(hypervisor, program) == mrs(register, program)


@pytest.mark.promise(architectural="Arm ARM, CNTP_CTL_EL02")
@pytest.mark.parametrize(("bit", "program", "register"), EL02)
def test_el02_timers_are_undefined_to_a_plain_guest(
    hypervisor: Arm64Vcpu, bit: int, program: str, register: SysReg
) -> None:
    """Without HCR_EL2.NV the names *_EL02 are EL1's own undefined instructions, whatever CNTHCTL_EL2 says."""
    del register
    write(hypervisor, sysreg.CNTHCTL_EL2, read(hypervisor, sysreg.CNTHCTL_EL2) | bit)

    with pytest.raises(GuestFault):
        hypervisor.guest.enter(EL1).run(program)

    own = read(hypervisor, sysreg.ESR_EL1) >> esr.ESR_ELx_EC_SHIFT
    assert (own, read(hypervisor, sysreg.ESR_EL2)) == (esr.ESR_ELx_EC_UNKNOWN, 0)


@pytest.mark.promise(architectural="Arm ARM, CNTP_CTL_EL02: undefined where HCR_EL2.E2H is 0")
@pytest.mark.parametrize("register", ["cntp_cval_el02", "cntv_cval_el02"])
def test_write_by_a_name_that_needs_vhe_is_lost(vm: Arm64Vm, register: str) -> None:
    """What an EL2 without VHE writes by the names *_EL02 is undefined, and does not reach EL1's timers."""
    (vcpu,) = el2_vcpus(vm, vhe=False)
    vcpu.guest.enter(EL1).write_timer(register.removesuffix("_el02"), 2**40)

    with pytest.raises(GuestFault):
        vcpu.guest.enter(EL2).run(f"write_{register}", (2**41,))

    assert read(vcpu, sysreg.ESR_EL2) >> esr.ESR_ELx_EC_SHIFT == esr.ESR_ELx_EC_UNKNOWN
    assert vcpu.guest.enter(EL1).read_timer(register.removesuffix("_el02")).value == 2**40
