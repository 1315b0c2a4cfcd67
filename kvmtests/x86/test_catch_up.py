# SPDX-License-Identifier: GPL-2.0-only
"""A TSC frequency above the host's, on a processor that cannot scale: KVM pushes the TSC on at entries.

The line that was asked for goes through the value that user space wrote last, at the asked frequency. The
guest's TSC counts at the host's frequency, and KVM moves it up to the line when it updates the guest's time.

Source: Documentation/virt/kvm/x86/timekeeping.rst; arch/x86/kvm/x86.c: kvm_guest_time_update(),
compute_guest_tsc().
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fixtures.counters import NSEC_PER_MSEC, Window
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.values import Reading
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86.kvm_para import MSR_KVM_SYSTEM_TIME, MSR_KVM_SYSTEM_TIME_NEW
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC
from kvmtests.windows import timed
from kvmtests.x86.clocks import ticks_between
from kvmtests.x86.moves import require_offsets

pytestmark = [
    pytest.mark.promise(de_facto="Linux 5.10 to 7.3"),
    pytest.mark.thorough,
    pytest.mark.usefixtures("stable_tsc", "tsc_clocksource"),
]

ENTRIES = 20
START = 2**50
MARGIN_PPM = 1  # of the clock that KVM computes the line by, against the TSC
MARGIN_TICKS = 1_000

MASTER_CLOCK = [
    pytest.param(MSR_KVM_SYSTEM_TIME, id="without-the-master-clock"),
    pytest.param(MSR_KVM_SYSTEM_TIME_NEW, id="with-the-master-clock"),
]
"""The MSR through which vCPU 0's guest registers kvmclock: the legacy one turns the master clock off."""


@dataclass(frozen=True, slots=True)
class AskedLine:
    """Where the TSC should be: START in the window *written*, in host ticks, and from there on *khz*."""

    written: Window
    khz: int
    host_khz: int

    def at(self, window: Window) -> Window:
        """Return what the TSC may read in *window* if it is on the line."""
        elapsed = ticks_between(self.written, window)
        first, last = (ticks * self.khz // self.host_khz for ticks in (elapsed.first, elapsed.last))
        margin = last * MARGIN_PPM // 1_000_000 + MARGIN_TICKS
        return Window(START + first, START + last).widened(margin)


def catching_up(vm: X86Vm, msr: int) -> tuple[X86Vcpu, AskedLine]:
    """Return vCPU 0 of *vm* at 1.2 times the host's frequency, and its line."""
    if vm.check_extension(uapi.KVM_CAP_TSC_CONTROL):
        raise CapabilityMissing("a processor without KVM_CAP_TSC_CONTROL")
    vcpu = vm.create_vcpu(0)
    require_offsets(vcpu)
    vcpu.guest.enable_kvmclock(msr)
    host_khz = vcpu.tsc_khz
    vcpu.tsc_khz = host_khz * 12 // 10
    written, _ = timed(vm, lambda: vcpu.set_msr(MSR_IA32_TSC, START))
    return vcpu, AskedLine(written, vcpu.tsc_khz, host_khz)


def entries(vcpu: X86Vcpu) -> list[Reading]:
    """Return the guest's TSC at entries that are 5 ms apart."""
    readings = []
    for _ in range(ENTRIES):
        vcpu.vm.time.sleep_ns(5 * NSEC_PER_MSEC)
        readings.append(vcpu.guest.read_tsc())
    return readings


@pytest.mark.parametrize("msr", MASTER_CLOCK)
def test_tsc_has_caught_up_at_each_entry(vm: X86Vm, msr: int) -> None:
    """At each entry the TSC has risen at the frequency that was asked for."""
    vcpu, line = catching_up(vm, msr)

    for reading in entries(vcpu):
        assert reading.value in line.at(reading.window)


@pytest.mark.parametrize("msr", MASTER_CLOCK)
def test_tsc_that_catches_up_never_overtakes(vm: X86Vm, msr: int) -> None:
    """The TSC is never beyond the line that was asked for."""
    vcpu, line = catching_up(vm, msr)

    for reading in entries(vcpu):
        assert reading.value <= line.at(reading.window).last


@pytest.mark.parametrize("msr", MASTER_CLOCK)
def test_tsc_that_catches_up_never_steps_back(vm: X86Vm, msr: int) -> None:
    """From one reading to the next, within an entry and across entries, the TSC has not fallen."""
    vcpu, _ = catching_up(vm, msr)

    samples = [sample for _ in range(ENTRIES) for sample in vcpu.guest.sample_tsc(20)]

    assert samples == sorted(samples)
    assert samples[0] > START
