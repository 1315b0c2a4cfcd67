# SPDX-License-Identifier: GPL-2.0-only
"""KVM, VMs and vCPUs of x86_64, and the conditions of its claims."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.backends.protocol import Backend
from fixtures.host_pair import BootHosts, TwoHosts
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.system import Kvm
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.targets import Probe
from kvmtests.x86.clocks import TSC_CLOCKSOURCES


@pytest.fixture
def kvm(backend: Backend) -> Iterator[Kvm[X86Vm]]:
    """KVM of the target, opened for this test."""
    with Kvm(backend, X86Vm) as opened:
        yield opened


@pytest.fixture
def vm(kvm: Kvm[X86Vm]) -> X86Vm:
    """A new VM without vCPUs."""
    return kvm.create_vm()


@pytest.fixture
def vcpu(vm: X86Vm) -> X86Vcpu:
    """vCPU 0 of a new VM, ready to run guest programs."""
    return vm.create_vcpu(0)


@pytest.fixture
def vcpus(vm: X86Vm, vcpu: X86Vcpu) -> list[X86Vcpu]:
    """vCPUs 0 and 1 of a new VM, ready to run guest programs."""
    return [vcpu, vm.create_vcpu(1)]


@pytest.fixture
def two_hosts(boot_hosts: BootHosts) -> TwoHosts[X86Vm]:
    """Boots two simulated hosts of the target's kind with a given difference; closed after the test."""
    return lambda difference: boot_hosts(X86Vm, difference)


@pytest.fixture
def benchmark_vcpu(benchmark_backend: Backend) -> Iterator[X86Vcpu]:
    """A vCPU for benchmarks, whose system calls are not recorded."""
    with Kvm(benchmark_backend, X86Vm) as opened:
        yield opened.create_vm().create_vcpu(0)


@pytest.fixture
def tsc_clocksource(target_facts: Probe) -> None:
    """Skip where the host's clocksource is not the TSC: KVM's master clock needs one."""
    if target_facts.facts.get("clocksource") not in TSC_CLOCKSOURCES:
        raise CapabilityMissing("a TSC-based clocksource")


@pytest.fixture
def settable_tsc(target_facts: Probe) -> None:
    """Skip where the guest's TSC is the firmware's: KVM rightly ignores offsets and values."""
    if target_facts.facts.get("guest_tsc_protected"):
        raise CapabilityMissing("a guest TSC that KVM sets (guest_tsc_protected)")


@pytest.fixture
def protected_tsc(target_facts: Probe) -> None:
    """Skip where the guest's TSC is KVM's to set."""
    if not target_facts.facts.get("guest_tsc_protected"):
        raise CapabilityMissing("guest_tsc_protected")


@pytest.fixture
def stable_tsc(target_facts: Probe) -> None:
    """Skip where the host distrusts its TSC: KVM then computes offsets again whenever it loads a vCPU.

    The guest's TSC continues from what it was last seen at, and is caught up with time at entries;
    what user space reads between them is on no line (arch/x86/kvm/x86.c: kvm_arch_vcpu_load()).
    """
    if target_facts.facts.get("tsc_stable") is False:
        raise CapabilityMissing("a host whose TSC is stable")
