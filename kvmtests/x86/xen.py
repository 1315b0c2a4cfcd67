# SPDX-License-Identifier: GPL-2.0-only
"""Guests of Xen's interface, for several subjects: attributes of VM and vCPU, and where records lie."""

from __future__ import annotations

from fixtures.guests import layout
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.values import Pvclock
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import kvm_xen as xen
from fixtures.uapi.x86.xen import compat_shared_info, shared_info, vcpu_info

HYPERCALL_MSR = 0x40000200
SHARED_INFO = layout.MEMORY_SIZE - 3 * layout.PAGE_SIZE  # the end of memory, which few samples reach
VCPU_INFO = SHARED_INFO + layout.PAGE_SIZE
TIME_INFO = VCPU_INFO + layout.PAGE_SIZE
PLACES = {
    xen.KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO: (VCPU_INFO, VCPU_INFO + vcpu_info.time.offset),
    xen.KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO: (TIME_INFO, TIME_INFO),
}
"""The address that is registered, and where the pvclock record then lies."""


def require_xen(vm: X86Vm) -> int:
    """Configure *vm* for Xen; return the flags of what KVM offers. `CapabilityMissing` without pages."""
    flags = vm.require(uapi.KVM_CAP_XEN_HVM)
    if not flags & xen.KVM_XEN_HVM_CONFIG_SHARED_INFO:
        raise CapabilityMissing("KVM_XEN_HVM_CONFIG_SHARED_INFO in KVM_CAP_XEN_HVM")
    configure(vm, 0)
    return flags


def configure(vm: X86Vm, flags: int) -> None:
    """Configure *vm* for Xen, with hypercalls answered in the kernel, and *flags*: KVM_XEN_HVM_CONFIG."""
    config = xen.kvm_xen_hvm_config(flags=xen.KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL | flags, msr=HYPERCALL_MSR)
    vm.handle.pass_structure(xen.KVM_XEN_HVM_CONFIG, config)


def set_vm(vm: X86Vm, kind: int, value: int) -> None:
    """Set the VM's attribute *kind* by KVM_XEN_HVM_SET_ATTR."""
    attr = xen.kvm_xen_hvm_attr(type=kind)
    attr.u.gfn = value
    vm.handle.pass_structure(xen.KVM_XEN_HVM_SET_ATTR, attr)


def get_vm(vm: X86Vm, kind: int) -> int:
    """Return the VM's attribute *kind*, as a number of 64 bits, by KVM_XEN_HVM_GET_ATTR."""
    attr = xen.kvm_xen_hvm_attr(type=kind)
    vm.handle.pass_structure(xen.KVM_XEN_HVM_GET_ATTR, attr)
    return int(attr.u.gfn)


def set_vcpu(vcpu: X86Vcpu, kind: int, gpa: int) -> None:
    """Set the vCPU's attribute *kind* by KVM_XEN_VCPU_SET_ATTR."""
    attr = xen.kvm_xen_vcpu_attr(type=kind)
    attr.u.gpa = gpa
    vcpu.handle.pass_structure(xen.KVM_XEN_VCPU_SET_ATTR, attr)


def get_vcpu(vcpu: X86Vcpu, kind: int) -> int:
    """Return the vCPU's attribute *kind* by KVM_XEN_VCPU_GET_ATTR."""
    attr = xen.kvm_xen_vcpu_attr(type=kind)
    vcpu.handle.pass_structure(xen.KVM_XEN_VCPU_GET_ATTR, attr)
    return int(attr.u.gpa)


def share(vm: X86Vm, long_mode: int = 1) -> None:
    """Make the guest a 64-bit or a 32-bit one, and give it its shared page."""
    set_vm(vm, xen.KVM_XEN_ATTR_TYPE_LONG_MODE, long_mode)
    set_vm(vm, xen.KVM_XEN_ATTR_TYPE_SHARED_INFO, SHARED_INFO // layout.PAGE_SIZE)


def shared_page(vm: X86Vm, long_mode: int) -> shared_info | compat_shared_info:
    """Return the shared page as it lies in memory."""
    structure = shared_info if long_mode else compat_shared_info
    return structure.from_buffer_copy(vm.memory, SHARED_INFO)


def pvclock_at(vcpu: X86Vcpu, kind: int) -> Pvclock:
    """Return the Xen guest's pvclock record as it lies in memory."""
    return Pvclock.at(vcpu.vm.memory, PLACES[kind][1])


def enter(vcpu: X86Vcpu, kind: int) -> Pvclock:
    """Register the Xen guest's pvclock record, enter the guest, and return what KVM wrote."""
    set_vcpu(vcpu, kind, PLACES[kind][0])
    vcpu.guest.read_tsc()
    return pvclock_at(vcpu, kind)
