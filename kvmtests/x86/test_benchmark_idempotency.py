# SPDX-License-Identifier: GPL-2.0-only
"""A guest TSC restored late on one host: by value the delay is lost, by offset it is not."""

from __future__ import annotations

import pytest

from fixtures.benchmark.recorder import BenchmarkRecorder
from fixtures.kvm.system import Kvm
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC
from kvmtests.idempotency import Heir, experiment
from kvmtests.x86.moves import new_vm, require_offsets

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_OFFSET"),
    pytest.mark.benchmark,
    pytest.mark.timeout(300),
]


def test_error_grows_with_the_delay_by_value_only(
    kvm: Kvm[X86Vm], vcpu: X86Vcpu, recorder: BenchmarkRecorder
) -> None:
    """Error against injected delay: slope 1 with IA32_TSC's value, 0 with KVM_VCPU_TSC_OFFSET."""
    require_offsets(vcpu)

    def by_value() -> Heir:
        heir = new_vm(kvm).create_vcpu(0)
        return Heir(
            save=lambda: vcpu.get_msr(MSR_IA32_TSC),
            restore=lambda value: heir.set_msr(MSR_IA32_TSC, value),
            read=heir.guest.read_tsc,
            line=vcpu.tsc_offset,
        )

    def by_offset() -> Heir:
        heir = new_vm(kvm).create_vcpu(0)
        return Heir(
            save=lambda: vcpu.tsc_offset,
            restore=heir.tsc_offset_attribute.set_u64,
            read=heir.guest.read_tsc,
            line=vcpu.tsc_offset,
        )

    experiment(recorder, vcpu.vm, vcpu.tsc_khz * 1000, {"by value": by_value, "by offset": by_offset})
