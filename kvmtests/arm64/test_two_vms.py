# SPDX-License-Identifier: GPL-2.0-only
"""VMs that share a CPU: each has its own offsets and traps, whichever ran there before.

Source: arch/arm64/kvm/arch_timer.c: timer_set_traps(), timer_restore_state(); series v3, cover
letter: v2 configured the traps of VHE at each entry.
"""

from __future__ import annotations

import pytest

from fixtures.kvm.arm64 import Arm64Vcpu, Arm64Vm
from fixtures.kvm.system import Kvm
from fixtures.kvm.values import Reading
from kvmtests.arm64.steps import COUNTERS, offset_counter

ROUNDS = 3


def new_vcpu(kvm: Kvm) -> Arm64Vcpu:
    """Return the vCPU of a new VM."""
    vm = kvm.create_vm()
    assert isinstance(vm, Arm64Vm)
    return vm.create_vcpu(0)


def in_turns(vcpus: list[Arm64Vcpu], counter: str) -> list[tuple[int, Reading]]:
    """Return what each vCPU reads, and its number, when they run in turns on this thread's CPU."""
    return [
        (number, vcpu.guest.read_counter(counter)) for _ in range(ROUNDS) for number, vcpu in enumerate(vcpus)
    ]


@pytest.mark.mode("vhe", "nvhe")
@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize(
    "offsets",
    [
        pytest.param((0, 2**40), id="offset-second"),
        pytest.param((2**40, 0), id="offset-first"),
        pytest.param((2**40, 2**64 - 2**40), id="different-offsets"),
    ],
)
def test_vms_share_a_cpu(kvm: Kvm, counter: str, offsets: tuple[int, int]) -> None:
    """Guests of two VMs that run in turns each read host counter - the offset of their own VM."""
    vcpus = [new_vcpu(kvm) for _ in offsets]
    for vcpu, offset in zip(vcpus, offsets, strict=True):
        offset_counter(vcpu, counter, offset)

    for number, reading in in_turns(vcpus, counter):
        assert reading.value in reading.window.shifted(-offsets[number])


@pytest.mark.mode("vhe", "nvhe")
@pytest.mark.parametrize("counter", COUNTERS)
def test_offset_is_none_of_another_vms(kvm: Kvm, counter: str) -> None:
    """An offset set on one VM while another exists leaves that one's counters alone."""
    untouched, vcpu = new_vcpu(kvm), new_vcpu(kvm)
    offset_counter(untouched, counter, 12345)
    untouched.guest.read_counter(counter)

    offset_counter(vcpu, counter, 2**40)

    reading = untouched.guest.read_counter(counter)
    assert reading.value in reading.window.shifted(-12345)
