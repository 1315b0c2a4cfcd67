# SPDX-License-Identifier: GPL-2.0-only
"""KVM_ARM_VCPU_TIMER_CTRL: which attributes exist, and what is refused with which errno in which order.

Source: Documentation/virt/kvm/devices/vcpu.rst, 2; arch/arm64/kvm/arch_timer.c:
kvm_arm_timer_set_attr(), kvm_arm_timer_get_attr(), kvm_arm_timer_has_attr(); series v3.
"""

from __future__ import annotations

import errno

import pytest

from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.attribute import Attribute
from fixtures.kvm.expect import refused
from fixtures.kvm.handle import BAD_ADDRESS
from fixtures.uapi import kvm
from fixtures.uapi.arm64 import kvm as kvm_arm64

pytestmark = pytest.mark.promise(
    documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_ARM_VCPU_TIMER_IRQ_VTIMER and others"
)

TIMER = kvm_arm64.KVM_ARM_VCPU_TIMER_CTRL
UNKNOWN = [
    pytest.param(4, id="4"),
    pytest.param(2**32, id="two-to-32"),
    pytest.param(2**64 - 1, id="all-ones"),
]
DEFAULTS = [
    pytest.param(kvm_arm64.KVM_ARM_VCPU_TIMER_IRQ_VTIMER, 27, id="IRQ_VTIMER"),
    pytest.param(kvm_arm64.KVM_ARM_VCPU_TIMER_IRQ_PTIMER, 30, id="IRQ_PTIMER"),
]
NESTED_DEFAULTS = [
    pytest.param(kvm_arm64.KVM_ARM_VCPU_TIMER_IRQ_HVTIMER, 28, id="IRQ_HVTIMER"),
    pytest.param(kvm_arm64.KVM_ARM_VCPU_TIMER_IRQ_HPTIMER, 26, id="IRQ_HPTIMER"),
]


def attribute(vcpu: Arm64Vcpu, number: int) -> Attribute:
    """Return attribute *number* of the timer group."""
    return vcpu.attribute(TIMER, number, f"KVM_ARM_VCPU_TIMER_CTRL, attribute {number}")


@pytest.mark.parametrize(("number", "interrupt"), DEFAULTS)
def test_default_interrupt_numbers(vcpus: list[Arm64Vcpu], number: int, interrupt: int) -> None:
    """The EL1 timers' interrupts default to the same PPI on every vCPU."""
    assert [attribute(vcpu, number).get_int() for vcpu in vcpus] == [interrupt, interrupt]


@pytest.mark.generation("upstream")
@pytest.mark.parametrize(("number", "interrupt"), NESTED_DEFAULTS)
def test_default_interrupt_numbers_of_el2_timers(vcpu: Arm64Vcpu, number: int, interrupt: int) -> None:
    """The numbers that the series gave its offsets are the EL2 timers' interrupts since v6.4."""
    vcpu.vm.require_counter_offset()

    assert attribute(vcpu, number).get_int() == interrupt


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_HAS_DEVICE_ATTR")
@pytest.mark.parametrize("number", UNKNOWN)
def test_unknown_attribute_does_not_exist(vcpu: Arm64Vcpu, number: int) -> None:
    """KVM_HAS_DEVICE_ATTR and KVM_GET_DEVICE_ATTR of an unknown attribute give ENXIO."""
    with refused(errno.ENXIO):
        attribute(vcpu, number).probe()
    with refused(errno.ENXIO):
        attribute(vcpu, number).get_into(BAD_ADDRESS)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_HAS_DEVICE_ATTR")
@pytest.mark.parametrize("group", [pytest.param(3, id="3"), pytest.param(2**32 - 1, id="all-ones")])
def test_unknown_group_does_not_exist(vcpu: Arm64Vcpu, group: int) -> None:
    """An unknown group gives ENXIO, whatever the pointer."""
    unknown = vcpu.attribute(group, 0, f"group {group}")

    with refused(errno.ENXIO):
        unknown.probe()
    with refused(errno.ENXIO):
        unknown.get_into(BAD_ADDRESS)
    with refused(errno.ENXIO):
        unknown.set_from(BAD_ADDRESS)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.generation("upstream")
@pytest.mark.parametrize(
    "number",
    [
        *(pytest.param(case.values[0], id=case.id) for case in DEFAULTS + NESTED_DEFAULTS),
        pytest.param(4, id="unknown"),
    ],
)
def test_setting_needs_an_in_kernel_gic_first(vcpu: Arm64Vcpu, number: int) -> None:
    """Without in-kernel GIC every SET gives EINVAL, before attribute number and pointer are checked."""
    vcpu.vm.require_counter_offset()

    with refused(errno.EINVAL):
        attribute(vcpu, number).set_from(BAD_ADDRESS)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.generation("upstream")
@pytest.mark.parametrize(("number", "interrupt"), DEFAULTS + NESTED_DEFAULTS)
def test_refused_setting_changes_no_interrupt(vcpu: Arm64Vcpu, number: int, interrupt: int) -> None:
    """A refused SET leaves the interrupt number alone, even where the value is a valid PPI."""
    vcpu.vm.require_counter_offset()

    with refused(errno.EINVAL):
        attribute(vcpu, number).set_int(20)

    assert attribute(vcpu, number).get_int() == interrupt


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.parametrize(("number", "interrupt"), DEFAULTS)
def test_bad_value_pointer_is_refused(vcpu: Arm64Vcpu, number: int, interrupt: int) -> None:
    """KVM_GET_DEVICE_ATTR to an address that cannot be written gives EFAULT."""
    with refused(errno.EFAULT):
        attribute(vcpu, number).get_into(BAD_ADDRESS)

    assert attribute(vcpu, number).get_int() == interrupt


@pytest.mark.promise(de_facto="the series of July 2021")
@pytest.mark.generation("series")
@pytest.mark.parametrize("name", ["virtual_offset", "physical_offset"])
def test_bad_offset_pointer_is_refused(vcpu: Arm64Vcpu, name: str) -> None:
    """GET and SET of an offset with a bad pointer give EFAULT and change nothing; HAS does not read it."""
    vcpu.require_series_offsets()
    vcpu.virtual_offset, vcpu.physical_offset = 5, 7
    offset: Attribute = getattr(vcpu, f"{name}_attribute")

    with refused(errno.EFAULT):
        offset.set_from(BAD_ADDRESS)
    with refused(errno.EFAULT):
        offset.get_into(BAD_ADDRESS)
    offset.probe(BAD_ADDRESS)

    assert (vcpu.virtual_offset, vcpu.physical_offset) == (5, 7)


@pytest.mark.promise(de_facto="the series of July 2021")
@pytest.mark.generation("series")
@pytest.mark.parametrize("number", UNKNOWN)
def test_unknown_attribute_is_not_set(vcpu: Arm64Vcpu, number: int) -> None:
    """In the series SET of an unknown attribute also gives ENXIO, before its pointer is read."""
    vcpu.require_series_offsets()

    with refused(errno.ENXIO):
        attribute(vcpu, number).set_from(BAD_ADDRESS)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.parametrize(
    "request_number",
    [
        pytest.param(kvm.KVM_SET_DEVICE_ATTR, id="set"),
        pytest.param(kvm.KVM_GET_DEVICE_ATTR, id="get"),
        pytest.param(kvm.KVM_HAS_DEVICE_ATTR, id="has"),
    ],
)
def test_structure_must_be_readable(vcpu: Arm64Vcpu, request_number: int) -> None:
    """A vCPU attribute ioctl with a bad structure pointer is refused with EFAULT."""
    with refused(errno.EFAULT):
        vcpu.handle.call(request_number, BAD_ADDRESS)
