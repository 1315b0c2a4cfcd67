# SPDX-License-Identifier: GPL-2.0-only
"""What KVM refuses about KVM_VCPU_TSC_CTRL, with which errno, and that a refusal changes nothing.

Source: Documentation/virt/kvm/devices/vcpu.rst; arch/x86/kvm/x86.c: kvm_vcpu_ioctl_device_attr().
"""

from __future__ import annotations

import ctypes
import errno

import pytest

from fixtures.kvm.attribute import Attribute
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.expect import refused
from fixtures.kvm.handle import BAD_ADDRESS
from fixtures.kvm.values import MASTER_CLOCK
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.uapi import kvm
from fixtures.uapi.x86 import kvm as kvm_x86
from fixtures.uapi.x86.cpuid import X87_AND_SSE
from kvmtests.x86.clocks import flags_after_entry
from kvmtests.x86.processors import components, has_xsave

pytestmark = pytest.mark.promise(documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_OFFSET")

FILLED = 0xA5A5A5A5A5A5A5A5
UNKNOWN = [
    pytest.param(kvm_x86.KVM_VCPU_TSC_CTRL, 2, id="attribute-2"),
    pytest.param(kvm_x86.KVM_VCPU_TSC_CTRL, 2**64 - 1, id="attribute-all-ones"),
    pytest.param(kvm_x86.KVM_VCPU_TSC_CTRL, 2**32, id="attribute-bit-32"),
    pytest.param(1, kvm_x86.KVM_VCPU_TSC_OFFSET, id="group-1"),
    pytest.param(2**32 - 1, kvm_x86.KVM_VCPU_TSC_OFFSET, id="group-all-ones"),
]


@pytest.fixture(autouse=True)
def attribute(vcpu: X86Vcpu) -> None:
    """KVM offers KVM_VCPU_TSC_OFFSET."""
    if not vcpu.tsc_offset_attribute.exists():
        raise CapabilityMissing("KVM_VCPU_TSC_OFFSET")


@pytest.fixture
def unknown(vcpu: X86Vcpu, group: int, number: int) -> Attribute:
    """An attribute that no KVM knows."""
    return vcpu.attribute(group, number, f"group {group}, attribute {number:#x}")


@pytest.mark.parametrize(("group", "number"), UNKNOWN)
def test_unknown_attribute_does_not_exist(unknown: Attribute) -> None:
    """KVM_HAS_DEVICE_ATTR of an unknown group or attribute gives ENXIO."""
    with refused(errno.ENXIO):
        unknown.probe()


@pytest.mark.parametrize(("group", "number"), UNKNOWN)
def test_unknown_attribute_is_not_read(unknown: Attribute) -> None:
    """KVM_GET_DEVICE_ATTR of an unknown attribute gives ENXIO."""
    with refused(errno.ENXIO):
        unknown.get_u64()


@pytest.mark.usefixtures("stable_tsc")
@pytest.mark.parametrize(("group", "number"), UNKNOWN)
def test_unknown_attribute_is_not_set(vcpu: X86Vcpu, unknown: Attribute) -> None:
    """KVM_SET_DEVICE_ATTR of an unknown attribute gives ENXIO and leaves the offset alone."""
    before = vcpu.tsc_offset

    with refused(errno.ENXIO):
        unknown.set_u64(777)

    assert vcpu.tsc_offset == before


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.parametrize(("group", "number"), UNKNOWN)
def test_unknown_attribute_comes_before_a_bad_pointer(unknown: Attribute) -> None:
    """An unknown attribute with a bad value pointer gives ENXIO: the pointer is not used."""
    with refused(errno.ENXIO):
        unknown.set_from(BAD_ADDRESS)
    with refused(errno.ENXIO):
        unknown.get_into(BAD_ADDRESS)


@pytest.mark.usefixtures("stable_tsc")
@pytest.mark.parametrize(
    "address", [pytest.param(BAD_ADDRESS, id="kernel-address"), pytest.param(8, id="unmapped")]
)
def test_bad_value_pointer_is_refused(vcpu: X86Vcpu, address: int) -> None:
    """GET and SET with a value pointer outside of this process give EFAULT; the offset stays."""
    before = vcpu.tsc_offset

    with refused(errno.EFAULT):
        vcpu.tsc_offset_attribute.set_from(address)
    with refused(errno.EFAULT):
        vcpu.tsc_offset_attribute.get_into(address)

    assert vcpu.tsc_offset == before


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_HAS_DEVICE_ATTR")
def test_existence_does_not_read_the_pointer(vcpu: X86Vcpu) -> None:
    """KVM_HAS_DEVICE_ATTR of a known attribute succeeds whatever its pointer is."""
    assert vcpu.tsc_offset_attribute.exists(BAD_ADDRESS)


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.parametrize(
    "request_number",
    [
        pytest.param(kvm.KVM_SET_DEVICE_ATTR, id="set"),
        pytest.param(kvm.KVM_GET_DEVICE_ATTR, id="get"),
        pytest.param(kvm.KVM_HAS_DEVICE_ATTR, id="has"),
    ],
)
def test_structure_must_be_readable(vcpu: X86Vcpu, request_number: int) -> None:
    """A vCPU attribute ioctl with a bad structure pointer is refused with EFAULT."""
    with refused(errno.EFAULT):
        vcpu.handle.call(request_number, BAD_ADDRESS)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.thorough
@pytest.mark.usefixtures("settable_tsc", "stable_tsc", "tsc_clocksource")
def test_offset_set_with_flags_keeps_vcpus_together(vcpus: list[X86Vcpu]) -> None:
    """Two vCPUs given one offset, to one with flags in kvm_device_attr, still share the master clock."""
    offset = ctypes.c_uint64(vcpus[0].tsc_offset + 10**12)
    for vcpu, flags in zip(vcpus, (0, 2**31), strict=True):
        attr = kvm.kvm_device_attr(
            flags=flags,
            group=kvm_x86.KVM_VCPU_TSC_CTRL,
            attr=kvm_x86.KVM_VCPU_TSC_OFFSET,
            addr=ctypes.addressof(offset),
        )
        vcpu.handle.pass_structure(kvm.KVM_SET_DEVICE_ATTR, attr)

    assert flags_after_entry(*vcpus) == MASTER_CLOCK


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_HAS_DEVICE_ATTR")
@pytest.mark.generation("upstream", "series", "proposals")
@pytest.mark.usefixtures("stable_tsc")
def test_what_exists_is_read_to_memory_alone(vcpu: X86Vcpu) -> None:
    """Every attribute of the TSC that exists can be read, also again after a bad pointer, which is EFAULT."""
    numbers = range(8)
    group = [vcpu.attribute(kvm_x86.KVM_VCPU_TSC_CTRL, number, f"attribute {number}") for number in numbers]
    there = [attribute for attribute in group if attribute.exists(BAD_ADDRESS)]
    before = [content(attribute) for attribute in there]

    for attribute in there:
        with refused(errno.EFAULT):
            attribute.get_into(BAD_ADDRESS)

    assert kvm_x86.KVM_VCPU_TSC_OFFSET in {attribute.number for attribute in there}
    assert [content(attribute) for attribute in there] == before


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.usefixtures("stable_tsc")
@pytest.mark.parametrize("tsc_offset", [0, 2**40], ids=["zero", "two-to-40"])
def test_offset_is_not_the_attribute_of_the_system(vcpu: X86Vcpu, tsc_offset: int) -> None:
    """A vCPU's offset is not attribute 0 of the system descriptor: that mask stays, with x87 and SSE."""
    before = components(vcpu.vm)
    if not has_xsave(vcpu.vm):
        raise CapabilityMissing("X86_FEATURE_XSAVE")

    vcpu.tsc_offset = tsc_offset

    assert components(vcpu.vm) == before
    assert components(vcpu.vm) & X87_AND_SSE == X87_AND_SSE


def content(attribute: Attribute) -> bytes:
    """Return what KVM_GET_DEVICE_ATTR writes, and bytes after it that it leaves."""
    room = (ctypes.c_uint64 * 8)(*[FILLED] * 8)
    attribute.get_into(ctypes.addressof(room))
    return bytes(room)
