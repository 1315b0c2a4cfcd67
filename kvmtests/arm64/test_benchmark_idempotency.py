# SPDX-License-Identifier: GPL-2.0-only
"""A guest's virtual counter restored late on one host: by value the delay is lost, by offset it is not."""

from __future__ import annotations

import pytest

from fixtures.benchmark.recorder import BenchmarkRecorder
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.system import Kvm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.arm64 import kvm as kvm_arm64
from kvmtests.idempotency import Heir, experiment

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_ARM_SET_COUNTER_OFFSET"),
    pytest.mark.benchmark,
    pytest.mark.timeout(300),
]

OFFSET = 12345


def test_error_grows_with_the_delay_by_value_only(
    kvm: Kvm[Arm64Vm], vcpu: Arm64Vcpu, recorder: BenchmarkRecorder
) -> None:
    """Error against injected delay: slope 1 with KVM_REG_ARM_TIMER_CNT's value, 0 with the offset."""
    set_virtual_offset(vcpu, OFFSET)

    def by_value() -> Heir:
        heir = new_vcpu(kvm)
        return Heir(
            save=lambda: vcpu.get_reg(kvm_arm64.KVM_REG_ARM_TIMER_CNT),
            restore=lambda value: heir.set_reg(kvm_arm64.KVM_REG_ARM_TIMER_CNT, value),
            read=heir.guest.read_cntvct,
            line=-OFFSET,
        )

    def by_offset() -> Heir:
        heir = new_vcpu(kvm)
        return Heir(
            save=lambda: OFFSET,
            restore=lambda offset: set_virtual_offset(heir, offset),
            read=heir.guest.read_cntvct,
            line=-OFFSET,
        )

    hz = vcpu.guest.read_cntfrq()
    experiment(recorder, vcpu.vm, hz, {"by value": by_value, "by offset": by_offset})


def new_vcpu(kvm: Kvm[Arm64Vm]) -> Arm64Vcpu:
    """Return the only vCPU of a new VM."""
    vm = kvm.create_vm()
    return vm.create_vcpu(0)


def set_virtual_offset(vcpu: Arm64Vcpu, offset: int) -> None:
    """Offset CNTVCT_EL0 by whichever interface this kernel has; `CapabilityMissing` without one."""
    if vcpu.vm.check_extension(uapi.KVM_CAP_COUNTER_OFFSET):
        vcpu.vm.set_counter_offset(offset)
    else:
        vcpu.require_series_offsets()
        vcpu.virtual_offset = offset
