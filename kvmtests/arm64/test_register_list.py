# SPDX-License-Identifier: GPL-2.0-only
"""The timers' register ids are listed, readable and writable, and KVM refuses others with an errno each.

Source: Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG, KVM_GET_ONE_REG, KVM_GET_REG_LIST;
arch/arm64/kvm/guest.c: kvm_arm_get_reg(), kvm_arm_copy_reg_indices(); arch/arm64/kvm/arm.c:
kvm_arch_vcpu_ioctl().
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable

import pytest

from fixtures.counters import Window
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.expect import refused
from fixtures.kvm.handle import BAD_ADDRESS
from fixtures.uapi import kvm
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.arm64 import sysreg
from kvmtests.arm64.timers import IMASK, ISTATUS, PHYSICAL, TIMERS, VIRTUAL, Timer
from kvmtests.windows import timed

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_REG_LIST"),
    pytest.mark.thorough,
]

TIMER_IDS = [VIRTUAL.ctl, VIRTUAL.cval, VIRTUAL.cnt]
PHYSICAL_IDS = [PHYSICAL.ctl, PHYSICAL.cval, PHYSICAL.cnt]
UNKNOWN = [
    pytest.param(kvm_arm64.ARM64_SYS_REG(3, 7, 15, 15, 7), id="system-register"),
    pytest.param(kvm_arm64.ARM64_SYS_REG(*sysreg.CNTV_TVAL_EL0), id="CNTV_TVAL_EL0"),
    pytest.param(kvm_arm64.ARM64_SYS_REG(*sysreg.CNTP_TVAL_EL0), id="CNTP_TVAL_EL0"),
    pytest.param(
        kvm_arm64.KVM_REG_ARM_TIMER_CTL & ~kvm.KVM_REG_SIZE_MASK | kvm.KVM_REG_SIZE_U32, id="32-bit-CTL"
    ),
]
MALFORMED = [
    pytest.param(0, id="zero"),
    pytest.param(2**64 - 1, id="all-ones"),
    pytest.param(
        kvm_arm64.KVM_REG_ARM_TIMER_CTL & ~kvm.KVM_REG_ARCH_MASK | kvm.KVM_REG_X86, id="other-architecture"
    ),
    pytest.param(kvm_arm64.x_reg(0) + 1, id="misaligned-core-register"),
]
CALLS = [
    pytest.param(Arm64Vcpu.get_reg_into, id="get"),
    pytest.param(Arm64Vcpu.set_reg_from, id="set"),
]
REQUESTS = [
    pytest.param(kvm.KVM_GET_ONE_REG, id="get"),
    pytest.param(kvm.KVM_SET_ONE_REG, id="set"),
    pytest.param(kvm.KVM_GET_REG_LIST, id="list"),
]
Call = Callable[[Arm64Vcpu, int, int], None]


def reg_ids(names: list[str]) -> set[int]:
    """Return the ids that have *names*."""
    return {getattr(kvm_arm64, name) for name in names}


def test_virtual_timer_and_counter_are_listed(vcpu: Arm64Vcpu) -> None:
    """KVM_GET_REG_LIST has CTL, CVAL and CNT of the virtual timer, on every kernel."""
    assert reg_ids(TIMER_IDS) <= vcpu.reg_list()


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
@pytest.mark.generation("upstream")
def test_physical_timer_and_counter_are_listed(vm: Arm64Vm, vcpu: Arm64Vcpu) -> None:
    """KVM_GET_REG_LIST has CTL, CVAL and CNT of the physical timer if KVM has KVM_CAP_COUNTER_OFFSET."""
    vm.require_counter_offset()

    assert reg_ids(PHYSICAL_IDS) <= vcpu.reg_list()


@pytest.mark.promise(de_facto="the series of July 2021")
@pytest.mark.generation("series")
def test_physical_timer_and_counter_are_not_registers(vcpu: Arm64Vcpu) -> None:
    """The series' kernel has no ids for the physical timer: not listed, and ENOENT."""
    vcpu.require_series_offsets()

    assert reg_ids(PHYSICAL_IDS) & vcpu.reg_list() == set()
    for reg_id in reg_ids(PHYSICAL_IDS):
        with refused(errno.ENOENT):
            vcpu.get_reg(reg_id)


def test_listed_registers_can_be_read(vcpu: Arm64Vcpu) -> None:
    """Every timer id that is listed can be read, and no id is listed twice."""
    registers, _ = vcpu.reg_list_with_room(4096)
    timers = [reg_id for reg_id in registers if reg_id in reg_ids(TIMER_IDS + PHYSICAL_IDS)]

    values = [vcpu.get_reg(reg_id) for reg_id in timers]

    assert len(values) == len(set(timers)) >= len(TIMER_IDS)
    assert len(registers) == len(set(registers))


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
@pytest.mark.parametrize("timer", TIMERS)
def test_registers_can_be_written(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """CTL and CVAL keep what is written; CNT continues from there."""
    timer.set(vcpu, "ctl", IMASK)
    timer.set(vcpu, "cval", 0x0123_4567_89AB_CDEF)
    wrote, _ = timed(vcpu.vm, lambda: timer.set(vcpu, "cnt", 2**40))
    read, count_ticks = timed(vcpu.vm, lambda: timer.get(vcpu, "cnt"))

    assert timer.get(vcpu, "ctl") & ~ISTATUS == IMASK
    assert timer.get(vcpu, "cval") == 0x0123_4567_89AB_CDEF
    assert count_ticks - 2**40 in Window(read.first - wrote.last, read.last - wrote.first)


def test_list_without_room_says_how_much_it_takes(vcpu: Arm64Vcpu) -> None:
    """With too little room KVM_GET_REG_LIST gives E2BIG, and n becomes the number of registers."""
    registers, count = vcpu.reg_list_with_room(4096)
    too_few = kvm.kvm_reg_list(n=len(registers) - 1)

    with refused(errno.E2BIG):
        vcpu.handle.pass_structure(kvm.KVM_GET_REG_LIST, too_few)

    assert too_few.n == count == len(registers)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_ONE_REG")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("reg_id", UNKNOWN)
def test_unknown_register_is_refused(vcpu: Arm64Vcpu, reg_id: int, call: Call) -> None:
    """An id that does not name a register gives ENOENT."""
    value = ctypes.c_uint64()

    with refused(errno.ENOENT):
        call(vcpu, reg_id, ctypes.addressof(value))


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_ONE_REG")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("reg_id", MALFORMED)
def test_malformed_id_is_refused(vcpu: Arm64Vcpu, reg_id: int, call: Call) -> None:
    """An id of another architecture, or one that lies between registers, gives EINVAL."""
    value = ctypes.c_uint64()

    with refused(errno.EINVAL):
        call(vcpu, reg_id, ctypes.addressof(value))


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("timer", TIMERS)
def test_bad_value_pointer_is_refused(vcpu: Arm64Vcpu, timer: Timer, call: Call) -> None:
    """A value that cannot be read or written gives EFAULT; CVAL stays."""
    timer.set(vcpu, "cval", 12345)

    for name in (timer.ctl, timer.cval, timer.cnt):
        with refused(errno.EFAULT):
            call(vcpu, getattr(kvm_arm64, name), BAD_ADDRESS)

    assert timer.get(vcpu, "cval") == 12345


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.parametrize("request_number", REQUESTS)
def test_bad_structure_pointer_is_refused(vcpu: Arm64Vcpu, request_number: int) -> None:
    """A structure that cannot be read gives EFAULT."""
    with refused(errno.EFAULT):
        vcpu.handle.call(request_number, BAD_ADDRESS)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.parametrize("request_number", REQUESTS)
def test_registers_need_an_initialised_vcpu(vm: Arm64Vm, request_number: int) -> None:
    """Before KVM_ARM_VCPU_INIT all three give ENOEXEC, before the structure is read."""
    vcpu = vm.create_uninitialised_vcpu(0)

    with refused(errno.ENOEXEC):
        vcpu.handle.call(request_number, BAD_ADDRESS)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_attributes_need_no_initialised_vcpu(vm: Arm64Vm) -> None:
    """The timers' device attributes exist before KVM_ARM_VCPU_INIT."""
    vcpu = vm.create_uninitialised_vcpu(0)

    number = vcpu.attribute(kvm_arm64.KVM_ARM_VCPU_TIMER_CTRL, 0, "KVM_ARM_VCPU_TIMER_IRQ_VTIMER")

    assert number.get_int() == 27


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
def test_register_that_no_program_uses_stays(vcpu: Arm64Vcpu) -> None:
    """X18, which these guests leave alone, keeps what user space wrote over exits of the guest."""
    vcpu.set_reg(kvm_arm64.x_reg(18), 0x0123_4567_89AB_CDEF)

    for _ in range(3):
        vcpu.guest.read_cntvct()

    assert vcpu.get_reg(kvm_arm64.x_reg(18)) == 0x0123_4567_89AB_CDEF
