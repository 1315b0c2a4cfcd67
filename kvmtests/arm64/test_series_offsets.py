# SPDX-License-Identifier: GPL-2.0-only
"""The series' offset attributes: guest counter = host counter - offset, set for the whole VM.

Source: KVM: Add idempotent controls for migrating system counter state, v3, patches 6 to 9;
its Documentation/virt/kvm/devices/vcpu.rst, 2.
"""

from __future__ import annotations

import errno

import pytest

from fixtures.counters import NSEC_PER_MSEC
from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.expect import refused
from fixtures.uapi.arm64 import kvm as kvm_arm64
from kvmtests.arm64.counters import COUNTERS
from kvmtests.arm64.timers import ENABLE, ISTATUS, PHYSICAL, require_lines
from kvmtests.tables import NONZERO_OFFSETS, OFFSETS

pytestmark = [pytest.mark.promise(de_facto="the series of July 2021"), pytest.mark.generation("series")]


@pytest.fixture(autouse=True)
def attributes(vcpu: Arm64Vcpu) -> None:
    """KVM offers the series' attributes."""
    vcpu.require_series_offsets()


def set_offset(vcpu: Arm64Vcpu, counter: Counter, offset: int) -> None:
    """Set the *counter*'s offset through *vcpu*."""
    if counter is Counter.VIRTUAL:
        vcpu.virtual_offset = offset
    else:
        vcpu.physical_offset = offset


def get_offset(vcpu: Arm64Vcpu, counter: Counter) -> int:
    """Return the *counter*'s offset as *vcpu* has it."""
    return vcpu.virtual_offset if counter is Counter.VIRTUAL else vcpu.physical_offset


@pytest.mark.promise(
    documented="the series of July 2021, Documentation/virt/kvm/devices/vcpu.rst, KVM_ARM_VCPU_TIMER_CTRL"
)
@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_offset_reads_back(vcpu: Arm64Vcpu, counter: Counter, offset: int) -> None:
    """KVM_GET_DEVICE_ATTR returns the 64 bits that were set."""
    set_offset(vcpu, counter, offset)

    assert get_offset(vcpu, counter) == offset


@pytest.mark.promise(
    documented="the series of July 2021, Documentation/virt/kvm/devices/vcpu.rst, KVM_ARM_VCPU_TIMER_CTRL"
)
def test_each_attribute_reads_back_its_own_offset(vcpu: Arm64Vcpu) -> None:
    """With two different offsets set, each attribute returns its own."""
    vcpu.virtual_offset = 5
    vcpu.physical_offset = 7

    assert (vcpu.virtual_offset, vcpu.physical_offset) == (5, 7)


@pytest.mark.promise(
    documented="the series of July 2021, Documentation/virt/kvm/devices/vcpu.rst, KVM_ARM_VCPU_TIMER_CTRL"
)
@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_guest_counter_is_host_counter_minus_offset(vcpu: Arm64Vcpu, counter: Counter, offset: int) -> None:
    """The guest reads host counter - offset, modulo 2**64."""
    set_offset(vcpu, counter, offset)

    reading = vcpu.guest.read_counter(counter)

    assert reading.value in reading.window.shifted(-offset)


@pytest.mark.parametrize("offset", NONZERO_OFFSETS)
def test_virtual_offset_leaves_the_physical_counter(vcpu: Arm64Vcpu, offset: int) -> None:
    """Setting the virtual offset does not move the physical counter."""
    vcpu.virtual_offset = offset

    reading = vcpu.guest.read_cntpct()

    assert reading.value in reading.window


@pytest.mark.parametrize("offset", NONZERO_OFFSETS)
def test_physical_offset_leaves_the_virtual_counter(vcpu: Arm64Vcpu, offset: int) -> None:
    """Setting the physical offset does not move the virtual counter."""
    virtual_offset = vcpu.virtual_offset

    vcpu.physical_offset = offset

    reading = vcpu.guest.read_cntvct()
    assert reading.value in reading.window.shifted(-virtual_offset)


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("offset", NONZERO_OFFSETS)
def test_offset_is_broadcast_to_every_vcpu(vcpu: Arm64Vcpu, counter: Counter, offset: int) -> None:
    """Setting the offset through one vCPU sets it for all that exist, and their guests read it."""
    others = [vcpu.vm.create_vcpu(number) for number in (1, 2)]

    set_offset(others[0], counter, offset)

    for each in (vcpu, *others):
        assert get_offset(each, counter) == offset
        reading = each.guest.read_counter(counter)
        assert reading.value in reading.window.shifted(-offset)


@pytest.mark.parametrize("counter", COUNTERS)
def test_broadcast_reaches_vcpus_of_any_age(vcpu: Arm64Vcpu, counter: Counter) -> None:
    """vCPUs created before, between and after earlier broadcasts all take the next one, from any vCPU."""
    made = [vcpu]
    for number in (1, 2, 3):
        set_offset(made[-1], counter, number << 40)
        made.append(vcpu.vm.create_vcpu(number))

    set_offset(made[1], counter, 180 * 10**9)

    for each in made:
        assert get_offset(each, counter) == 180 * 10**9
        reading = each.guest.read_counter(counter)
        assert reading.value in reading.window.shifted(-180 * 10**9)


@pytest.mark.parametrize("counter", COUNTERS)
def test_broadcast_reaches_running_vcpus(vcpu: Arm64Vcpu, counter: Counter) -> None:
    """An offset set while another vCPU runs holds for that vCPU from its next entry on: there is no EBUSY."""
    other = vcpu.vm.create_vcpu(1)

    with vcpu.guest.spinning():
        set_offset(other, counter, 180 * 10**9)

    reading = vcpu.guest.read_counter(counter)
    assert reading.value in reading.window.shifted(-180 * 10**9)


@pytest.mark.parametrize("counter", COUNTERS)
def test_last_broadcast_wins(vcpu: Arm64Vcpu, counter: Counter) -> None:
    """Of two vCPUs that set different offsets the later one decides for both."""
    other = vcpu.vm.create_vcpu(1)

    set_offset(vcpu, counter, 1000)
    set_offset(other, counter, 2000)

    for each in (vcpu, other):
        reading = each.guest.read_counter(counter)
        assert reading.value in reading.window.shifted(-2000)


@pytest.mark.parametrize("counter", COUNTERS)
def test_same_offset_again_later_changes_nothing(vcpu: Arm64Vcpu, counter: Counter) -> None:
    """Setting the same offset again, some time later, keeps the guest on the same line."""
    set_offset(vcpu, counter, 12345)
    vcpu.guest.read_counter(counter)
    vcpu.vm.time.sleep_ns(5 * NSEC_PER_MSEC)

    set_offset(vcpu, counter, 12345)

    reading = vcpu.guest.read_counter(counter)
    assert reading.value in reading.window.shifted(-12345)


@pytest.mark.parametrize("counter", COUNTERS)
def test_offset_may_change_after_a_run(vcpu: Arm64Vcpu, counter: Counter) -> None:
    """A vCPU that has run takes a new offset at its next entry, without EBUSY."""
    set_offset(vcpu, counter, 1000)
    vcpu.guest.read_counter(counter)

    set_offset(vcpu, counter, 0)

    reading = vcpu.guest.read_counter(counter)
    assert reading.value in reading.window


def test_new_vcpu_restarts_the_virtual_counter_of_all(vcpu: Arm64Vcpu) -> None:
    """Creating a vCPU sets the virtual offset of the whole VM to the host counter."""
    vcpu.virtual_offset = 12345

    before = vcpu.vm.time.counter()
    other = vcpu.vm.create_vcpu(1)
    after = vcpu.vm.time.counter()

    assert vcpu.virtual_offset == other.virtual_offset
    assert before <= vcpu.virtual_offset <= after


def test_new_vcpu_starts_without_physical_offset(vcpu: Arm64Vcpu) -> None:
    """A new vCPU does not take over the physical offset of its siblings: it starts with 0."""
    vcpu.physical_offset = 12345

    other = vcpu.vm.create_vcpu(1)

    assert (vcpu.physical_offset, other.physical_offset) == (12345, 0)


def test_both_counters_keep_their_own_offsets(vcpu: Arm64Vcpu) -> None:
    """With both offsets set, each counter follows its own."""
    vcpu.virtual_offset = 180 * 10**9
    vcpu.physical_offset = 2**64 - 180 * 10**9

    virtual, physical = vcpu.guest.read_cntvct(), vcpu.guest.read_cntpct()

    assert virtual.value in virtual.window.shifted(-180 * 10**9)
    assert physical.value in physical.window.shifted(180 * 10**9)


def test_interrupt_numbers_are_other_attributes(vcpu: Arm64Vcpu) -> None:
    """Offsets do not touch the interrupt numbers next to them: 27 and 30."""
    vcpu.virtual_offset = 20
    vcpu.physical_offset = 21

    numbers = [
        vcpu.attribute(kvm_arm64.KVM_ARM_VCPU_TIMER_CTRL, number, "interrupt number").get_int()
        for number in (kvm_arm64.KVM_ARM_VCPU_TIMER_IRQ_VTIMER, kvm_arm64.KVM_ARM_VCPU_TIMER_IRQ_PTIMER)
    ]

    assert numbers == [27, 30]


def test_line_of_a_running_vcpu_stays_raised(vcpu: Arm64Vcpu) -> None:
    """The physical timer of a vCPU that runs while another sets the offset stays due, and its line raised."""
    require_lines(vcpu)
    other = vcpu.vm.create_vcpu(1)
    lines = []
    for offset in (2**30, 0):
        PHYSICAL.arm(vcpu, 1)
        with vcpu.guest.spinning():
            other.physical_offset = offset
        lines.append((PHYSICAL.line(vcpu), PHYSICAL.read(vcpu, "ctl").value))
        PHYSICAL.write(vcpu, "ctl", 0)

    assert lines == [(True, ENABLE | ISTATUS)] * 2


def test_upstream_call_leaves_the_offsets_of_all(vcpus: list[Arm64Vcpu]) -> None:
    """KVM_ARM_SET_COUNTER_OFFSET, which only later kernels have, is EINVAL and moves no vCPU's counters."""
    vcpus[0].virtual_offset, vcpus[0].physical_offset = 2**40, 2**41

    for offset in (0, 2**42):
        with refused(errno.EINVAL):
            vcpus[0].vm.set_counter_offset(offset)

    for vcpu in vcpus:
        assert (vcpu.virtual_offset, vcpu.physical_offset) == (2**40, 2**41)
        virtual, physical = vcpu.guest.read_cntvct(), vcpu.guest.read_cntpct()
        assert virtual.value in virtual.window.shifted(-(2**40))
        assert physical.value in physical.window.shifted(-(2**41))
