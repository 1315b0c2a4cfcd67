# SPDX-License-Identifier: GPL-2.0-only
"""KVM_VCPU_TSC_SCALE, KVM_GET_CLOCK_GUEST and KVM_SET_CLOCK_GUEST, which were posted and are in no release.

Source: mails on kvm@vger.kernel.org, 2024 to 2026; their names and numbers are in fixtures/uapi/series.py.
"""

from __future__ import annotations

import ctypes

from fixtures.counters import signed
from fixtures.kvm.attribute import Attribute
from fixtures.kvm.errors import CapabilityMissing, KvmError
from fixtures.kvm.values import Pvclock
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.migration.x86.scaled import Scaling
from fixtures.uapi import kvm as uapi
from fixtures.uapi import series
from fixtures.uapi.x86 import kvm as kvm_x86
from fixtures.uapi.x86.pvclock import pvclock_vcpu_time_info

CLOCK_GUEST = {
    series.KVM_GET_CLOCK_GUEST_2024: series.KVM_SET_CLOCK_GUEST_2024,
    series.KVM_GET_CLOCK_GUEST_2026: series.KVM_SET_CLOCK_GUEST_2026,
}
"""Each KVM_GET_CLOCK_GUEST that is probed, with its KVM_SET_CLOCK_GUEST. A setter is never tried on its
own, because other ioctls were given its number later."""

Guest = tuple[int, int]
"""The numbers of KVM_GET_CLOCK_GUEST and KVM_SET_CLOCK_GUEST."""


def require_scale(vcpu: X86Vcpu) -> Attribute:
    """Return KVM_VCPU_TSC_SCALE; `CapabilityMissing` without it."""
    attribute = vcpu.attribute(kvm_x86.KVM_VCPU_TSC_CTRL, series.KVM_VCPU_TSC_SCALE, "KVM_VCPU_TSC_SCALE")
    if not attribute.exists():
        raise CapabilityMissing("KVM_VCPU_TSC_SCALE")
    return attribute


def scale_of(attribute: Attribute) -> Scaling:
    """Return the multiplier that KVM_VCPU_TSC_SCALE reports."""
    scale = series.kvm_vcpu_tsc_scale()
    attribute.get_into(ctypes.addressof(scale))
    return Scaling(scale.tsc_ratio, scale.tsc_frac_bits)


def set_khz(vcpu: X86Vcpu, khz: int) -> None:
    """Call KVM_SET_TSC_KHZ; `CapabilityMissing` if that needs scaling and there is none."""
    if khz:
        vcpu.require_capability(uapi.KVM_CAP_TSC_CONTROL, "KVM_CAP_TSC_CONTROL")
        vcpu.tsc_khz = khz


def clock_guest_of(vcpu: X86Vcpu) -> Guest:
    """Return the numbers that KVM_GET_CLOCK_GUEST and its setter have here; `CapabilityMissing` without.

    *vcpu* has run, and the master clock is on.
    """
    for getter, setter in CLOCK_GUEST.items():
        try:
            get_clock_guest(vcpu, getter)
        except KvmError:
            continue
        return getter, setter
    raise CapabilityMissing("KVM_GET_CLOCK_GUEST")


def get_clock_guest(vcpu: X86Vcpu, getter: int) -> Pvclock:
    """Return what KVM_GET_CLOCK_GUEST does: kvmclock as a function of the guest's TSC."""
    record = pvclock_vcpu_time_info()
    vcpu.handle.pass_structure(getter, record, "")
    return Pvclock.of(record)


def set_clock_guest(vcpu: X86Vcpu, setter: int, clock: Pvclock) -> None:
    """Set kvmclock to a line over the guest's TSC, by KVM_SET_CLOCK_GUEST."""
    record = pvclock_vcpu_time_info(
        version=clock.version,
        tsc_timestamp=clock.tsc_timestamp,
        system_time=clock.system_time_ns,
        tsc_to_system_mul=clock.tsc_to_system_mul,
        tsc_shift=clock.tsc_shift,
        flags=clock.flags,
    )
    vcpu.handle.pass_structure(setter, record)


def distance_ns(vcpu: X86Vcpu, line: Pvclock) -> int:
    """Return how far the guest's kvmclock is ahead of *line*, at the TSC of its own reading."""
    reading = vcpu.guest.read_kvmclock()
    return signed(reading.kvmclock_ns - line.kvmclock_ns(reading.tsc))
