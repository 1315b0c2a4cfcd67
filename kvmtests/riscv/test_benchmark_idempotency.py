# SPDX-License-Identifier: GPL-2.0-only
"""A guest's time restored late on one host: by value, which is the only way, the delay is lost."""

from __future__ import annotations

import pytest

from fixtures.benchmark.recorder import BenchmarkRecorder
from fixtures.counters import signed
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.kvm.riscv.vm import RiscvVm
from fixtures.kvm.system import Kvm
from kvmtests.idempotency import READINGS, Heir, experiment

pytestmark = [
    pytest.mark.promise(de_facto="Linux 6.12 to 7.2"),
    pytest.mark.benchmark,
    pytest.mark.timeout(300),
]


def line(vcpu: RiscvVcpu) -> tuple[int, int]:
    """Return the guest's time less the host's, by the narrowest reading, and how far off that may be."""
    reading = min((vcpu.guest.read_time() for _ in range(READINGS)), key=lambda one: one.window.width)
    half = reading.window.width // 2
    return signed(reading.value - reading.before - half), half + 1


def test_error_grows_with_the_delay(kvm: Kvm[RiscvVm], vcpu: RiscvVcpu, recorder: BenchmarkRecorder) -> None:
    """Error against injected delay: slope 1 with the value of the register time."""
    kept, uncertainty = line(vcpu)

    def by_value() -> Heir:
        heir = kvm.create_vm().create_vcpu(0)
        return Heir(
            save=lambda: vcpu.time,
            restore=lambda value: setattr(heir, "time", value),
            read=heir.guest.read_time,
            line=kept,
            uncertainty=uncertainty,
        )

    experiment(recorder, vcpu.vm, vcpu.frequency, {"by value": by_value})
