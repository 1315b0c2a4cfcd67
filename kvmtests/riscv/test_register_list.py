# SPDX-License-Identifier: GPL-2.0-only
"""The timer's registers are listed; what is listed can be read and written; ids of other kinds are refused.

Source: Documentation/virt/kvm/api.rst, KVM_GET_REG_LIST; arch/riscv/kvm/vcpu_onereg.c; the selftest
get-reg-list asserts the same of every register.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Mapping
from contextlib import suppress

import pytest

from fixtures.counters import Window
from fixtures.kvm.errors import KvmError
from fixtures.kvm.expect import refused
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.kvm.riscv.vm import RiscvVm
from fixtures.kvm.system import Kvm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.names import reg_name
from fixtures.uapi.riscv import kvm as kvm_riscv
from kvmtests.riscv.timers import FAR

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_REG_LIST"),
    pytest.mark.thorough,
]

TIMER = {
    kvm_riscv.REG_TIMER_FREQUENCY,
    kvm_riscv.REG_TIMER_TIME,
    kvm_riscv.REG_TIMER_COMPARE,
    kvm_riscv.REG_TIMER_STATE,
}
UNKNOWN = [
    pytest.param(kvm_riscv.reg(0, 0), errno.ENOENT, id="no-type"),
    pytest.param(kvm_riscv.reg(0x7F << 24, 0), errno.ENOENT, id="unknown-type"),
    pytest.param(kvm_riscv.reg(kvm_riscv.KVM_REG_RISCV_CORE, 33), errno.ENOENT, id="core-register-33"),
    pytest.param(kvm_riscv.reg(kvm_riscv.KVM_REG_RISCV_CSR, 63), errno.ENOENT, id="csr-63"),
]


def size_of(reg_id: int) -> int:
    """Return the size of a register in bytes, which its id says."""
    return 1 << ((reg_id & uapi.KVM_REG_SIZE_MASK) >> uapi.KVM_REG_SIZE_SHIFT)


def values(vcpu: RiscvVcpu) -> dict[int, bytes]:
    """Return every listed register's value by its id."""
    found = {}
    for reg_id in vcpu.reg_list():
        value = (ctypes.c_ubyte * size_of(reg_id))()
        vcpu.get_reg_into(reg_id, ctypes.addressof(value))
        found[reg_id] = bytes(value)
    return found


def written(vcpu: RiscvVcpu, registers: Mapping[int, bytes]) -> list[str]:
    """Write *registers* except for the timer's state; return what KVM refused, and how."""
    refusals = []
    for reg_id in sorted(registers.keys() - {kvm_riscv.REG_TIMER_STATE}):
        value = ctypes.create_string_buffer(registers[reg_id], size_of(reg_id))
        try:
            vcpu.set_reg_from(reg_id, ctypes.addressof(value))
        except KvmError as error:
            refusals.append(f"{reg_name(reg_id)}: {errno.errorcode[error.errno]}")
    return refusals


@pytest.fixture
def heir(kvm: Kvm[RiscvVm]) -> RiscvVcpu:
    """A vCPU of another VM, to which registers are restored."""
    return kvm.create_vm().create_vcpu(0)


def test_timer_is_listed(vcpu: RiscvVcpu) -> None:
    """KVM_GET_REG_LIST has the timer's four registers, and no other of their kind."""
    listed = {each for each in vcpu.reg_list() if each & kvm_riscv.KVM_REG_RISCV_TYPE_MASK == 0x04 << 24}

    assert listed == TIMER


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
def test_what_can_be_read_of_the_timer_is_listed(vcpu: RiscvVcpu) -> None:
    """Each number of a timer's register that KVM_GET_ONE_REG takes is in KVM_GET_REG_LIST, and no other."""
    numbers = [kvm_riscv.reg(kvm_riscv.KVM_REG_RISCV_TIMER, number) for number in range(16)]
    readable = set()
    for reg_id in numbers:
        with suppress(KvmError):
            vcpu.get_reg(reg_id)
            readable.add(reg_id)

    assert readable == vcpu.reg_list() & set(numbers)


def test_list_is_the_same_after_a_run(vcpu: RiscvVcpu) -> None:
    """KVM_RUN changes nothing about which registers there are."""
    before = vcpu.reg_list()

    vcpu.guest.read_time()

    assert vcpu.reg_list() == before


def test_list_without_room_says_how_much_it_needs(vcpu: RiscvVcpu) -> None:
    """A list with room for one register gives E2BIG, and one with enough room the number of registers."""
    listed, count = vcpu.reg_list_with_room(4096)

    with refused(errno.E2BIG):
        vcpu.reg_list_with_room(1)

    assert count == len(set(listed))


def test_listed_registers_can_be_read(vcpu: RiscvVcpu) -> None:
    """KVM_GET_ONE_REG reads every listed register, with the size that its id says."""
    unread = []
    for reg_id in vcpu.reg_list():
        value = (ctypes.c_ubyte * size_of(reg_id))()
        try:
            vcpu.get_reg_into(reg_id, ctypes.addressof(value))
        except KvmError as error:
            unread.append(str(error))

    assert unread == []


@pytest.mark.parametrize(("reg_id", "number"), UNKNOWN)
@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
def test_unknown_register_is_refused(vcpu: RiscvVcpu, reg_id: int, number: int) -> None:
    """Ids of no register give ENOENT."""
    with refused(number):
        vcpu.get_reg(reg_id)


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
def test_register_of_another_architecture_is_refused(vcpu: RiscvVcpu) -> None:
    """The time's id with arm64's prefix still names it: KVM does not look at the architecture's bits."""
    other = kvm_riscv.REG_TIMER_TIME & ~uapi.KVM_REG_ARCH_MASK | uapi.KVM_REG_ARM64

    before, named_ticks, after = vcpu.time, vcpu.get_reg(other), vcpu.time

    assert named_ticks in Window(before, after)


def test_listed_registers_can_be_written(vcpu: RiscvVcpu, heir: RiscvVcpu) -> None:
    """A new vCPU takes each listed register of one that ran, except the state, of which another claim is."""
    vcpu.guest.set_deadline(FAR)

    assert written(heir, values(vcpu)) == []


def test_written_registers_read_back(vcpu: RiscvVcpu, heir: RiscvVcpu) -> None:
    """A new vCPU that was given the registers of one that ran has the same, except time and state."""
    vcpu.guest.set_deadline(FAR)
    saved = values(vcpu)
    written(heir, saved)

    found = values(heir)

    kept = saved.keys() - {kvm_riscv.REG_TIMER_TIME, kvm_riscv.REG_TIMER_STATE}
    assert [reg_name(each) for each in sorted(kept) if found.get(each) != saved[each]] == []
