# SPDX-License-Identifier: GPL-2.0-only
"""Registers of a vCPU that count or say when: what they take, and what is refused.

Source: arch/powerpc/kvm/book3s_hv.c: kvmppc_get_one_reg_hv(), kvmppc_set_one_reg_hv(); powerpc.c:
kvm_vcpu_ioctl_get_one_reg(), kvm_vcpu_ioctl_set_one_reg().
"""

from __future__ import annotations

import errno

import pytest

from fixtures.kvm.expect import refused
from fixtures.kvm.handle import BAD_ADDRESS
from fixtures.kvm.powerpc.vcpu import PpcVcpu
from fixtures.kvm.powerpc.vm import PpcVm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.powerpc import kvm as kvm_powerpc

pytestmark = pytest.mark.promise(de_facto="Linux 6.12 to 7.2")

WHOLE = [
    pytest.param(kvm_powerpc.KVM_REG_PPC_DEC_EXPIRY, id="deadline"),
    pytest.param(kvm_powerpc.KVM_REG_PPC_VTB, id="virtual-time-base"),
    pytest.param(kvm_powerpc.KVM_REG_PPC_PURR, id="purr"),
    pytest.param(kvm_powerpc.KVM_REG_PPC_SPURR, id="spurr"),
    pytest.param(kvm_powerpc.KVM_REG_PPC_IC, id="instructions"),
]
"""Registers that hold every number of 64 bits."""
ALL = [*WHOLE, pytest.param(kvm_powerpc.KVM_REG_PPC_TB_OFFSET, id="offset")]
UNKNOWN = uapi.KVM_REG_PPC | uapi.KVM_REG_SIZE_U64 | 0xFFF


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
@pytest.mark.parametrize("value", [0, 12345, 2**63, 2**64 - 1])
@pytest.mark.parametrize("register", WHOLE)
def test_register_reads_back(vcpu: PpcVcpu, register: int, value: int) -> None:
    """What KVM_SET_ONE_REG writes is what KVM_GET_ONE_REG reads, before the vCPU has run."""
    vcpu.set_reg(register, value)

    assert vcpu.get_reg(register) == value


@pytest.mark.parametrize("register", WHOLE)
def test_register_is_one_vcpus(vcpus: list[PpcVcpu], register: int) -> None:
    """A register that is written on one vCPU is 0 on the other."""
    vcpus[0].set_reg(register, 12345)

    assert [vcpu.get_reg(register) for vcpu in vcpus] == [12345, 0]


def test_doorbell_is_one_bit(vcpu: PpcVcpu) -> None:
    """Of KVM_REG_PPC_DPDES counts the bit of the vCPU's own thread."""
    vcpu.set_reg(kvm_powerpc.KVM_REG_PPC_DPDES, 2**64 - 1)

    assert vcpu.get_reg(kvm_powerpc.KVM_REG_PPC_DPDES) == 1


@pytest.mark.parametrize("register", ALL)
def test_other_sizes_are_refused(vcpu: PpcVcpu, register: int) -> None:
    """An id whose size is not the register's is EINVAL, for reading and for writing."""
    index = register & ~uapi.KVM_REG_SIZE_MASK

    for size in (uapi.KVM_REG_SIZE_U32, uapi.KVM_REG_SIZE_U128):
        with refused(errno.EINVAL):
            vcpu.get_reg(index | size)
        with refused(errno.EINVAL):
            vcpu.set_reg(index | size, 0)


@pytest.mark.parametrize("register", ALL)
def test_bad_address_changes_nothing(vcpu: PpcVcpu, register: int) -> None:
    """A value that cannot be read or written is EFAULT, and the register stays."""
    vcpu.set_reg(register, 2**36)

    with refused(errno.EFAULT):
        vcpu.set_reg_from(register, BAD_ADDRESS)
    with refused(errno.EFAULT):
        vcpu.get_reg_into(register, BAD_ADDRESS)

    assert vcpu.get_reg(register) == 2**36


def test_unknown_register_is_refused(vcpu: PpcVcpu) -> None:
    """An id that no register has is EINVAL."""
    with refused(errno.EINVAL):
        vcpu.get_reg(UNKNOWN)
    with refused(errno.EINVAL):
        vcpu.set_reg(UNKNOWN, 0)


def test_address_is_looked_at_before_an_unknown_register(vcpu: PpcVcpu) -> None:
    """Where both the id and the address are bad, writing says EFAULT and reading EINVAL."""
    with refused(errno.EFAULT):
        vcpu.set_reg_from(UNKNOWN, BAD_ADDRESS)
    with refused(errno.EINVAL):
        vcpu.get_reg_into(UNKNOWN, BAD_ADDRESS)


def test_registers_are_not_listed(vcpu: PpcVcpu) -> None:
    """KVM_GET_REG_LIST is EINVAL: user space has to know the registers of Power."""
    with refused(errno.EINVAL):
        vcpu.handle.pass_structure(uapi.KVM_GET_REG_LIST, uapi.kvm_reg_list(n=0))


def test_vm_has_no_clock(vm: PpcVm) -> None:
    """A VM has no clock of its own: KVM_GET_CLOCK is ENOTTY."""
    with refused(errno.ENOTTY):
        vm.handle.pass_structure(uapi.KVM_GET_CLOCK, uapi.kvm_clock_data())
