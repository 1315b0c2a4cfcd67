# SPDX-License-Identifier: GPL-2.0-only
"""KVM_VCPU_TSC_OFFSET: guest TSC = host TSC (scaled) + offset, for each vCPU separately.

Source: Documentation/virt/kvm/devices/vcpu.rst, 4; arch/x86/kvm/x86.c: kvm_arch_tsc_set_attr().
"""

from __future__ import annotations

import pytest

from fixtures.counters import NSEC_PER_MSEC, Window, bracket
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.values import MASTER_CLOCK
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86 import msr_index
from kvmtests.tables import NONZERO_OFFSETS, OFFSETS

pytestmark = pytest.mark.promise(documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_OFFSET")


@pytest.fixture(autouse=True)
def attribute(vcpu: X86Vcpu) -> None:
    """KVM offers the attribute."""
    if not vcpu.tsc_offset_attribute.exists():
        raise CapabilityMissing("KVM_VCPU_TSC_OFFSET")


@pytest.mark.usefixtures("stable_tsc", "settable_tsc")
@pytest.mark.parametrize("tsc_offset", OFFSETS)
def test_offset_reads_back(vcpu: X86Vcpu, tsc_offset: int) -> None:
    """KVM_GET_DEVICE_ATTR returns the 64 bits that were set."""
    vcpu.tsc_offset = tsc_offset

    assert vcpu.tsc_offset == tsc_offset


@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize("tsc_offset", OFFSETS)
def test_guest_tsc_is_host_tsc_plus_offset(vcpu: X86Vcpu, tsc_offset: int) -> None:
    """The guest reads host_tsc + tsc_offset, modulo 2**64."""
    vcpu.tsc_offset = tsc_offset

    reading = vcpu.guest.read_tsc()

    assert reading.value in reading.window.shifted(tsc_offset)


@pytest.mark.usefixtures("stable_tsc", "settable_tsc")
@pytest.mark.parametrize("tsc_offset", NONZERO_OFFSETS)
def test_host_reads_the_guests_tsc(vcpu: X86Vcpu, tsc_offset: int) -> None:
    """KVM_GET_MSRS of IA32_TSC gives host_tsc + tsc_offset, modulo 2**64."""
    vcpu.tsc_offset = tsc_offset

    before, seen, after = bracket(vcpu.vm.time.counter, lambda: vcpu.get_msr(msr_index.MSR_IA32_TSC))

    assert seen in Window(before, after).shifted(tsc_offset)


@pytest.mark.usefixtures("stable_tsc")
def test_offset_belongs_to_one_vcpu(vcpus: list[X86Vcpu]) -> None:
    """Setting the offset of one vCPU leaves the other's alone."""
    first, other = vcpus
    other_offset = other.tsc_offset

    first.tsc_offset = 12345

    assert other.tsc_offset == other_offset
    reading = other.guest.read_tsc()
    assert reading.value in reading.window.shifted(other_offset)


@pytest.mark.usefixtures("stable_tsc", "settable_tsc")
def test_vcpus_keep_different_offsets(vcpus: list[X86Vcpu]) -> None:
    """Two vCPUs keep offsets that differ by one tick: KVM does not make them equal."""
    first, second = vcpus

    first.tsc_offset, second.tsc_offset = 1000, 1001

    assert (first.tsc_offset, second.tsc_offset) == (1000, 1001)


@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize("tsc_offset", NONZERO_OFFSETS)
def test_same_offset_again_later_changes_nothing(vcpu: X86Vcpu, tsc_offset: int) -> None:
    """Setting the same offset again, some time later, keeps the guest on the same line."""
    vcpu.tsc_offset = tsc_offset
    vcpu.guest.read_tsc()
    vcpu.vm.time.sleep_ns(5 * NSEC_PER_MSEC)

    vcpu.tsc_offset = tsc_offset

    reading = vcpu.guest.read_tsc()
    assert reading.value in reading.window.shifted(tsc_offset)


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.usefixtures("tsc_clocksource")
def test_same_offset_again_keeps_the_master_clock(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Setting the same offset again starts no new TSC generation: the master clock stays on."""
    vcpu.tsc_offset = 12345
    vcpu.guest.read_tsc()

    vcpu.tsc_offset = 12345
    vcpu.guest.read_tsc()

    assert vm.clock().flags == MASTER_CLOCK


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.before("master_clock_with_offsets")
@pytest.mark.usefixtures("tsc_clocksource")
def test_different_offsets_turn_the_master_clock_off(vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """The master clock goes off once the vCPU with a new offset has run, and on again once both agree."""
    first, second = vcpus
    for vcpu in vcpus:
        vcpu.tsc_offset = 1000
        vcpu.guest.read_tsc()
    assert vm.clock().flags == MASTER_CLOCK

    first.tsc_offset = 5000

    assert vm.clock().flags == MASTER_CLOCK
    first.guest.read_tsc()
    assert vm.clock().flags == 0
    second.tsc_offset = 5000
    second.guest.read_tsc()
    assert vm.clock().flags == MASTER_CLOCK


@pytest.mark.usefixtures("settable_tsc")
def test_consecutive_readings_stay_on_one_line(vcpu: X86Vcpu) -> None:
    """Consecutive guest readings never go back, and each is host_tsc + tsc_offset."""
    vcpu.tsc_offset = 180 * 10**9

    readings = [vcpu.guest.read_tsc() for _ in range(100)]

    values = [reading.value for reading in readings]
    assert values == sorted(values)
    for reading in readings:
        assert reading.value in reading.window.shifted(180 * 10**9)
