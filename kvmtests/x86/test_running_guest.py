# SPDX-License-Identifier: GPL-2.0-only
"""What user space sets while guests run reaches them without an exit of their own making."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.counters import NSEC_PER_SEC
from fixtures.kvm.meanwhile import await_readings
from fixtures.kvm.spans import Span, spanned
from fixtures.kvm.threads import together
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86.pvclock import PVCLOCK_TSC_STABLE_BIT
from kvmtests.x86.clocks import MARGIN_NS, enter_all

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CLOCK"),
    pytest.mark.thorough,
    pytest.mark.usefixtures("stable_tsc"),
]

FUTURE_NS = 10**6 * NSEC_PER_SEC  # no guest reaches it by itself
PARTED = pytest.mark.parametrize(
    "parted", [pytest.param(0, id="together"), pytest.param(10**12, id="parted")]
)


def once_reading(vcpus: list[X86Vcpu], call: Callable[[], None]) -> Span:
    """Do *call* when the guests of all *vcpus* have begun to read; return when it was."""
    for vcpu, begun in [(vcpu, vcpu.guest.readings_so_far) for vcpu in vcpus]:
        await_readings(vcpu, begun)
    span, _ = spanned(vcpus[0].vm.time, call)
    return span


@pytest.fixture
def clocked(vm: X86Vm, vcpus: list[X86Vcpu]) -> list[X86Vcpu]:
    """Two vCPUs with kvmclock, whose programs are loaded."""
    vm.require(uapi.KVM_CAP_CLOCKSOURCE)
    for vcpu in vcpus:
        vcpu.guest.enable_kvmclock()
        vcpu.guest.read_kvmclock_until(0)
    return vcpus


@PARTED
def test_running_guest_sees_the_set_clock(vm: X86Vm, clocked: list[X86Vcpu], parted: int) -> None:
    """KVM_SET_CLOCK reaches guests that read kvmclock without ever leaving: both see what was set."""
    clocked[1].tsc_offset = clocked[1].tsc_offset + parted
    enter_all(clocked)

    span, *readings = together(
        lambda: once_reading(clocked, lambda: vm.set_clock(FUTURE_NS)),
        *(lambda vcpu=vcpu: vcpu.guest.read_kvmclock_until(FUTURE_NS) for vcpu in clocked),
    )
    now, _ = spanned(vm.time, lambda: None)

    limit = span.until(now).last + FUTURE_NS + MARGIN_NS
    assert [FUTURE_NS <= reading.kvmclock_ns <= limit for reading in readings] == [True, True]


def test_running_guest_keeps_the_master_clock(vm: X86Vm, clocked: list[X86Vcpu]) -> None:
    """After a KVM_SET_CLOCK in their midst guests read whole records, with the flags that they had before."""
    enter_all(clocked)
    stable = clocked[0].guest.pvclock().flags & PVCLOCK_TSC_STABLE_BIT

    _, *readings = together(
        lambda: once_reading(clocked, lambda: vm.set_clock(FUTURE_NS)),
        *(lambda vcpu=vcpu: vcpu.guest.read_kvmclock_until(FUTURE_NS) for vcpu in clocked),
    )

    assert [(reading.flags, reading.version % 2) for reading in readings] == [(stable, 0)] * 2
