# SPDX-License-Identifier: GPL-2.0-only
"""vCPUs with EL2, and what their guest hypervisors set for the levels below.

VM offset: KVM_ARM_SET_COUNTER_OFFSET, of all vCPUs. CNTVOFF_EL2: of one, for its EL1 and EL0.
"""

from __future__ import annotations

import pytest

from fixtures.architectures import ARM64
from fixtures.counters import wrap
from fixtures.guests import layout
from fixtures.guests.arm64.programs import PROGRAMS
from fixtures.guests.arm64.state import ExceptionLevel
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.errors import GuestFault
from fixtures.uapi.arm64 import esr, sysreg
from fixtures.uapi.arm64.kvm import ARM64_SYS_REG
from fixtures.uapi.arm64.sysreg import SysReg

EL0, EL1, EL2 = ExceptionLevel

VM_OFFSET = wrap(-(2**37))
"""Ahead of the host's counter, so that no count of a guest wraps, however short the host has run."""
OFFSETS = (2**32, -0x7_0000_0000, 0)
"""CNTVOFF_EL2 of either sign, and none."""

KINDS = [pytest.param(True, id="vhe"), pytest.param(False, id="no-vhe")]
"""Values of `el2_vcpus`' *vhe*."""

_EL1_MAY = {
    # HCR_EL2.E2H: CNTHCTL_EL2 with which EL1 reads the physical counter and uses the physical timer.
    True: sysreg.CNTHCTL_E2H_EL1PCTEN | sysreg.CNTHCTL_E2H_EL1PTEN,
    False: sysreg.CNTHCTL_EL1PCTEN | sysreg.CNTHCTL_EL1PCEN,
}


def el2_vcpus(vm: Arm64Vm, count: int = 1, *, vhe: bool = True) -> list[Arm64Vcpu]:
    """Return *count* vCPUs with EL2 in *vm*, which has no others: HCR_EL2.E2H is 1 with *vhe*, else 0.

    Nothing that EL1 does with time traps to EL2. `CapabilityMissing` without KVM_CAP_ARM_EL2.
    """
    vcpus = [vm.create_el2_vcpu(number, e2h0=not vhe) for number in range(count)]
    vm.create_gic().init()
    for vcpu in vcpus:
        write(vcpu, sysreg.CNTHCTL_EL2, _EL1_MAY[vhe])
        write(vcpu, sysreg.VBAR_EL2, layout.VECTORS)
    return vcpus


def read(vcpu: Arm64Vcpu, register: SysReg) -> int:
    """Return *register* by KVM_GET_ONE_REG."""
    return vcpu.get_reg(ARM64_SYS_REG(*register))


def write(vcpu: Arm64Vcpu, register: SysReg, value: int) -> None:
    """Set *register* by KVM_SET_ONE_REG."""
    vcpu.set_reg(ARM64_SYS_REG(*register), value)


def guest_reads(vcpu: Arm64Vcpu, register: str) -> int:
    """Return *register*, as "cntvoff_el2", as the guest hypervisor reads it."""
    return vcpu.guest.enter(EL2).run(f"read_{register}").value


def guest_writes(vcpu: Arm64Vcpu, register: str, value: int) -> None:
    """Let the guest hypervisor write *register*."""
    vcpu.guest.enter(EL2).run(f"write_{register}", (value % 2**64,))


def taken(vcpu: Arm64Vcpu, program: str) -> tuple[int, int]:
    """Run *program* at EL1: the syndrome and the address of the exception that EL2 takes.

    A handler of EL1 would find the same in its own registers: EL2's say that it was EL2.
    """
    with pytest.raises(GuestFault):
        vcpu.guest.enter(EL1).run(program)
    return read(vcpu, sysreg.ESR_EL2), read(vcpu, sysreg.ELR_EL2)


def mrs(register: SysReg, program: str) -> tuple[int, int]:
    """Return the syndrome of a trapped MRS of *register*, and where *program* has it."""
    (offset, target) = next(
        (4 * number, int(line.mnemonic.partition(",")[0].removeprefix("mrs x")))
        for number, line in enumerate(PROGRAMS[program].listing)
        if int.from_bytes(line.code, "little") >> 5 & 0xFFFF == register.key
    )
    iss = register.op0 << 20 | register.op2 << 17 | register.op1 << 14 | register.crn << 10
    iss |= target << esr.ESR_ELx_SYS64_ISS_RT_SHIFT | register.crm << 1 | esr.ESR_ELx_SYS64_ISS_DIR_READ
    syndrome = esr.ESR_ELx_EC_SYS64 << esr.ESR_ELx_EC_SHIFT | esr.ESR_ELx_IL | iss
    return syndrome, layout.entry(ARM64.name, program) + offset
