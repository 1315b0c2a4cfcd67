# SPDX-License-Identifier: GPL-2.0-only
"""The frame of an arm64 VM: registers, timers, offsets and stolen time of all vCPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fixtures.counters import Window
from fixtures.guests import layout
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.attribute import Attribute
from fixtures.uapi import kvm as uapi
from fixtures.uapi.arm64 import kvm as kvm_arm64
from kvmtests.arm64.timers import ISTATUS, PHYSICAL, VIRTUAL, Timer
from kvmtests.windows import timed

EL1_TIMERS = {"virtual": VIRTUAL, "physical": PHYSICAL}
TIMER_IDS = {
    getattr(kvm_arm64, name) for timer in EL1_TIMERS.values() for name in (timer.ctl, timer.cval, timer.cnt)
}


def stolen_time_record(vcpu_id: int) -> int:
    """Return where the record of stolen time of a vCPU lies, a page that nothing else uses."""
    return layout.SAMPLES + vcpu_id * layout.PAGE_SIZE


def stolen_time(vcpu: Arm64Vcpu) -> Attribute:
    """Return the attribute that holds the address of the vCPU's record of stolen time."""
    group, number = kvm_arm64.KVM_ARM_VCPU_PVTIME_CTRL, kvm_arm64.KVM_ARM_VCPU_PVTIME_IPA
    return vcpu.attribute(group, number, "KVM_ARM_VCPU_PVTIME_IPA")


def frame(vcpus: Sequence[Arm64Vcpu]) -> Mapping[str, object]:
    """Return all that user space can read of *vcpus*, of one VM, by names that begin with "vcpu N "."""
    return {f"vcpu {vcpu.id} {name}": value for vcpu in vcpus for name, value in _of_vcpu(vcpu)}


def _of_vcpu(vcpu: Arm64Vcpu) -> Iterator[tuple[str, object]]:
    page = stolen_time_record(vcpu.id)
    yield "record of stolen time", bytes(vcpu.vm.memory[page : page + layout.PAGE_SIZE])
    if vcpu.vm.check_extension(uapi.KVM_CAP_STEAL_TIME):
        yield "address of stolen time", stolen_time(vcpu).get_u64()
    yield "mp_state", vcpu.mp_state
    yield from _offsets(vcpu)
    listed = vcpu.reg_list()
    for name, timer in EL1_TIMERS.items():
        if getattr(kvm_arm64, timer.cnt) in listed:
            yield from _timer(vcpu, name, timer)
    for reg_id in listed - TIMER_IDS:
        if reg_id & uapi.KVM_REG_SIZE_MASK == uapi.KVM_REG_SIZE_U64:
            yield f"register {reg_id:#x}", vcpu.get_reg(reg_id)


def _timer(vcpu: Arm64Vcpu, name: str, timer: Timer) -> Iterator[tuple[str, object]]:
    ctl, cval, cnt = (getattr(kvm_arm64, register) for register in (timer.ctl, timer.cval, timer.cnt))
    window, count = timed(vcpu.vm, lambda: vcpu.get_reg(cnt))
    yield f"{name} cnt", Window(window.first - count, window.last - count, window.bits).shifted(0)
    yield f"{name} ctl", vcpu.get_reg(ctl) & ~ISTATUS  # which time changes
    yield f"{name} cval", vcpu.get_reg(cval)


def _offsets(vcpu: Arm64Vcpu) -> Iterator[tuple[str, object]]:
    if vcpu.vm.check_extension(uapi.KVM_CAP_COUNTER_OFFSET):
        return  # there they cannot be read, and the series' attributes are numbers of interrupts
    for name, attribute in (
        ("virtual offset", vcpu.virtual_offset_attribute),
        ("physical offset", vcpu.physical_offset_attribute),
    ):
        if attribute.exists():
            yield name, attribute.get_u64()
