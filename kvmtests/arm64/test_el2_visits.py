# SPDX-License-Identifier: GPL-2.0-only
"""A guest hypervisor that runs a guest of its own, visit after visit, and hides the time between them.

At each visit the hypervisor sets CNTVOFF_EL2 so that its guest's virtual counter continues where it was
when the last one ended, enters the guest by ERET, and is called back by HVC.

Source: Arm ARM, CNTVOFF_EL2, ERET, HVC; arch/arm64/kvm/emulate-nested.c: kvm_emulate_nested_eret(),
kvm_inject_nested(); arch_timer.c: kvm_timer_vcpu_load_nested_switch(), kvm_arm_timer_set_reg().
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fixtures.counters import NSEC_PER_MSEC, Window
from fixtures.kvm.arm64.values import GuestVisit
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.system import Kvm
from fixtures.restore.arm64.el2 import EL2_ORDERS, EL2_PARTS
from fixtures.restore.parts import copy_memory, restore, save
from kvmtests.arm64.el2 import EL1, EL2, KINDS, VM_OFFSET, el2_vcpus
from kvmtests.windows import timed

pytestmark = [
    pytest.mark.promise(architectural="Arm ARM, CNTVOFF_EL2, ERET and HVC"),
    pytest.mark.requires("KVM_CAP_ARM_EL2"),
]

VISITS = 3
AWAY = 2000
"""Ticks between visits: more than a visit takes where nothing is emulated."""

COUNTS = [
    pytest.param(0, id="zero"),
    pytest.param(2**60, id="ahead-of-the-host"),
    pytest.param(2**64 - 2**20, id="about-to-wrap"),
]
"""Virtual counts from which a guest's guest starts: CNTVOFF_EL2 is negative for the second alone."""

ALL_ORDERS = [pytest.param(order, id=name) for name, order in EL2_ORDERS.items()]
BY_VALUE = ("CNTVOFF_EL2", "virtual_count", "physical_count")
"""An order that is right for counts restored by value: the physical one last."""


@pytest.mark.parametrize("vhe", KINDS)
@pytest.mark.parametrize("count", COUNTS)
def test_virtual_counter_continues_at_each_visit(vm: Arm64Vm, vhe: bool, count: int) -> None:
    """Each visit continues the guest's virtual count where the last ended: the time between is hidden."""
    vcpu = hypervisor_of(vm, vhe=vhe)

    visits = vcpu.guest.visit_guest(VISITS, count=count, away=AWAY)

    continues(vm, visits, count)


@pytest.mark.parametrize("vhe", KINDS)
def test_hypervisor_counts_without_the_offset_of_its_guest(vm: Arm64Vm, vhe: bool) -> None:
    """After the guest's HVC the hypervisor counts with the VM's offset alone, as before its ERET."""
    vcpu = hypervisor_of(vm, vhe=vhe)

    host_counter, visits = timed(vm, lambda: vcpu.guest.visit_guest(VISITS, count=2**60))

    for visit in visits:
        assert visit.entered_ticks in host_counter.shifted(-VM_OFFSET)
        assert visit.returned_ticks in host_counter.shifted(-VM_OFFSET)


@pytest.mark.parametrize("vhe", KINDS)
def test_physical_counter_is_the_hypervisors(vm: Arm64Vm, vhe: bool) -> None:
    """No CNTVOFF_EL2 touches the guest's physical counter: it lies between the hypervisor's own counts."""
    vcpu = hypervisor_of(vm, vhe=vhe)

    for count in (0, 2**60, 2**64 - 2**20):
        for visit in vcpu.guest.visit_guest(VISITS, count=count):
            assert visit.physical_ticks in during(vm, visit)


@pytest.mark.parametrize("vhe", KINDS)
def test_time_outside_of_kvm_run_is_hidden_as_well(vm: Arm64Vm, vhe: bool) -> None:
    """Time in which user space does not run the vCPU shows in the physical counter of the guest alone."""
    vcpu = hypervisor_of(vm, vhe=vhe)
    (before,) = vcpu.guest.visit_guest(1, count=2**40)
    count = vcpu.guest.saved_count

    slept, _ = timed(vm, lambda: vm.time.sleep_ns(20 * NSEC_PER_MSEC))
    (after,) = vcpu.guest.visit_guest(1)

    continues(vm, [after], count)
    assert Window(before.physical_ticks, after.physical_ticks, vm.counter_bits).width >= slept.width


@pytest.mark.thorough
@pytest.mark.parametrize("order", ALL_ORDERS)
def test_guest_of_a_moved_hypervisor_continues(
    kvm: Kvm[Arm64Vm], vm: Arm64Vm, order: tuple[str, ...]
) -> None:
    """In another VM with the same offset, whatever the order, hypervisor and guest continue to the tick."""
    source = hypervisor_of(vm)
    vm.gic.require_registers()
    source.guest.visit_guest(VISITS, count=2**60)
    count = source.guest.saved_count

    destination = hypervisor_of(kvm.create_vm())
    copied(source, destination, order)
    host_counter, visits = timed(vm, lambda: destination.guest.visit_guest(VISITS))

    continues(vm, visits, count)
    for visit in visits:
        assert visit.entered_ticks in host_counter.shifted(-VM_OFFSET)
        assert visit.physical_ticks in during(vm, visit)


def test_guest_of_a_hypervisor_restored_by_counts_continues(kvm: Kvm[Arm64Vm], vm: Arm64Vm) -> None:
    """Counts restored by value, physical one last, cost the hypervisor that time and its guest nothing."""
    source = hypervisor_of(vm, offset=None)
    source.guest.visit_guest(VISITS, count=0)
    count = source.guest.saved_count
    destination = hypervisor_of(kvm.create_vm(), offset=None)

    spent, _ = timed(vm, lambda: copied(source, destination, BY_VALUE))
    host_counter, visits = timed(vm, lambda: destination.guest.visit_guest(VISITS))

    continues(vm, visits, count)
    may_be = Window(host_counter.first - spent.width, host_counter.last, host_counter.bits)
    for visit in visits:
        assert visit.entered_ticks in may_be
        assert visit.physical_ticks in during(vm, visit)


def hypervisor_of(vm: Arm64Vm, *, vhe: bool = True, offset: int | None = VM_OFFSET) -> Arm64Vcpu:
    """Return a vCPU with EL2 in *vm*, which has *offset* unless that is None; EL1's MMU is on."""
    (vcpu,) = el2_vcpus(vm, vhe=vhe)
    if offset is not None:
        vm.require_counter_offset()
        vm.set_counter_offset(offset)
    vcpu.guest.enter(EL1).read_cntvct()
    vcpu.guest.enter(EL2)
    return vcpu


def copied(source: Arm64Vcpu, destination: Arm64Vcpu, order: tuple[str, ...]) -> None:
    """Give *destination* the memory of *source* and its registers, in *order*."""
    copy_memory(source, destination)
    restore(destination, EL2_PARTS, save(source, EL2_PARTS, order), order)


def during(vm: Arm64Vm, visit: GuestVisit) -> Window:
    """Return the hypervisor's counts between which its guest ran."""
    return Window(visit.entered_ticks, visit.returned_ticks, vm.counter_bits)


def continues(vm: Arm64Vm, visits: Sequence[GuestVisit], count: int) -> None:
    """Check that the virtual count, *count* at first, counted while the guest ran, and not in between."""
    for visit in visits:
        until_its_physical_count = Window(visit.entered_ticks, visit.physical_ticks, vm.counter_bits)
        assert visit.virtual_ticks in until_its_physical_count.shifted(count - visit.entered_ticks)
        count += during(vm, visit).width
