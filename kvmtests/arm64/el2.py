# SPDX-License-Identifier: GPL-2.0-only
"""vCPUs with EL2, and what their guest hypervisors set for the levels below.

VM offset: KVM_ARM_SET_COUNTER_OFFSET, of all vCPUs. CNTVOFF_EL2: of one, for its EL1 and EL0.
"""

from __future__ import annotations

import pytest

from fixtures.guests import layout
from fixtures.guests.arm64.state import ExceptionLevel
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.uapi.arm64 import sysreg
from fixtures.uapi.arm64.kvm import ARM64_SYS_REG
from fixtures.uapi.arm64.sysreg import SysReg

EL0, EL1, EL2 = ExceptionLevel

VM_OFFSET = 2**37
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
