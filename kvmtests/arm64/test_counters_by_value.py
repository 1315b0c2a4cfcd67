# SPDX-License-Identifier: GPL-2.0-only
"""Counters without offset calls: where they start, and how user space sets them by value.

Source: arch/arm64/kvm/arch_timer.c: kvm_timer_vcpu_init(), kvm_arm_timer_set_reg().
"""

from __future__ import annotations

from functools import partial

import pytest

from fixtures.counters import bracket
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.targets import Probe
from fixtures.uapi.arm64 import kvm as kvm_arm64
from kvmtests.windows import timed

pytestmark = pytest.mark.promise(de_facto="Linux 5.10 to 7.3")

TIMER_CNT = kvm_arm64.KVM_REG_ARM_TIMER_CNT
PTIMER_CNT = kvm_arm64.KVM_REG_ARM_PTIMER_CNT
VALUES = [
    pytest.param(0, id="zero"),
    pytest.param(2**32, id="two-to-32"),
    pytest.param(2**63, id="two-to-63"),
    pytest.param(2**64 - 1, id="all-ones"),
]


@pytest.mark.promise(architectural="Arm ARM, The Generic Timer in AArch64 state: CNTFRQ_EL0")
def test_counter_frequency_is_the_hosts(vcpu: Arm64Vcpu, target_facts: Probe) -> None:
    """CNTFRQ_EL0 is not virtualised: the guest reads the host's frequency."""
    assert vcpu.guest.read_cntfrq() == target_facts.facts["counter_hz"]


def test_virtual_counter_starts_with_the_vcpu(vm: Arm64Vm) -> None:
    """The virtual counter is 0 when a vCPU is created."""
    before, vcpu, after = bracket(vm.time.counter, lambda: vm.create_vcpu(0))

    reading = vcpu.guest.read_cntvct()

    assert reading.value in reading.since(before, after)


def test_new_vcpu_restarts_the_virtual_counter_of_all(vm: Arm64Vm, vcpu: Arm64Vcpu) -> None:
    """Creating another vCPU restarts the virtual counter of those that exist."""
    vm.time.sleep_ns(5_000_000)

    before, _, after = bracket(vm.time.counter, lambda: vm.create_vcpu(1))

    reading = vcpu.guest.read_cntvct()
    assert reading.value in reading.since(before, after)


def test_physical_counter_is_the_hosts(vcpu: Arm64Vcpu) -> None:
    """Without offset the guest's CNTPCT_EL0 is the host counter."""
    reading = vcpu.guest.read_cntpct()

    assert reading.value in reading.window


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
@pytest.mark.parametrize("value", VALUES)
def test_written_virtual_counter_continues_from_there(vm: Arm64Vm, vcpu: Arm64Vcpu, value: int) -> None:
    """KVM_SET_ONE_REG of KVM_REG_ARM_TIMER_CNT sets CNTVCT_EL0, which continues to count."""
    before, _, after = bracket(vm.time.counter, lambda: vcpu.set_reg(TIMER_CNT, value))

    reading = vcpu.guest.read_cntvct()

    assert reading.value in reading.since(before, after).shifted(value)


def test_written_virtual_counter_holds_for_every_vcpu(vm: Arm64Vm, vcpus: list[Arm64Vcpu]) -> None:
    """Writing the counter through one vCPU sets it for the whole VM."""
    before, _, after = bracket(vm.time.counter, lambda: vcpus[0].set_reg(TIMER_CNT, 2**40))

    reading = vcpus[1].guest.read_cntvct()

    assert reading.value in reading.since(before, after).shifted(2**40)


def test_written_virtual_counter_reaches_running_vcpus(vm: Arm64Vm, vcpus: list[Arm64Vcpu]) -> None:
    """A count written through one vCPU also holds for a running one, from its next entry on."""
    running, other = vcpus
    with running.guest.spinning():
        before, _, after = bracket(vm.time.counter, partial(other.set_reg, TIMER_CNT, 10**15))

    for vcpu in (running, other):
        reading = vcpu.guest.read_cntvct()
        elapsed = reading.since(before, after)
        assert reading.value in elapsed.shifted(10**15)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
def test_written_virtual_counter_leaves_the_physical_one(vcpu: Arm64Vcpu) -> None:
    """KVM_REG_ARM_TIMER_CNT moves only the virtual counter."""
    vcpu.set_reg(TIMER_CNT, 2**40)

    reading = vcpu.guest.read_cntpct()

    assert reading.value in reading.window


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.generation("upstream")
def test_written_physical_counter_continues_from_there(vm: Arm64Vm, vcpu: Arm64Vcpu, value: int) -> None:
    """KVM_SET_ONE_REG of KVM_REG_ARM_PTIMER_CNT sets CNTPCT_EL0, which continues to count."""
    vcpu.require_reg(PTIMER_CNT, "KVM_REG_ARM_PTIMER_CNT")
    before, _, after = bracket(vm.time.counter, lambda: vcpu.set_reg(PTIMER_CNT, value))

    reading = vcpu.guest.read_cntpct()

    assert reading.value in reading.since(before, after).shifted(value)


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
@pytest.mark.generation("upstream")
@pytest.mark.mode("vhe", "nvhe")
def test_new_vcpu_resets_the_physical_counter_of_all(vm: Arm64Vm, vcpu: Arm64Vcpu) -> None:
    """Creating another vCPU discards the physical counter that was written: all read the host's again."""
    vcpu.require_reg(PTIMER_CNT, "KVM_REG_ARM_PTIMER_CNT")
    vcpu.set_reg(PTIMER_CNT, 2**40)

    vcpus = [vcpu, vm.create_vcpu(1)]

    for each in vcpus:
        reading = each.guest.read_cntpct()
        assert reading.value in reading.window


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
@pytest.mark.generation("upstream")
def test_new_vcpu_resets_the_physical_register_of_all(vm: Arm64Vm, vcpu: Arm64Vcpu) -> None:
    """In every mode KVM_GET_ONE_REG of the physical counter reads the host's again after a new vCPU."""
    vcpu.require_reg(PTIMER_CNT, "KVM_REG_ARM_PTIMER_CNT")
    vcpu.set_reg(PTIMER_CNT, 2**40)

    vcpus = [vcpu, vm.create_vcpu(1)]

    for each in vcpus:
        window, seen = timed(vm, partial(each.get_reg, PTIMER_CNT))
        assert seen in window


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
@pytest.mark.parametrize("cval", [pytest.param(2**62, id="far"), pytest.param(1, id="past")])
def test_counter_and_compare_value_are_different_registers(vcpu: Arm64Vcpu, cval: int) -> None:
    """KVM_REG_ARM_TIMER_CVAL, whose id is CNTVCT_EL0's encoding, keeps its value across counter writes."""
    vcpu.set_reg(kvm_arm64.KVM_REG_ARM_TIMER_CVAL, cval)

    vcpu.set_reg(TIMER_CNT, 2**40)

    assert vcpu.get_reg(kvm_arm64.KVM_REG_ARM_TIMER_CVAL) == cval
