# SPDX-License-Identifier: GPL-2.0-only
"""Whatever moves a vCPU's TSC is seen through all of its views, on vCPUs made before and after.

The views: RDTSC and RDMSR in the guest, the TSC that kvmclock is computed from, KVM_GET_MSRS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations

import pytest

from fixtures.counters import NSEC_PER_SEC, Window, bracket, wrap
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import msr_index
from kvmtests.x86.clocks import enter_all

pytestmark = [
    pytest.mark.promise(architectural="Intel SDM 3B, Time-Stamp Counter"),
    pytest.mark.thorough,
    pytest.mark.usefixtures("stable_tsc"),
]

TSC = msr_index.MSR_IA32_TSC
ADJUST = msr_index.MSR_IA32_TSC_ADJUST
VIEWS: Mapping[str, Callable[[X86Vcpu], int]] = {
    "RDTSC": lambda vcpu: vcpu.guest.read_tsc().value,
    "RDMSR": lambda vcpu: vcpu.guest.rdmsr(TSC).value,
    "kvmclock": lambda vcpu: vcpu.guest.read_kvmclock().tsc,
    "KVM_GET_MSRS": lambda vcpu: vcpu.get_msr(TSC),
}


def offset(vcpu: X86Vcpu) -> None:
    """Move the TSC by KVM_VCPU_TSC_OFFSET."""
    vcpu.tsc_offset = vcpu.tsc_offset + 10**12


MOVES = [
    pytest.param(lambda _: None, id="nothing"),
    pytest.param(offset, id="offset"),
    pytest.param(lambda vcpu: vcpu.set_msr(TSC, 1 << 50), id="value"),
    pytest.param(lambda vcpu: vcpu.guest.wrmsr(TSC, 1 << 50), id="guest-value"),
    pytest.param(lambda vcpu: vcpu.guest.wrmsr(ADJUST, 1 << 40), id="guest-adjust"),
    pytest.param(lambda vcpu: vcpu.set_msr(ADJUST, 1 << 40), id="adjust"),
]


def lines(vcpu: X86Vcpu) -> Mapping[str, Window]:
    """Return by view how far the TSC is from the host's."""
    found = {}
    for name, read in VIEWS.items():
        before, seen, after = bracket(vcpu.vm.time.counter, partial(read, vcpu))
        found[name] = Window(wrap(seen - after), wrap(seen - before))
    return found


def check_one_line(vcpu: X86Vcpu) -> None:
    """Fail unless all views of the TSC of *vcpu* can be one counter."""
    for (name, one), (other_name, other) in combinations(lines(vcpu).items(), 2):
        assert one.first in other or other.first in one, f"{name} and {other_name} are apart"


@pytest.mark.parametrize("move", MOVES)
def test_every_view_follows(vm: X86Vm, vcpu: X86Vcpu, move: Callable[[X86Vcpu], object]) -> None:
    """After each way to move a TSC all views of it agree, also on a vCPU that is made afterwards."""
    vm.require(uapi.KVM_CAP_CLOCKSOURCE)
    vcpu.guest.enable_kvmclock()

    move(vcpu)
    later = vm.create_vcpu(1)
    later.guest.enable_kvmclock()

    check_one_line(vcpu)
    check_one_line(later)


@pytest.mark.parametrize("move", MOVES)
def test_guest_and_host_read_one_adjust(vcpu: X86Vcpu, move: Callable[[X86Vcpu], object]) -> None:
    """After each way to move a TSC the guest's RDMSR and KVM_GET_MSRS read the same TSC_ADJUST."""
    move(vcpu)

    assert vcpu.guest.rdmsr(ADJUST).value == vcpu.get_msr(ADJUST)


@pytest.mark.promise(
    documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: tsc_to_system_mul"
)
@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize("parted", [pytest.param(0, id="together"), pytest.param(10**12, id="parted")])
def test_record_is_made_for_the_guests_frequency_in_each_mode(vm: X86Vm, parted: int) -> None:
    """One second of a scaled guest's ticks is one in its record, with the master clock and without it.

    The ratio of the frequencies is rounded down, and the record is made for whole kHz of what that gives.
    """
    vm.require(uapi.KVM_CAP_TSC_CONTROL)
    vm.require(uapi.KVM_CAP_VM_TSC_CONTROL)
    vm.tsc_khz = vm.tsc_khz // 2
    vcpus = [vm.create_vcpu(number) for number in range(2)]
    vcpus[1].tsc_offset = vcpus[1].tsc_offset + parted
    for vcpu in vcpus:
        vcpu.guest.enable_kvmclock()
    enter_all(vcpus)

    for vcpu in vcpus:
        record = vcpu.guest.pvclock()
        khz = vcpu.tsc_khz
        second_ns = record.kvmclock_ns(wrap(record.tsc_timestamp + khz * 1000))
        slower_by_a_khz_ns = NSEC_PER_SEC * khz // (khz - 1)
        assert second_ns - record.system_time_ns in Window(NSEC_PER_SEC - 1, slower_by_a_khz_ns)
