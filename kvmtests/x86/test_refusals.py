# SPDX-License-Identifier: GPL-2.0-only
"""A call that KVM refuses changes nothing: clock, flags, frequencies, offsets and MSRs stay.

Source: Documentation/virt/kvm/api.rst; virt/kvm/kvm_main.c; arch/x86/kvm/x86.c.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from fixtures.counters import NSEC_PER_SEC
from fixtures.guests import layout
from fixtures.kvm.expect import refused
from fixtures.kvm.handle import BAD_ADDRESS
from fixtures.kvm.memory_slot import MemorySlot
from fixtures.kvm.spans import spanned
from fixtures.kvm.values import ClockFlags, Pvclock
from fixtures.kvm.x86.guest import StealTime
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.ioctl import IO, IOR, IOW, KVMIO
from fixtures.uapi.x86 import kvm as kvm_x86
from fixtures.uapi.x86 import kvm_xen as xen
from fixtures.uapi.x86.kvm_para import MSR_KVM_STEAL_TIME, MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_WALL_CLOCK_NEW
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC_ADJUST, MSR_TSC_AUX
from kvmtests.x86.clocks import MARGIN_NS, check_tsc_continues, enter_all, flags_after_entry
from kvmtests.x86.processors import require_intel, require_rdtscp
from kvmtests.x86.xen import (
    PLACES,
    VCPU_INFO,
    configure,
    get_vcpu,
    get_vm,
    pvclock_at,
    require_xen,
    set_vcpu,
    set_vm,
)

pytestmark = [pytest.mark.promise(de_facto="Linux 6.1 to 7.3"), pytest.mark.thorough]

STORED_MSRS = (MSR_IA32_TSC_ADJUST, MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_STEAL_TIME)
NO_MEMORY = 0x7000_0000
SLOT = 1 << 30  # beyond what the guest's page tables map
UNKNOWN_TYPE = 0x77  # of an attribute of Xen's
NO_MSR = 0x4B564DFF  # in KVM's range, and not assigned
VcpuCall = Callable[[X86Vm, list[X86Vcpu]], object]


@dataclass(frozen=True, slots=True)
class ReadableState:
    """What user space can read of a VM, except for what changes by itself."""

    flags: ClockFlags
    khz: tuple[int, ...]  # of the VM and of each vCPU
    tsc_offsets: tuple[int, ...]
    msrs: tuple[tuple[int, ...], ...]
    steal_times: tuple[StealTime, ...]


def state_of(vm: X86Vm, vcpus: list[X86Vcpu]) -> ReadableState:
    """Return the state of *vm* and *vcpus* as user space reads it now."""
    return ReadableState(
        flags=vm.clock().flags,
        khz=(vm.tsc_khz, *(vcpu.tsc_khz for vcpu in vcpus)),
        tsc_offsets=tuple(vcpu.tsc_offset for vcpu in vcpus),
        msrs=tuple(tuple(vcpu.get_msr(msr) for msr in STORED_MSRS) for vcpu in vcpus),
        steal_times=tuple(vcpu.guest.steal_time() for vcpu in vcpus),
    )


def furnish(vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """Give everything a value of its own, so that a change would show."""
    vm.set_clock(1000 * NSEC_PER_SEC)
    for number, vcpu in enumerate(vcpus):
        vcpu.tsc_offset = 2**40
        vcpu.set_msr(MSR_IA32_TSC_ADJUST, 77 + number)
        vcpu.set_msr(MSR_KVM_STEAL_TIME, layout.steal_time(vcpu.id))
        vcpu.guest.enable_kvmclock()
    vcpus[0].guest.write_wall_clock()
    enter_all(vcpus)


def refuse(name: str, number: int, call: VcpuCall) -> object:
    """Return one row of the table: a call, and the errno with which KVM must refuse it."""
    return pytest.param(number, call, id=name)


def xen_attribute(vm: X86Vm) -> None:
    """Read a Xen attribute of a type that no KVM knows; `CapabilityMissing` without KVM_CAP_XEN_HVM."""
    require_xen(vm)
    get_vm(vm, UNKNOWN_TYPE)


def set_xen_attribute(vm: X86Vm, kind: int, value: int) -> None:
    """Set a Xen attribute of the VM."""
    require_xen(vm)
    set_vm(vm, kind, value)


def xen_page(vm: X86Vm) -> None:
    """Give a Xen guest a shared page where there is no memory."""
    set_xen_attribute(vm, xen.KVM_XEN_ATTR_TYPE_SHARED_INFO, NO_MEMORY // layout.PAGE_SIZE)


def xen_flag(vm: X86Vm) -> None:
    """Configure the VM for Xen with a flag that no KVM knows."""
    require_xen(vm)
    configure(vm, 1 << 31)


def enable_synic(vcpu: X86Vcpu) -> None:
    """Enable Hyper-V's interrupt controller on a vCPU without an in-kernel APIC."""
    vcpu.vm.require(uapi.KVM_CAP_HYPERV_SYNIC2)
    vcpu.enable_cap(uapi.KVM_CAP_HYPERV_SYNIC2)


def wide_tsc_aux(vcpu: X86Vcpu) -> None:
    """Write a TSC_AUX of more than 32 bits to a vCPU of Intel's."""
    require_rdtscp(vcpu)
    require_intel(vcpu)
    vcpu.set_msr(MSR_TSC_AUX, 2**32)


def make_read_only(vm: X86Vm) -> None:
    """Make a slot that exists read-only."""
    slot = MemorySlot(vm, 9, SLOT, 1, 0)
    slot.insert(uapi.KVM_MEM_READONLY)


def read_log(vm: X86Vm) -> None:
    """Read the log of a slot whose writes KVM does not log."""
    MemorySlot(vm, 9, SLOT, 1, 0).take_log()


SET_CLOCK_OTHER_SIZE = IOW(KVMIO, 0x7B, kvm_x86.kvm_regs)  # KVM_SET_CLOCK's number, another size

CALLS = [
    refuse("set-clock-unknown-flag", errno.EINVAL, lambda vm, _: vm.set_clock(1, flags=1)),
    refuse("set-clock-all-flags", errno.EINVAL, lambda vm, _: vm.set_clock(1, flags=2**32 - 1)),
    refuse(
        "set-clock-unknown-flag-with-realtime",
        errno.EINVAL,
        lambda vm, _: vm.set_clock(1, flags=1 << 4, realtime_ns=1),
    ),
    refuse("set-clock-bad-pointer", errno.EFAULT, lambda vm, _: vm.handle.call(uapi.KVM_SET_CLOCK, 8)),
    refuse(
        "get-clock-bad-pointer", errno.EFAULT, lambda vm, _: vm.handle.call(uapi.KVM_GET_CLOCK, BAD_ADDRESS)
    ),
    refuse("set-clock-other-size", errno.ENOTTY, lambda vm, _: vm.handle.call(SET_CLOCK_OTHER_SIZE, 8)),
    refuse("unknown-ioctl-of-vm", errno.ENOTTY, lambda vm, _: vm.handle.call(IO(KVMIO, 0xFF))),
    refuse("vcpu-attribute-on-vm", errno.ENOTTY, lambda vm, _: vm.handle.call(uapi.KVM_HAS_DEVICE_ATTR, 8)),
    refuse("vcpu-twice", errno.EEXIST, lambda vm, _: vm.handle.call(uapi.KVM_CREATE_VCPU, 1)),
    refuse("vcpu-id-too-large", errno.EINVAL, lambda vm, _: vm.handle.call(uapi.KVM_CREATE_VCPU, 2**31)),
    refuse(
        "offset-bad-pointer",
        errno.EFAULT,
        lambda _, vcpus: vcpus[0].tsc_offset_attribute.set_from(BAD_ADDRESS),
    ),
    refuse(
        "offset-unknown-attribute",
        errno.ENXIO,
        lambda _, vcpus: vcpus[1].attribute(0, 2, "attribute 2").set_u64(5),
    ),
    refuse(
        "existence-of-an-unknown-attribute",
        errno.ENXIO,
        lambda _, vcpus: vcpus[1].attribute(0, 2, "attribute 2").probe(),
    ),
    refuse(
        "offset-unknown-group", errno.ENXIO, lambda _, vcpus: vcpus[1].attribute(3, 0, "group 3").set_u64(5)
    ),
    refuse("unknown-ioctl-of-vcpu", errno.EINVAL, lambda _, vcpus: vcpus[0].handle.call(IO(KVMIO, 0xFF))),
    refuse("clock-on-vcpu", errno.EINVAL, lambda _, vcpus: vcpus[0].handle.call(uapi.KVM_SET_CLOCK, 8)),
    refuse("no-such-msr", 0, lambda _, vcpus: vcpus[0].set_msr(NO_MSR, 1)),
    refuse("steal-time-reserved-bits", 0, lambda _, vcpus: vcpus[0].set_msr(MSR_KVM_STEAL_TIME, 2)),
    refuse("xen-unknown-attribute-set", errno.ENOENT, lambda vm, _: set_xen_attribute(vm, UNKNOWN_TYPE, 0)),
    refuse("xen-unknown-attribute-read", errno.ENOENT, lambda vm, _: xen_attribute(vm)),
    refuse("xen-unknown-flag", errno.EINVAL, lambda vm, _: xen_flag(vm)),
    refuse(
        "xen-page-outside-of-memory",
        errno.EFAULT,
        lambda vm, _: set_xen_attribute(vm, xen.KVM_XEN_ATTR_TYPE_SHARED_INFO, NO_MEMORY // layout.PAGE_SIZE),
    ),
    refuse(
        "offset-read-to-a-bad-pointer",
        errno.EFAULT,
        lambda _, vcpus: vcpus[0].tsc_offset_attribute.get_into(BAD_ADDRESS),
    ),
    refuse(
        "unknown-attribute-read-to-a-bad-pointer",
        errno.ENXIO,
        lambda _, vcpus: vcpus[1].attribute(0, 2, "attribute 2").get_into(BAD_ADDRESS),
    ),
    refuse("overlapping-slot", errno.EEXIST, lambda vm, _: MemorySlot(vm, 9, 0, 1, 0)),
    refuse("slot-made-read-only", errno.EINVAL, lambda vm, _: make_read_only(vm)),
    refuse("log-that-is-not-kept", errno.ENOENT, lambda vm, _: read_log(vm)),
    refuse("synic-without-an-apic", errno.EINVAL, lambda _, vcpus: enable_synic(vcpus[0])),
    refuse("tsc-aux-beyond-32-bits", 0, lambda _, vcpus: wide_tsc_aux(vcpus[0])),
    refuse("no-such-capability", errno.EINVAL, lambda _, vcpus: vcpus[0].enable_cap(10**6)),
    refuse(
        "unread-clock",
        errno.EINVAL,
        lambda _, vcpus: vcpus[0].handle.call(IOR(KVMIO, 0x7C, uapi.kvm_one_reg)),
    ),
]


def contents(vcpus: list[X86Vcpu]) -> list[Pvclock]:
    """Return what the pvclock records hold, without how often they were written."""
    return [replace(vcpu.guest.pvclock(), version=0) for vcpu in vcpus]


@pytest.mark.usefixtures("tsc_clocksource")
@pytest.mark.parametrize(("number", "call"), CALLS)
def test_refused_call_changes_nothing(vm: X86Vm, vcpus: list[X86Vcpu], number: int, call: VcpuCall) -> None:
    """Refused with its errno, a call leaves clock, flags, frequencies, offsets, MSRs and records alone."""
    furnish(vm, vcpus)
    before, records = state_of(vm, vcpus), contents(vcpus)
    clock_span, clock = spanned(vm.time, vm.clock)
    readings = [vcpu.guest.read_tsc() for vcpu in vcpus]

    with refused(number):
        call(vm, vcpus)

    assert state_of(vm, vcpus) == before
    last_span, last = spanned(vm.time, vm.clock)
    assert last.kvmclock_ns - clock.kvmclock_ns in clock_span.until(last_span).widened(MARGIN_NS)
    for vcpu, reading in zip(vcpus, readings, strict=True):
        check_tsc_continues(vcpu, reading.value, since=reading.window)
    assert flags_after_entry(*vcpus) == before.flags
    assert contents(vcpus) == records


def test_refused_address_leaves_both_records_of_a_xen_guest(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """An unaligned vcpu_info is refused with ENXIO; both records keep their address, and show a new clock."""
    require_xen(vm)
    for kind, (address, _) in PLACES.items():
        set_vcpu(vcpu, kind, address)
    vcpu.guest.read_tsc()
    before = [pvclock_at(vcpu, kind).version for kind in PLACES]

    with refused(errno.ENXIO):
        set_vcpu(vcpu, xen.KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, VCPU_INFO + 1)

    assert [get_vcpu(vcpu, kind) for kind in PLACES] == [address for address, _ in PLACES.values()]
    vm.set_clock(0)
    vcpu.guest.read_tsc()
    for kind, version in zip(PLACES, before, strict=True):
        assert pvclock_at(vcpu, kind).version > version
