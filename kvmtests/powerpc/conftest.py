# SPDX-License-Identifier: GPL-2.0-only
"""KVM, VMs and vCPUs of Power."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.backends.protocol import Backend
from fixtures.kvm.powerpc.vcpu import PpcVcpu
from fixtures.kvm.powerpc.vm import PpcVm
from fixtures.kvm.system import Kvm
from fixtures.targets import Probe


@pytest.fixture
def kvm(backend: Backend) -> Iterator[Kvm[PpcVm]]:
    """KVM of the target, opened for this test."""
    with Kvm(backend, PpcVm) as opened:
        yield opened


@pytest.fixture
def vm(kvm: Kvm[PpcVm]) -> PpcVm:
    """A new VM without vCPUs."""
    return kvm.create_vm()


@pytest.fixture
def vcpu(vm: PpcVm) -> PpcVcpu:
    """vCPU 0 of a new VM, ready to run guest programs."""
    return vm.create_vcpu(0)


@pytest.fixture
def vcpus(vm: PpcVm, vcpu: PpcVcpu) -> list[PpcVcpu]:
    """vCPUs 0 and 1 of a new VM, ready to run guest programs."""
    return [vcpu, vm.create_vcpu(1)]


@pytest.fixture
def second(target_facts: Probe) -> int:
    """How many ticks of the time base a second has."""
    return int(target_facts.facts["counter_hz"])
