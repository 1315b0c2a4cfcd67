# SPDX-License-Identifier: GPL-2.0-only
"""What a guest's CPUID says of its processor, for several subjects."""

from __future__ import annotations

import ctypes

from fixtures.kvm.errors import CapabilityMissing, KvmError
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86.cpuid import LEAF_1_ECX_XSAVE, LEAF_80000001_EDX_RDTSCP

INTEL = b"GenuineIntel"
AMD = b"AuthenticAMD"
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


def components(vm: X86Vm) -> int:
    """Return the mask of XSAVE's components that guests may have, attribute 0 of the system descriptor.

    `CapabilityMissing` where KVM has no such attributes. KVM_X86_XCOMP_GUEST_SUPP in arch/x86/kvm/x86.c.
    """
    value = ctypes.c_uint64()
    attr = uapi.kvm_device_attr(group=0, attr=0, addr=ctypes.addressof(value))
    try:
        vm.system.pass_structure(uapi.KVM_GET_DEVICE_ATTR, attr)
    except KvmError:
        raise CapabilityMissing("KVM_CAP_SYS_ATTRIBUTES") from None
    return value.value


def has_xsave(vm: X86Vm) -> bool:
    """Return whether KVM lets guests have XSAVE, which its host must have."""
    [ecx] = [entry.ecx for entry in vm.cpuid.entries[: vm.cpuid.nent] if entry.function == 1]
    return bool(ecx & LEAF_1_ECX_XSAVE)
