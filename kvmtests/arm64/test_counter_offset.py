# SPDX-License-Identifier: GPL-2.0-only
"""KVM_ARM_SET_COUNTER_OFFSET: one offset for both counters of the whole VM.

Source: Documentation/virt/kvm/api.rst, KVM_ARM_SET_COUNTER_OFFSET; arch/arm64/kvm/arch_timer.c:
kvm_vm_ioctl_set_counter_offset().
"""

from __future__ import annotations

import errno
import time

import pytest

from fixtures.counters import NSEC_PER_MSEC, bracket
from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.expect import refused
from fixtures.kvm.handle import BAD_ADDRESS
from fixtures.kvm.system import Kvm
from fixtures.uapi.arm64 import kvm as kvm_arm64
from kvmtests.arm64.counters import COUNTERS
from kvmtests.tables import NONZERO_OFFSETS, OFFSETS
from kvmtests.windows import timed

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_ARM_SET_COUNTER_OFFSET"),
    pytest.mark.generation("upstream"),
]

TIMER_CNT = kvm_arm64.KVM_REG_ARM_TIMER_CNT
PTIMER_CNT = kvm_arm64.KVM_REG_ARM_PTIMER_CNT


@pytest.fixture(autouse=True)
def counter_offset(vm: Arm64Vm) -> None:
    """KVM offers the ioctl."""
    vm.require_counter_offset()


def check_offset(vcpu: Arm64Vcpu, offset: int) -> None:
    """Fail unless both counters are the host's - *offset*: the virtual one as the guest reads it.

    The physical one as user space does: a guest of protected mode reads the host's.
    """
    reading = vcpu.guest.read_cntvct()
    window, physical = timed(vcpu.vm, lambda: vcpu.get_reg(PTIMER_CNT))

    assert reading.value in reading.window.shifted(-offset)
    assert physical in window.shifted(-offset)


@pytest.mark.parametrize("offset", OFFSETS)
def test_virtual_counter_is_host_counter_minus_offset(vm: Arm64Vm, vcpu: Arm64Vcpu, offset: int) -> None:
    """The guest's CNTVCT_EL0 is the host counter - offset, modulo 2**64 or the counter's width."""
    vm.set_counter_offset(offset)

    reading = vcpu.guest.read_cntvct()

    assert reading.value in reading.window.shifted(-offset)


@pytest.mark.parametrize("offset", OFFSETS)
def test_physical_counter_is_host_counter_minus_offset(vm: Arm64Vm, vcpu: Arm64Vcpu, offset: int) -> None:
    """The guest's CNTPCT_EL0 is the host counter - offset, modulo 2**64 or the counter's width."""
    vm.set_counter_offset(offset)

    reading = vcpu.guest.read_cntpct()

    assert reading.value in reading.window.shifted(-offset)


@pytest.mark.parametrize("offset", NONZERO_OFFSETS)
@pytest.mark.parametrize(
    "register", [pytest.param(TIMER_CNT, id="TIMER_CNT"), pytest.param(PTIMER_CNT, id="PTIMER_CNT")]
)
def test_counter_registers_follow_the_offset(
    vm: Arm64Vm, vcpu: Arm64Vcpu, offset: int, register: int
) -> None:
    """KVM_GET_ONE_REG of both counters gives the host counter - offset, modulo the counter's width."""
    vm.set_counter_offset(offset)

    window, seen = timed(vm, lambda: vcpu.get_reg(register))

    assert seen in window.shifted(-offset)


def test_offset_holds_for_every_vcpu(vm: Arm64Vm, vcpus: list[Arm64Vcpu]) -> None:
    """vCPUs created before and after the call all run with the offset."""
    vm.set_counter_offset(12345)
    late = vm.create_vcpu(2)

    for vcpu in (*vcpus, late):
        check_offset(vcpu, 12345)


def test_offset_may_be_set_before_any_vcpu(vm: Arm64Vm) -> None:
    """An offset set on a VM without vCPUs holds for a vCPU created later."""
    vm.set_counter_offset(12345)

    check_offset(vm.create_vcpu(0), 12345)


def test_offset_may_change_after_a_run(vm: Arm64Vm, vcpu: Arm64Vcpu) -> None:
    """A vCPU that has run does not cause EBUSY: the new offset holds at the next entry."""
    vm.set_counter_offset(1000)
    vcpu.guest.read_cntvct()

    vm.set_counter_offset(5000)

    check_offset(vcpu, 5000)


def test_offset_there_and_back(vm: Arm64Vm, vcpus: list[Arm64Vcpu]) -> None:
    """An offset of 0 after another gives every vCPU the host's counters again."""
    vm.set_counter_offset(2**40)
    for vcpu in vcpus:
        vcpu.guest.read_cntvct()

    vm.set_counter_offset(0)

    for vcpu in vcpus:
        check_offset(vcpu, 0)


def test_same_offset_again_later_changes_nothing(vm: Arm64Vm, vcpu: Arm64Vcpu) -> None:
    """Setting the same offset again, some time later, keeps the guest on the same line."""
    vm.set_counter_offset(12345)
    vcpu.guest.read_cntvct()
    vm.time.sleep_ns(5 * NSEC_PER_MSEC)

    vm.set_counter_offset(12345)

    check_offset(vcpu, 12345)


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize(
    "register", [pytest.param(TIMER_CNT, id="TIMER_CNT"), pytest.param(PTIMER_CNT, id="PTIMER_CNT")]
)
def test_counter_writes_are_ignored_afterwards(
    vm: Arm64Vm, vcpu: Arm64Vcpu, register: int, counter: Counter
) -> None:
    """After the call KVM_SET_ONE_REG of a counter succeeds and changes neither, also after a new vCPU."""
    vm.set_counter_offset(2**40)

    vcpu.set_reg(register, 0)
    vcpu.guest.read_counter(counter)
    vm.create_vcpu(1).set_reg(register, 0)

    reading = vcpu.guest.read_counter(counter)
    assert reading.value in reading.window.shifted(-(2**40))


def test_every_later_vcpu_has_the_offset(vm: Arm64Vm) -> None:
    """However many vCPUs are made after the call, each counts with the offset, and so does the first."""
    first = vm.create_vcpu(0)
    vm.set_counter_offset(2**40)

    vcpus = [first, *(vm.create_vcpu(number) for number in (1, 2, 3))]

    for vcpu in vcpus:
        reading = vcpu.guest.read_cntvct()
        assert reading.value in reading.window.shifted(-(2**40))


def test_offset_zero_does_not_undo_the_latch(vm: Arm64Vm, vcpu: Arm64Vcpu) -> None:
    """Offset 0 is also an offset: counter writes stay ignored, and new vCPUs reset nothing."""
    vm.set_counter_offset(0)

    vcpu.set_reg(TIMER_CNT, 777)
    vm.create_vcpu(1)

    check_offset(vcpu, 0)


@pytest.mark.parametrize("reserved", [pytest.param(1, id="one"), pytest.param(2**63, id="top-bit")])
def test_reserved_field_must_be_zero(vm: Arm64Vm, vcpu: Arm64Vcpu, reserved: int) -> None:
    """A reserved field that is not 0 gives EINVAL; offset and latch stay as they were."""
    vm.set_counter_offset(12345)

    with refused(errno.EINVAL):
        vm.set_counter_offset(999, reserved)

    check_offset(vcpu, 12345)


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
def test_refused_call_does_not_latch(vm: Arm64Vm, vcpu: Arm64Vcpu) -> None:
    """After a refused call counter writes still take effect."""
    with refused(errno.EINVAL):
        vm.set_counter_offset(999, reserved=1)

    before, _, after = bracket(vm.time.counter, lambda: vcpu.set_reg(TIMER_CNT, 0))

    reading = vcpu.guest.read_cntvct()
    assert reading.value in reading.since(before, after)


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
def test_bad_pointer_is_refused(vm: Arm64Vm, vcpu: Arm64Vcpu) -> None:
    """A structure that cannot be read gives EFAULT; the offset stays."""
    vm.set_counter_offset(12345)

    with refused(errno.EFAULT):
        vm.set_counter_offset_from(BAD_ADDRESS)

    check_offset(vcpu, 12345)


def test_running_vcpu_makes_the_vm_busy(vm: Arm64Vm, vcpus: list[Arm64Vcpu]) -> None:
    """While another thread is inside KVM_RUN the call gives EBUSY and changes nothing."""
    vm.set_counter_offset(12345)
    first, second = vcpus
    with first.guest.spinning():
        with refused(errno.EBUSY):
            vm.set_counter_offset(999)
        check_offset(second, 12345)


def wait_until_busy(vm: Arm64Vm, offset: int) -> None:
    """Set *offset* again and again until that is refused: a vCPU has entered its guest."""
    deadline_s = time.monotonic() + 5
    with refused(errno.EBUSY):
        while time.monotonic() < deadline_s:
            vm.set_counter_offset(offset)


def test_sleeping_vcpu_makes_the_vm_busy(vm: Arm64Vm, vcpus: list[Arm64Vcpu]) -> None:
    """A vCPU asleep in WFI is also inside KVM_RUN: EBUSY, and nothing changes."""
    vm.set_counter_offset(12345)
    sleeper, awake = vcpus
    with sleeper.guest.running("wfi"):
        wait_until_busy(vm, 12345)
        with refused(errno.EBUSY):
            vm.set_counter_offset(999)
        check_offset(awake, 12345)


def test_vcpu_that_was_woken_leaves_the_vm_free(vm: Arm64Vm, vcpu: Arm64Vcpu) -> None:
    """Once a vCPU has left its WFI the offset may be set, and it reads the new one."""
    with vcpu.guest.running("wfi"):
        wait_until_busy(vm, 12345)

    vm.set_counter_offset(999)

    check_offset(vcpu, 999)


def test_any_running_vcpu_makes_the_vm_busy(vm: Arm64Vm, vcpus: list[Arm64Vcpu]) -> None:
    """Any vCPU inside KVM_RUN causes EBUSY, whether or not it has run before."""
    late = vm.create_vcpu(2)
    for vcpu in (*vcpus, late):
        with vcpu.guest.spinning(), refused(errno.EBUSY):
            vm.set_counter_offset(999)

    vm.set_counter_offset(12345)

    check_offset(late, 12345)


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
def test_busy_vm_does_not_latch(vm: Arm64Vm, vcpus: list[Arm64Vcpu]) -> None:
    """After EBUSY counter writes still take effect: the refused call has not latched."""
    first, second = vcpus
    with first.guest.spinning(), refused(errno.EBUSY):
        vm.set_counter_offset(999)

    before, _, after = bracket(vm.time.counter, lambda: second.set_reg(TIMER_CNT, 0))

    reading = second.guest.read_cntvct()
    assert reading.value in reading.since(before, after)


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
def test_ebusy_comes_after_the_other_checks(vm: Arm64Vm, vcpu: Arm64Vcpu) -> None:
    """A bad pointer gives EFAULT and a reserved field EINVAL, also while a vCPU runs."""
    with vcpu.guest.spinning():
        with refused(errno.EFAULT):
            vm.set_counter_offset_from(BAD_ADDRESS)
        with refused(errno.EINVAL):
            vm.set_counter_offset(999, reserved=1)


def test_running_vm_does_not_make_another_busy(kvm: Kvm[Arm64Vm], vcpu: Arm64Vcpu) -> None:
    """EBUSY depends on the vCPUs of the VM itself only."""
    other = kvm.create_vm()

    with vcpu.guest.spinning():
        other.set_counter_offset(12345)

    check_offset(other.create_vcpu(0), 12345)
