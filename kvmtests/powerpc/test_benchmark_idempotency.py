# SPDX-License-Identifier: GPL-2.0-only
"""A guest's time base restored late on one host: by offset, the only way of Power, no delay is lost.

KVM takes no count. The offset that a VMM computes from one is rounded up to 2**24 ticks, 33 ms at 512 MHz:
the delays of this experiment do not show in that (test_timebase_rounding).
"""

from __future__ import annotations

import pytest

from fixtures.benchmark.recorder import BenchmarkRecorder
from fixtures.kvm.powerpc.vcpu import PpcVcpu
from fixtures.kvm.powerpc.vm import PpcVm
from fixtures.kvm.system import Kvm
from fixtures.targets import Probe
from kvmtests.idempotency import Heir, experiment

pytestmark = [
    pytest.mark.promise(de_facto="Linux 6.12 to 7.2"),
    pytest.mark.benchmark,
    pytest.mark.timeout(300),
]

OFFSET = 2**36


def test_error_does_not_grow_with_the_delay(
    kvm: Kvm[PpcVm], vcpu: PpcVcpu, target_facts: Probe, recorder: BenchmarkRecorder
) -> None:
    """Error against injected delay: slope 0 with KVM_REG_PPC_TB_OFFSET."""
    vcpu.timebase_offset = OFFSET

    def by_offset() -> Heir:
        heir = kvm.create_vm().create_vcpu(0)
        return Heir(
            save=lambda: vcpu.timebase_offset,
            restore=lambda offset: setattr(heir, "timebase_offset", offset),
            read=heir.guest.read_timebase,
            line=OFFSET,
        )

    experiment(recorder, vcpu.vm, int(target_facts.facts["counter_hz"]), {"by offset": by_offset})
