# SPDX-License-Identifier: GPL-2.0-only
"""KVM, VMs and vCPUs of riscv64, and the conditions of its claims."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.backends.protocol import Backend
from fixtures.counters import NSEC_PER_MSEC
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.kvm.riscv.vm import RiscvVm
from fixtures.kvm.system import Kvm
from fixtures.targets import Probe, Target
from kvmtests.riscv.timers import ticks


@pytest.fixture
def kvm(backend: Backend) -> Iterator[Kvm[RiscvVm]]:
    """KVM of the target, opened for this test."""
    with Kvm(backend, RiscvVm) as opened:
        yield opened


@pytest.fixture
def vm(kvm: Kvm[RiscvVm]) -> RiscvVm:
    """A new VM without vCPUs."""
    return kvm.create_vm()


@pytest.fixture
def vcpu(vm: RiscvVm) -> RiscvVcpu:
    """vCPU 0 of a new VM, ready to run guest programs."""
    return vm.create_vcpu(0)


@pytest.fixture
def vcpus(vm: RiscvVm, vcpu: RiscvVcpu) -> list[RiscvVcpu]:
    """vCPUs 0 and 1 of a new VM, ready to run guest programs."""
    return [vcpu, vm.create_vcpu(1)]


@pytest.fixture
def sstc(vcpu: RiscvVcpu) -> None:
    """Skip where guests have no stimecmp."""
    vcpu.require_sstc()


@pytest.fixture
def no_sstc(vcpu: RiscvVcpu) -> None:
    """Skip where guests have stimecmp, and KVM itself waits for no deadline."""
    vcpu.require_no_sstc()


@pytest.fixture
def soon(target: Target, target_facts: Probe) -> int:
    """20 ms in ticks; 20 us of virtual time, since a simulated guest that waits takes long."""
    return ticks(target_facts, 20 * (1000 if target.simulated else NSEC_PER_MSEC))


@pytest.fixture
def patience(target: Target, target_facts: Probe) -> int:
    """5 s in ticks, in which an interrupt that must come has come; 500 us of virtual time."""
    return ticks(target_facts, 500_000 if target.simulated else 5000 * NSEC_PER_MSEC)


@pytest.fixture
def quiet(target: Target, target_facts: Probe) -> int:
    """50 ms in ticks, in which an interrupt that must not come has time to; 50 us of virtual time."""
    return ticks(target_facts, 50 * (1000 if target.simulated else NSEC_PER_MSEC))
