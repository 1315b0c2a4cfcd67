# SPDX-License-Identifier: GPL-2.0-only
"""Stolen time: where it lies, how a guest finds it, and how long a vCPU's thread waited for a CPU.

Source: Documentation/virt/kvm/devices/vcpu.rst, 3; Documentation/virt/kvm/arm/pvtime.rst;
arch/arm64/kvm/pvtime.c.
"""

from __future__ import annotations

import ctypes
import errno
from dataclasses import dataclass

import pytest

from fixtures.counters import Window, wrap
from fixtures.guests import layout
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.attribute import Attribute
from fixtures.kvm.expect import refused
from fixtures.kvm.handle import BAD_ADDRESS
from fixtures.kvm.run_delay import RunDelay
from fixtures.uapi import kvm as uapi
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.arm64 import smccc
from fixtures.uapi.arm64.pvclock import pvclock_vcpu_stolen_time

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_ARM_VCPU_PVTIME_IPA"),
    pytest.mark.thorough,
]

OUTSIDE_OF_MEMORY = 0x7000_0000
NOT_SUPPORTED = wrap(smccc.SMCCC_RET_NOT_SUPPORTED)
NOT_SET = 2**64 - 1
FILLING = b"\xa5"


@dataclass(frozen=True, slots=True)
class Record:
    """struct pvclock_vcpu_stolen_time as it lay in the guest's memory at one instant."""

    revision: int
    attributes: int
    stolen_ns: int


@pytest.fixture(autouse=True)
def steal_time(vm: Arm64Vm) -> None:
    """KVM offers stolen time, which needs the scheduler's statistics."""
    vm.require(uapi.KVM_CAP_STEAL_TIME)


def base(vcpu: Arm64Vcpu) -> Attribute:
    """Return the attribute that holds the address of the vCPU's record."""
    group, number = kvm_arm64.KVM_ARM_VCPU_PVTIME_CTRL, kvm_arm64.KVM_ARM_VCPU_PVTIME_IPA
    return vcpu.attribute(group, number, "KVM_ARM_VCPU_PVTIME_IPA")


def record(vcpu: Arm64Vcpu) -> Record:
    """Return the record as it lies in the guest's memory."""
    raw = pvclock_vcpu_stolen_time.from_buffer_copy(vcpu.vm.memory, layout.steal_time(vcpu.id))
    return Record(raw.revision, raw.attributes, raw.stolen_time)


def register(vcpu: Arm64Vcpu) -> None:
    """Set the record's address, and let the guest query it, upon which KVM fills the record in."""
    base(vcpu).set_u64(layout.steal_time(vcpu.id))
    vcpu.guest.call_hypervisor(smccc.ARM_SMCCC_HV_PV_TIME_ST)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_attribute_exists_and_is_not_set(vcpu: Arm64Vcpu) -> None:
    """KVM_HAS_DEVICE_ATTR knows the address; it reads back as all ones."""
    base(vcpu).probe()

    assert base(vcpu).get_u64() == NOT_SET


def test_address_reads_back(vcpus: list[Arm64Vcpu]) -> None:
    """KVM_GET_DEVICE_ATTR returns the address that was set for this vCPU, not another's."""
    base(vcpus[0]).set_u64(layout.steal_time(0))

    assert [base(vcpu).get_u64() for vcpu in vcpus] == [layout.steal_time(0), NOT_SET]


@pytest.mark.parametrize("distance", [1, 8, 32, 63], ids="{}-bytes".format)
def test_unaligned_address_is_refused(vcpu: Arm64Vcpu, distance: int) -> None:
    """An address that is not a multiple of 64 gives EINVAL; none is set."""
    with refused(errno.EINVAL):
        base(vcpu).set_u64(layout.steal_time(0) + distance)

    assert base(vcpu).get_u64() == NOT_SET


def test_address_outside_of_memory_is_refused(vcpu: Arm64Vcpu) -> None:
    """An address outside of all memory gives EINVAL; none is set."""
    with refused(errno.EINVAL):
        base(vcpu).set_u64(OUTSIDE_OF_MEMORY)

    assert base(vcpu).get_u64() == NOT_SET


def test_address_is_set_once(vcpu: Arm64Vcpu) -> None:
    """A second address gives EEXIST, even if it is the same one; the first one stays."""
    base(vcpu).set_u64(layout.steal_time(0))

    for address in (layout.steal_time(0), layout.steal_time(1)):
        with refused(errno.EEXIST):
            base(vcpu).set_u64(address)

    assert base(vcpu).get_u64() == layout.steal_time(0)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_bad_pointer_is_refused(vcpu: Arm64Vcpu) -> None:
    """A value that cannot be read or written gives EFAULT; none is set."""
    with refused(errno.EFAULT):
        base(vcpu).set_from(BAD_ADDRESS)
    with refused(errno.EFAULT):
        base(vcpu).get_into(BAD_ADDRESS)

    assert base(vcpu).get_u64() == NOT_SET


@pytest.mark.promise(documented="Documentation/virt/kvm/arm/pvtime.rst, PV_TIME_FEATURES and PV_TIME_ST")
def test_guest_finds_its_record(vcpu: Arm64Vcpu) -> None:
    """PV_TIME_FEATURES succeeds for PV_TIME_ST, which returns the address; revision and attributes are 0."""
    base(vcpu).set_u64(layout.steal_time(0))

    offered = vcpu.guest.call_hypervisor(smccc.ARM_SMCCC_HV_PV_TIME_FEATURES, smccc.ARM_SMCCC_HV_PV_TIME_ST)
    found = vcpu.guest.call_hypervisor(smccc.ARM_SMCCC_HV_PV_TIME_ST)

    assert (offered.x[0], found.x[0]) == (smccc.SMCCC_RET_SUCCESS, layout.steal_time(0))
    assert (record(vcpu).revision, record(vcpu).attributes) == (0, 0)


@pytest.mark.promise(documented="Documentation/virt/kvm/arm/pvtime.rst, Stolen Time")
def test_record_is_written_alone(vcpu: Arm64Vcpu, run_delay: RunDelay) -> None:
    """Of the 64 bytes of the record all but stolen_time are 0, and KVM writes nothing around them."""
    start, length = layout.steal_time(vcpu.id), ctypes.sizeof(pvclock_vcpu_stolen_time)
    around = slice(start - length, start + 2 * length)
    vcpu.vm.memory[around] = FILLING * (3 * length)

    register(vcpu)
    run_delay.wait()
    vcpu.guest.read_cntvct()

    seen = bytes(vcpu.vm.memory[around])
    assert (seen[:length], seen[2 * length :]) == (FILLING * length, FILLING * length)
    stolen_time = pvclock_vcpu_stolen_time.stolen_time
    record = seen[length : 2 * length]
    assert record[: stolen_time.offset] == bytes(stolen_time.offset)
    assert not any(record[stolen_time.offset + stolen_time.size :])


@pytest.mark.promise(documented="Documentation/virt/kvm/arm/pvtime.rst, PV_TIME_FEATURES and PV_TIME_ST")
def test_guest_without_record_finds_none(vcpu: Arm64Vcpu) -> None:
    """Without an address both calls give NOT_SUPPORTED."""
    offered = vcpu.guest.call_hypervisor(smccc.ARM_SMCCC_HV_PV_TIME_FEATURES, smccc.ARM_SMCCC_HV_PV_TIME_ST)
    found = vcpu.guest.call_hypervisor(smccc.ARM_SMCCC_HV_PV_TIME_ST)

    assert (offered.x[0], found.x[0]) == (NOT_SUPPORTED, NOT_SUPPORTED)


@pytest.mark.promise(documented="Documentation/virt/kvm/arm/pvtime.rst, PV_TIME_FEATURES and PV_TIME_ST")
def test_record_is_offered_to_its_vcpu_alone(vcpus: list[Arm64Vcpu]) -> None:
    """Both calls answer the vCPU whose record has an address, and give another one NOT_SUPPORTED."""
    base(vcpus[0]).set_u64(layout.steal_time(0))

    calls = (
        (smccc.ARM_SMCCC_HV_PV_TIME_FEATURES, smccc.ARM_SMCCC_HV_PV_TIME_ST),
        (smccc.ARM_SMCCC_HV_PV_TIME_ST,),
    )
    answers = [[vcpu.guest.call_hypervisor(*call).x[0] for call in calls] for vcpu in vcpus]

    assert answers == [[smccc.SMCCC_RET_SUCCESS, layout.steal_time(0)], [NOT_SUPPORTED, NOT_SUPPORTED]]


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
def test_memory_stays_until_the_guest_calls(vcpu: Arm64Vcpu) -> None:
    """What lies at the record's address is as it was when that is set, and is cleared at the guest's call."""
    place = slice(layout.steal_time(0), layout.steal_time(0) + ctypes.sizeof(pvclock_vcpu_stolen_time))
    filled = FILLING * (place.stop - place.start)
    vcpu.vm.memory[place] = filled

    base(vcpu).set_u64(place.start)
    before = bytes(vcpu.vm.memory[place])
    vcpu.guest.call_hypervisor(smccc.ARM_SMCCC_HV_PV_TIME_ST)

    assert before == filled
    assert (record(vcpu).revision, record(vcpu).attributes) == (0, 0)


@pytest.mark.promise(documented="Documentation/virt/kvm/arm/pvtime.rst, Stolen Time")
def test_stolen_time_is_what_the_thread_waited(vcpu: Arm64Vcpu, run_delay: RunDelay) -> None:
    """Between two entries stolen time grows by what the vCPU's thread waited for its CPU."""
    register(vcpu)
    outer_before = run_delay.so_far_ns()
    vcpu.guest.read_cntvct()
    before, inner_before = record(vcpu), run_delay.so_far_ns()

    run_delay.wait()

    inner_after = run_delay.so_far_ns()
    vcpu.guest.read_cntvct()
    after, outer_after = record(vcpu), run_delay.so_far_ns()
    waited = Window(inner_after - inner_before, outer_after - outer_before)
    assert after.stolen_ns - before.stolen_ns in waited
