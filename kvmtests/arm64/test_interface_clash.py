# SPDX-License-Identifier: GPL-2.0-only
"""Attributes 2 and 3 of KVM_ARM_VCPU_TIMER_CTRL: offsets in the 2021 series, interrupt numbers since v6.4.

KVM_HAS_DEVICE_ATTR succeeds in both, and only KVM_CAP_COUNTER_OFFSET distinguishes them. A VMM that
does not check it reads 4 bytes where it expects 8, and routes an interrupt by an offset.

Source: series v3, Documentation/virt/kvm/devices/vcpu.rst, 2; arch/arm64/kvm/arch_timer.c:
kvm_arm_timer_get_attr(), kvm_arm_timer_set_attr() of both.
"""

from __future__ import annotations

import ctypes
import errno

import pytest

from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.attribute import Attribute
from fixtures.kvm.expect import refused
from fixtures.uapi import kvm as uapi

pytestmark = pytest.mark.promise(de_facto="Linux 6.12 to 7.3")

FILLED = 2**64 - 1
OFFSET_LIKE_A_NUMBER = 2**40 + 20  # its low 32 bits are a PPI
OFFSETS_UNLIKE_NUMBERS = {"180e9": 180 * 10**9, "two-to-40": 2**40, "minus-one": 2**64 - 1}
OFFSETS = {"like-a-number": OFFSET_LIKE_A_NUMBER, **OFFSETS_UNLIKE_NUMBERS}
NUMBERS = [28, 26]  # KVM's own, of the EL2 timers


def clashing(vcpu: Arm64Vcpu) -> list[Attribute]:
    """Return attributes 2 and 3, by their names in the series."""
    return [vcpu.virtual_offset_attribute, vcpu.physical_offset_attribute]


def bytes_of_get(attribute: Attribute) -> bytes:
    """Return 8 bytes that were all ones before KVM_GET_DEVICE_ATTR wrote into them."""
    value = ctypes.c_uint64(FILLED)
    attribute.get_into(ctypes.addressof(value))
    return bytes(value)


def test_generation_is_what_the_capability_says(vcpu: Arm64Vcpu) -> None:
    """With KVM_CAP_COUNTER_OFFSET the attributes have 4 bytes; without it, if they exist, 8."""
    series = not vcpu.vm.check_extension(uapi.KVM_CAP_COUNTER_OFFSET)
    if series:
        vcpu.require_series_offsets()

    written = [bytes_of_get(attribute) for attribute in clashing(vcpu)]

    untouched = [value.endswith(b"\xff\xff\xff\xff") for value in written]
    assert untouched == [not series, not series]


@pytest.mark.parametrize("index", [pytest.param(0, id="attribute-2"), pytest.param(1, id="attribute-3")])
def test_probing_alone_does_not_distinguish(vcpu: Arm64Vcpu, index: int) -> None:
    """KVM_HAS_DEVICE_ATTR knows both attributes, whatever they mean: it cannot probe for offsets."""
    if not vcpu.vm.check_extension(uapi.KVM_CAP_COUNTER_OFFSET):
        vcpu.require_series_offsets()

    clashing(vcpu)[index].probe()


@pytest.mark.generation("upstream")
def test_get_writes_an_interrupt_number(vm: Arm64Vm, vcpu: Arm64Vcpu) -> None:
    """Since v6.4 a GET fills 4 of 8 bytes with the interrupt number, and leaves the rest."""
    vm.require_counter_offset()

    written = [bytes_of_get(attribute) for attribute in clashing(vcpu)]

    assert written == [number.to_bytes(4, "little") + b"\xff" * 4 for number in NUMBERS]


@pytest.mark.generation("upstream")
def test_careful_user_space_writes_no_offset(vm: Arm64Vm, vcpu: Arm64Vcpu) -> None:
    """User space that only looks for the series' offsets, by HAS and GET, leaves the numbers alone."""
    vm.require_counter_offset()
    vm.create_gic()

    for attribute in clashing(vcpu):
        attribute.probe()
        bytes_of_get(attribute)

    assert [attribute.get_int() for attribute in clashing(vcpu)] == NUMBERS


@pytest.mark.generation("upstream")
def test_offset_without_gic_is_refused(vm: Arm64Vm, vcpu: Arm64Vcpu) -> None:
    """Since v6.4 an offset written without an in-kernel GIC gives EINVAL; numbers and counters stay."""
    vm.require_counter_offset()
    vm.set_counter_offset(12345)

    for attribute in clashing(vcpu):
        for offset in OFFSETS.values():
            with refused(errno.EINVAL):
                attribute.set_u64(offset)

    assert [attribute.get_int() for attribute in clashing(vcpu)] == NUMBERS
    reading = vcpu.guest.read_cntvct()
    assert reading.value in reading.window.shifted(-12345)


@pytest.mark.generation("upstream")
def test_offset_with_gic_is_taken_for_a_number(vm: Arm64Vm, vcpu: Arm64Vcpu) -> None:
    """Since v6.4, with an in-kernel GIC, an offset's low 32 bits are checked and taken as a number."""
    vm.require_counter_offset()
    vm.create_gic()
    virtual, physical = clashing(vcpu)

    for offset in OFFSETS_UNLIKE_NUMBERS.values():
        with refused(errno.EINVAL):
            virtual.set_u64(offset)
    virtual.set_u64(OFFSET_LIKE_A_NUMBER)

    assert (virtual.get_int(), physical.get_int()) == (20, NUMBERS[1])


@pytest.mark.promise(de_facto="the series of July 2021")
@pytest.mark.generation("series")
@pytest.mark.parametrize("offset", OFFSETS.values(), ids=OFFSETS)
def test_offset_of_the_series_has_64_bits(vcpu: Arm64Vcpu, offset: int) -> None:
    """In the series both attributes take and return 8 bytes, with and without an in-kernel GIC."""
    vcpu.require_series_offsets()
    virtual, physical = clashing(vcpu)
    virtual.set_u64(offset)
    without_gic = virtual.get_u64()
    vcpu.vm.create_gic()
    physical.set_u64(offset)

    assert [without_gic, virtual.get_u64(), physical.get_u64()] == [offset] * 3


@pytest.mark.promise(de_facto="the series of July 2021")
@pytest.mark.generation("series")
def test_upstream_ioctl_is_unknown_to_the_series(vcpu: Arm64Vcpu) -> None:
    """On the series' kernel KVM_ARM_SET_COUNTER_OFFSET is unknown: EINVAL, and the counters stay."""
    vcpu.require_series_offsets()

    with refused(errno.EINVAL):
        vcpu.vm.set_counter_offset(12345)

    reading = vcpu.guest.read_cntpct()
    assert reading.value in reading.window
