# SPDX-License-Identifier: GPL-2.0-only
"""Steal time: how long a vCPU's thread waited for a CPU.

Source: Documentation/virt/kvm/x86/msr.rst; arch/x86/kvm/x86.c: record_steal_time().
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.counters import NSEC_PER_MSEC, Window
from fixtures.guests import layout
from fixtures.kvm.errors import GuestFault, HarnessError
from fixtures.kvm.expect import refused
from fixtures.kvm.run_delay import RunDelay
from fixtures.kvm.x86.guest import GENERAL_PROTECTION, StealTime
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.targets import Target
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86.kvm_para import KVM_MSR_ENABLED, MSR_KVM_STEAL_TIME

pytestmark = pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_STEAL_TIME")

RESERVED = [pytest.param(1 << bit, id=f"bit-{bit}") for bit in range(1, 6)]


@pytest.fixture(autouse=True)
def steal_time(vm: X86Vm) -> None:
    """KVM offers steal time, which needs the scheduler's statistics."""
    vm.require(uapi.KVM_CAP_STEAL_TIME)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long this thread has waited for a CPU so far, in ns, and how to make it wait longer."""

    so_far_ns: Callable[[], int]
    wait: Callable[[], None]


@pytest.fixture
def waiting(target: Target, run_delay: RunDelay) -> Waiting:
    """The calling thread's waits, on the target's own clock."""
    if target.simulated:
        return Waiting(run_delay.so_far_ns, run_delay.wait)
    return Waiting(run_delay_ns, wait_for_a_crowded_cpu)


def run_delay_ns() -> int:
    """Return the wait so far: the second figure of schedstat (Documentation/scheduler/sched-stats.rst)."""
    path = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
    return int(path.read_text(encoding="ascii").split()[1])


def wait_for_a_crowded_cpu() -> None:
    """Share one CPU with a program that never sleeps, until this thread has waited for 5 ms for it."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    rival = subprocess.Popen([sys.executable, "-IS", "-c", "while True: pass"])
    enough_ns = run_delay_ns() + 5 * NSEC_PER_MSEC
    deadline_s = time.monotonic() + 5
    try:
        while run_delay_ns() < enough_ns:
            if time.monotonic() > deadline_s:
                raise HarnessError("the scheduler never made this thread wait for its CPU")
    finally:
        rival.kill()
        rival.wait()
        os.sched_setaffinity(0, allowed)


def enable(vcpu: X86Vcpu) -> StealTime:
    """Register steal time as a guest does at boot, and return it after one more entry."""
    vcpu.guest.wrmsr(MSR_KVM_STEAL_TIME, layout.steal_time(vcpu.id) | KVM_MSR_ENABLED)
    vcpu.guest.read_tsc()
    return vcpu.guest.steal_time()


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.parametrize("reserved", RESERVED)
def test_reserved_bits_are_refused(vcpu: X86Vcpu, reserved: int) -> None:
    """Bits 1 to 5 of the MSR are reserved: #GP in the guest, refused to the host, and the old value stays."""
    enable(vcpu)
    value = vcpu.get_msr(MSR_KVM_STEAL_TIME)

    with pytest.raises(GuestFault) as fault:
        vcpu.guest.wrmsr(MSR_KVM_STEAL_TIME, value | reserved)
    with refused(0):
        vcpu.set_msr(MSR_KVM_STEAL_TIME, value | reserved)

    assert fault.value.vector == GENERAL_PROTECTION
    assert vcpu.get_msr(MSR_KVM_STEAL_TIME) == value == vcpu.guest.rdmsr(MSR_KVM_STEAL_TIME).value


def test_area_is_consistent(vcpu: X86Vcpu) -> None:
    """The version is even and not 0, and the flags are 0."""
    area = enable(vcpu)

    assert area.version > 0
    assert area.version % 2 == 0
    assert area.flags == 0


def test_steal_is_what_the_thread_waited(vcpu: X86Vcpu, waiting: Waiting) -> None:
    """Between two entries steal grows by what the vCPU's thread waited for its CPU."""
    enable(vcpu)
    outer_before = waiting.so_far_ns()
    vcpu.guest.read_tsc()
    before, inner_before = vcpu.guest.steal_time(), waiting.so_far_ns()

    waiting.wait()

    inner_after = waiting.so_far_ns()
    vcpu.guest.read_tsc()
    after, outer_after = vcpu.guest.steal_time(), waiting.so_far_ns()
    waited = Window(inner_after - inner_before, outer_after - outer_before)
    assert after.steal_ns - before.steal_ns in waited
    assert after.version % 2 == 0


def test_area_belongs_to_one_vcpu(vcpus: list[X86Vcpu]) -> None:
    """A vCPU that has not enabled steal time gets none written, though another vCPU has it."""
    first, second = vcpus
    enable(first)
    second.guest.wrmsr(MSR_KVM_STEAL_TIME, layout.steal_time(second.id))

    second.guest.read_tsc()

    assert second.guest.steal_time() == StealTime(0, 0, 0, 0)


def test_disabled_area_is_not_written(vcpu: X86Vcpu) -> None:
    """After the guest has cleared the enable bit KVM leaves the area alone."""
    enable(vcpu)
    vcpu.guest.wrmsr(MSR_KVM_STEAL_TIME, layout.steal_time(vcpu.id))
    vcpu.guest.read_tsc()
    before = vcpu.guest.steal_time()

    for _ in range(3):
        vcpu.vm.time.sleep_ns(NSEC_PER_MSEC)
        vcpu.guest.read_tsc()

    assert vcpu.guest.steal_time() == before
