# SPDX-License-Identifier: GPL-2.0-only
"""Names that the kernel's headers have for numbers in structures, and for attributes of devices and vCPUs."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

from fixtures.architectures import ARM64, X86_64
from fixtures.uapi import kvm
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c.c_literals import literal
from tools.export_c.events import CallEvent, Event

_VALUES: Mapping[tuple[type[ctypes.Structure], str], Mapping[int, str]] = {
    (kvm.kvm_create_device, "type"): {
        kvm.KVM_DEV_TYPE_ARM_VGIC_V2: "KVM_DEV_TYPE_ARM_VGIC_V2",
        kvm.KVM_DEV_TYPE_ARM_VGIC_V3: "KVM_DEV_TYPE_ARM_VGIC_V3",
    },
}

_FLAGS: Mapping[tuple[type[ctypes.Structure], str], Mapping[int, str]] = {
    (kvm.kvm_clock_data, "flags"): {
        kvm.KVM_CLOCK_TSC_STABLE: "KVM_CLOCK_TSC_STABLE",
        kvm.KVM_CLOCK_REALTIME: "KVM_CLOCK_REALTIME",
        kvm.KVM_CLOCK_HOST_TSC: "KVM_CLOCK_HOST_TSC",
    },
    (kvm.kvm_userspace_memory_region, "flags"): {
        kvm.KVM_MEM_LOG_DIRTY_PAGES: "KVM_MEM_LOG_DIRTY_PAGES",
        kvm.KVM_MEM_READONLY: "KVM_MEM_READONLY",
    },
    (kvm_arm64.kvm_vcpu_init, "features[0]"): {
        1 << kvm_arm64.KVM_ARM_VCPU_PSCI_0_2: "1 << KVM_ARM_VCPU_PSCI_0_2",
    },
}

_VGIC = {
    kvm_arm64.KVM_DEV_ARM_VGIC_GRP_ADDR: "KVM_DEV_ARM_VGIC_GRP_ADDR",
    kvm_arm64.KVM_DEV_ARM_VGIC_GRP_DIST_REGS: "KVM_DEV_ARM_VGIC_GRP_DIST_REGS",
    kvm_arm64.KVM_DEV_ARM_VGIC_GRP_NR_IRQS: "KVM_DEV_ARM_VGIC_GRP_NR_IRQS",
    kvm_arm64.KVM_DEV_ARM_VGIC_GRP_CTRL: "KVM_DEV_ARM_VGIC_GRP_CTRL",
    kvm_arm64.KVM_DEV_ARM_VGIC_GRP_REDIST_REGS: "KVM_DEV_ARM_VGIC_GRP_REDIST_REGS",
    kvm_arm64.KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS: "KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS",
    kvm_arm64.KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO: "KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO",
}
_ADDR, _CTRL = kvm_arm64.KVM_DEV_ARM_VGIC_GRP_ADDR, kvm_arm64.KVM_DEV_ARM_VGIC_GRP_CTRL
_VGIC_ATTRIBUTES = {
    (_ADDR, kvm_arm64.KVM_VGIC_V3_ADDR_TYPE_DIST): "KVM_VGIC_V3_ADDR_TYPE_DIST",
    (_ADDR, kvm_arm64.KVM_VGIC_V3_ADDR_TYPE_REDIST): "KVM_VGIC_V3_ADDR_TYPE_REDIST",
    (_CTRL, kvm_arm64.KVM_DEV_ARM_VGIC_CTRL_INIT): "KVM_DEV_ARM_VGIC_CTRL_INIT",
}

_TIMER, _PVTIME = kvm_arm64.KVM_ARM_VCPU_TIMER_CTRL, kvm_arm64.KVM_ARM_VCPU_PVTIME_CTRL
_OFFSET = (kvm_x86.KVM_VCPU_TSC_CTRL, kvm_x86.KVM_VCPU_TSC_OFFSET)
BY_ARCHITECTURE = {
    X86_64.name: {_OFFSET: ("KVM_VCPU_TSC_CTRL", "KVM_VCPU_TSC_OFFSET")},
    ARM64.name: {
        (_TIMER, kvm_arm64.KVM_ARM_VCPU_TIMER_IRQ_VTIMER): (
            "KVM_ARM_VCPU_TIMER_CTRL",
            "KVM_ARM_VCPU_TIMER_IRQ_VTIMER",
        ),
        (_TIMER, kvm_arm64.KVM_ARM_VCPU_TIMER_IRQ_PTIMER): (
            "KVM_ARM_VCPU_TIMER_CTRL",
            "KVM_ARM_VCPU_TIMER_IRQ_PTIMER",
        ),
        (_PVTIME, kvm_arm64.KVM_ARM_VCPU_PVTIME_IPA): ("KVM_ARM_VCPU_PVTIME_CTRL", "KVM_ARM_VCPU_PVTIME_IPA"),
    },
}
"""Of vCPUs; what a series and upstream number alike is not among them."""


def value_name(layout: type[ctypes.Structure] | None, member: str, value: int) -> str | None:
    """Return what headers call *value* in *member* of *layout*; None where they have no name for it."""
    if layout is None:
        return None
    known = _VALUES.get((layout, member), {}).get(value)
    flags = _FLAGS.get((layout, member), {})
    found = [name for bit, name in flags.items() if value & bit]
    if known is None and found and not value & ~sum(flags):
        return " | ".join(found)
    return known


def attribute_names(owner: Event | None, arch: str, group: int, number: int) -> tuple[str, str]:
    """Return *group* and *number* of an attribute of *owner* as C, by the names that headers have."""
    request = owner.request if isinstance(owner, CallEvent) else 0
    if request == kvm.KVM_CREATE_VCPU and (group, number) in BY_ARCHITECTURE[arch]:
        return BY_ARCHITECTURE[arch][group, number]
    if request == kvm.KVM_CREATE_DEVICE and group in _VGIC:
        return _VGIC[group], _VGIC_ATTRIBUTES.get((group, number), hex(number) if number else "0")
    return literal(group), literal(number)
