# SPDX-License-Identifier: GPL-2.0-only
"""KVM, VMs and vCPUs of arm64, and the conditions of its claims."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.backends.protocol import Backend
from fixtures.counters import NSEC_PER_MSEC
from fixtures.host_pair import BootHosts, TwoHosts
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.system import Kvm
from fixtures.targets import Probe
from kvmtests.arm64.counters import ticks
from kvmtests.arm64.el2 import el2_vcpus


@pytest.fixture
def kvm(backend: Backend, target_facts: Probe) -> Iterator[Kvm[Arm64Vm]]:
    """KVM of the target, opened for this test; its VMs know how wide the host's counter is."""
    with Kvm(backend, Arm64Vm) as opened:
        opened.counter_bits = int(target_facts.facts.get("counter_width", opened.counter_bits))
        yield opened


@pytest.fixture
def vm(kvm: Kvm[Arm64Vm]) -> Arm64Vm:
    """A new VM without vCPUs."""
    return kvm.create_vm()


@pytest.fixture
def vcpu(vm: Arm64Vm) -> Arm64Vcpu:
    """vCPU 0 of a new VM, ready to run guest programs."""
    return vm.create_vcpu(0)


@pytest.fixture
def vcpus(vm: Arm64Vm, vcpu: Arm64Vcpu) -> list[Arm64Vcpu]:
    """vCPUs 0 and 1 of a new VM, ready to run guest programs."""
    return [vcpu, vm.create_vcpu(1)]


@pytest.fixture
def hypervisor(vm: Arm64Vm) -> Arm64Vcpu:
    """A vCPU with EL2 whose HCR_EL2.E2H is 1."""
    (vcpu,) = el2_vcpus(vm)
    return vcpu


@pytest.fixture
def two_hosts(boot_hosts: BootHosts) -> TwoHosts[Arm64Vm]:
    """Boots two simulated hosts of the target's kind with a given difference; closed after the test."""
    return lambda difference: boot_hosts(Arm64Vm, difference)


@pytest.fixture
def period(period_ns: int, target_facts: Probe) -> int:
    """The module's period_ns in ticks."""
    return ticks(target_facts, period_ns)


@pytest.fixture
def quiet(target_facts: Probe) -> int:
    """50 ms in ticks, in which an interrupt that must not come has time to."""
    return ticks(target_facts, 50 * NSEC_PER_MSEC)


@pytest.fixture
def benchmark_vcpu(benchmark_backend: Backend) -> Iterator[Arm64Vcpu]:
    """A vCPU for benchmarks; simulated hosts read counters at the series' published costs."""
    with Kvm(benchmark_backend, Arm64Vm) as opened:
        yield opened.create_vm().create_vcpu(0)


@pytest.fixture
def working_cntvoff(target_facts: Probe) -> None:
    """Skip where the CPU does not subtract CNTVOFF_EL2 as it should: KVM traps what is native elsewhere."""
    if target_facts.facts.get("broken_cntvoff"):
        raise CapabilityMissing("a CNTVOFF_EL2 that works")


@pytest.fixture
def broken_cntvoff(target_facts: Probe) -> None:
    """Skip where the CPU subtracts CNTVOFF_EL2 as it should."""
    if not target_facts.facts.get("broken_cntvoff"):
        raise CapabilityMissing("a broken CNTVOFF_EL2")
