# SPDX-License-Identifier: GPL-2.0-only
"""What a guest's CPUID says of its processor, for several subjects."""

from __future__ import annotations

from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.uapi.x86.cpuid import LEAF_80000001_EDX_RDTSCP

INTEL = b"GenuineIntel"
UNDEFINED_OPCODE = 6  # the exception #UD


def require_rdtscp(vcpu: X86Vcpu) -> None:
    """Raise `CapabilityMissing` unless the guest's CPUID announces RDTSCP."""
    if not vcpu.guest.cpuid(0x80000001)[3] & LEAF_80000001_EDX_RDTSCP:
        raise CapabilityMissing("X86_FEATURE_RDTSCP")


def require_intel(vcpu: X86Vcpu) -> None:
    """Raise `CapabilityMissing` unless the guest's CPUID names Intel."""
    if vendor_of(vcpu) != INTEL:
        raise CapabilityMissing("GenuineIntel in the guest's CPUID")


def vendor_of(vcpu: X86Vcpu) -> bytes:
    """Return the CPU's vendor as the guest's CPUID leaf 0 spells it."""
    _, ebx, ecx, edx = vcpu.guest.cpuid(0)
    return b"".join(word.to_bytes(4, "little") for word in (ebx, edx, ecx))
