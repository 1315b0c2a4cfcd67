# SPDX-License-Identifier: GPL-2.0-only
"""Interfaces that were posted and are in no released kernel: probed, and skipped by name where absent.

Source: mails on kvm@vger.kernel.org, 2021 to 2026; their names and numbers are in
fixtures/uapi/series.py.
"""

from __future__ import annotations

import ctypes
import errno

import pytest

from fixtures.counters import Window, signed, wrap
from fixtures.kvm.errors import CapabilityMissing, KvmError
from fixtures.kvm.expect import refused
from fixtures.kvm.values import Pvclock
from fixtures.kvm.x86 import X86Vcpu, X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi import kvm_x86, series
from fixtures.uapi.pvclock import pvclock_vcpu_time_info

CLOCK_GUEST = {
    series.KVM_GET_CLOCK_GUEST_2024: series.KVM_SET_CLOCK_GUEST_2024,
    series.KVM_GET_CLOCK_GUEST_2026: series.KVM_SET_CLOCK_GUEST_2026,
}
"""KVM_SET_CLOCK_GUEST beside the KVM_GET_CLOCK_GUEST that is asked for: the setter is never tried alone,
since its number came to mean other things."""


@pytest.fixture
def tsc_scale(vcpu: X86Vcpu) -> series.kvm_vcpu_tsc_scale:
    """The value of KVM_VCPU_TSC_SCALE."""
    attribute = vcpu.attribute(kvm_x86.KVM_VCPU_TSC_CTRL, series.KVM_VCPU_TSC_SCALE, "KVM_VCPU_TSC_SCALE")
    if not attribute.exists():
        raise CapabilityMissing("KVM_VCPU_TSC_SCALE")
    scale = series.kvm_vcpu_tsc_scale()
    attribute.get_into(ctypes.addressof(scale))
    return scale


@pytest.fixture
def clock_guest(vm: X86Vm, vcpu: X86Vcpu) -> tuple[int, int]:
    """The numbers of KVM_GET_CLOCK_GUEST and KVM_SET_CLOCK_GUEST on this kernel; kvmclock is registered."""
    vcpu.guest.enable_kvmclock()
    vm.set_clock(0)
    vcpu.guest.read_kvmclock()
    for getter, setter in CLOCK_GUEST.items():
        try:
            get_clock_guest(vcpu, getter)
        except KvmError:
            continue
        return getter, setter
    raise CapabilityMissing("KVM_GET_CLOCK_GUEST")


def get_clock_guest(vcpu: X86Vcpu, getter: int) -> Pvclock:
    """KVM_GET_CLOCK_GUEST: kvmclock as a function of the guest's TSC."""
    page = pvclock_vcpu_time_info()
    vcpu.handle.pass_structure(getter, page, "")
    return Pvclock(
        page.version,
        page.tsc_timestamp,
        page.system_time,
        page.tsc_to_system_mul,
        page.tsc_shift,
        page.flags,
    )


def set_clock_guest(vcpu: X86Vcpu, setter: int, clock: Pvclock) -> None:
    """KVM_SET_CLOCK_GUEST."""
    page = pvclock_vcpu_time_info(
        version=clock.version,
        tsc_timestamp=clock.tsc_timestamp,
        system_time=clock.system_time_ns,
        tsc_to_system_mul=clock.tsc_to_system_mul,
        tsc_shift=clock.tsc_shift,
        flags=clock.flags,
    )
    vcpu.handle.pass_structure(setter, page)


def test_scale_is_the_line_of_the_tsc(vcpu: X86Vcpu, tsc_scale: series.kvm_vcpu_tsc_scale) -> None:
    """guest TSC = (host TSC * tsc_ratio >> tsc_frac_bits) + offset."""
    reading = vcpu.guest.read_tsc()

    scaled = [
        tick * tsc_scale.tsc_ratio >> tsc_scale.tsc_frac_bits for tick in (reading.before, reading.after)
    ]
    assert reading.value in Window(wrap(scaled[0]), wrap(scaled[1])).shifted(vcpu.tsc_offset)


@pytest.mark.usefixtures("tsc_scale")
def test_scale_cannot_be_set(vcpu: X86Vcpu) -> None:
    """KVM_VCPU_TSC_SCALE is read-only: setting it fails and leaves the frequency alone."""
    khz = vcpu.tsc_khz

    with pytest.raises(KvmError):
        vcpu.attribute(kvm_x86.KVM_VCPU_TSC_CTRL, series.KVM_VCPU_TSC_SCALE, "KVM_VCPU_TSC_SCALE").set_u64(1)

    assert vcpu.tsc_khz == khz


@pytest.mark.usefixtures("tsc_clocksource")
def test_clock_guest_is_what_the_guest_reads(vcpu: X86Vcpu, clock_guest: tuple[int, int]) -> None:
    """KVM_GET_CLOCK_GUEST evaluated at the guest's TSC is the guest's kvmclock, within 1 ns."""
    getter, _ = clock_guest

    reading = vcpu.guest.read_kvmclock()

    distance = signed(get_clock_guest(vcpu, getter).kvmclock_ns(reading.tsc) - reading.kvmclock_ns)
    assert abs(distance) <= 1


@pytest.mark.usefixtures("tsc_clocksource")
def test_clock_guest_survives_a_new_snapshot(vm: X86Vm, vcpu: X86Vcpu, clock_guest: tuple[int, int]) -> None:
    """kvmclock saved by KVM_GET_CLOCK_GUEST and set again is the same at any guest TSC, within 1 ns."""
    getter, setter = clock_guest
    saved = get_clock_guest(vcpu, getter)
    vm.set_clock(10**12)

    set_clock_guest(vcpu, setter, saved)

    reading = vcpu.guest.read_kvmclock()
    assert abs(signed(saved.kvmclock_ns(reading.tsc) - reading.kvmclock_ns)) <= 1


@pytest.mark.parametrize(
    ("request_number", "structure"),
    [
        pytest.param(
            series.KVM_GET_SYSTEM_COUNTER_STATE,
            series.kvm_system_counter_state_x86,
            id="get-system-counter-state",
        ),
        pytest.param(
            series.KVM_SET_SYSTEM_COUNTER_STATE,
            series.kvm_system_counter_state_x86,
            id="set-system-counter-state",
        ),
    ],
)
def test_first_version_of_the_series_is_unknown(
    vcpu: X86Vcpu, request_number: int, structure: type[ctypes.Structure]
) -> None:
    """The ioctls of the series' first version were never merged: EINVAL, and the offset stays."""
    before = vcpu.tsc_offset

    with refused(errno.EINVAL):
        vcpu.handle.pass_structure(request_number, structure())

    assert vcpu.tsc_offset == before


def test_tsc_attribute_is_not_the_system_descriptors(vm: X86Vm) -> None:
    """Group 0, attribute 0 on the system descriptor is XSAVE's guest mask: KVM writes it as such, if at all.

    Source: arch/x86/kvm/x86.c: kvm_x86_dev_get_attr(), KVM_X86_XCOMP_GUEST_SUPP.
    """
    value = ctypes.c_uint64()
    attr = uapi.kvm_device_attr(group=0, attr=0, addr=ctypes.addressof(value))
    try:
        vm.system.pass_structure(uapi.KVM_GET_DEVICE_ATTR, attr)
    except KvmError:
        raise CapabilityMissing("KVM_CAP_SYS_ATTRIBUTES") from None

    # Bits 0 and 1, x87 and SSE, are in every mask of supported state components.
    assert value.value & 3 == 3
