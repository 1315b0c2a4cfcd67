# SPDX-License-Identifier: GPL-2.0-only
"""The frame of an x86 VM: offsets, frequencies, MSRs, registers, shared pages and clocks of all vCPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fixtures.counters import Window, wrap
from fixtures.guests import layout
from fixtures.kvm.errors import MsrRefused
from fixtures.kvm.spans import spanned
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.names import msr_name
from fixtures.uapi.x86 import kvm_para, msr_index
from kvmtests.x86.clocks import MARGIN_NS, host_reading

OF_A_VCPU = (
    msr_index.MSR_IA32_TSC_ADJUST,
    msr_index.MSR_TSC_AUX,
    kvm_para.MSR_KVM_SYSTEM_TIME_NEW,
    kvm_para.MSR_KVM_STEAL_TIME,
    msr_index.HV_X64_MSR_VP_INDEX,
    msr_index.HV_X64_MSR_TSC_FREQUENCY,
)
OF_THE_VM = (
    kvm_para.MSR_KVM_WALL_CLOCK_NEW,
    msr_index.HV_X64_MSR_GUEST_OS_ID,
    msr_index.HV_X64_MSR_HYPERCALL,
    msr_index.HV_X64_MSR_REFERENCE_TSC,
    msr_index.HV_X64_MSR_REENLIGHTENMENT_CONTROL,
    msr_index.HV_X64_MSR_TSC_EMULATION_CONTROL,
)
# The host's scheduler sets it whenever it takes the CPU from a loaded vCPU's thread, also inside an ioctl.
PREEMPTED = layout.steal_time(0) - layout.pvclock(0) + kvm_para.kvm_steal_time.preempted.offset
SHARED_PAGES = (layout.SHARED, layout.REFERENCE_TSC_PAGE)


def frame(vm: X86Vm, vcpus: Sequence[X86Vcpu]) -> Mapping[str, object]:
    """Return everything about time that user space can read of *vm* and *vcpus*, by name.

    Names begin with "vm " or with "vcpu N ". What KVM does not know is not in it.
    """
    found = dict(_msrs("vm", vcpus[0], OF_THE_VM))
    found["vm kvmclock"], found["vm clock flags"] = _kvmclock(vm)
    for page in SHARED_PAGES:
        found[f"vm page {page:#x}"] = bytes(vm.memory[page : page + layout.PAGE_SIZE])
    for vcpu in vcpus:
        found |= {f"vcpu {vcpu.id} {name}": value for name, value in _of_vcpu(vcpu)}
        found |= dict(_msrs(f"vcpu {vcpu.id}", vcpu, OF_A_VCPU))
    return found


def _kvmclock(vm: X86Vm) -> tuple[Window, int]:
    span, clock = spanned(vm.time, vm.clock)
    first, last = span.raw_ns.first, span.raw_ns.last
    distance = Window(wrap(clock.kvmclock_ns - last), wrap(clock.kvmclock_ns - first))
    return distance.widened(MARGIN_NS), int(clock.flags)


def _of_vcpu(vcpu: X86Vcpu) -> Iterator[tuple[str, object]]:
    page = layout.pvclock(vcpu.id)
    reading = host_reading(vcpu)
    if vcpu.tsc_offset_attribute.exists():
        yield "tsc_offset", vcpu.tsc_offset
    yield "tsc", Window(wrap(reading.value - reading.after), wrap(reading.value - reading.before))
    yield "tsc_khz", vcpu.tsc_khz
    yield "mp_state", vcpu.mp_state
    yield "regs", bytes(vcpu.regs)
    yield "sregs", bytes(vcpu.sregs)
    contents = bytearray(vcpu.vm.memory[page : page + layout.PAGE_SIZE])
    contents[PREEMPTED] = 0
    yield "page", bytes(contents)


def _msrs(owner: str, vcpu: X86Vcpu, indices: Sequence[int]) -> Iterator[tuple[str, object]]:
    for index in indices:
        try:
            yield f"{owner} {msr_name(index)}", vcpu.get_msr(index)
        except MsrRefused:
            continue
