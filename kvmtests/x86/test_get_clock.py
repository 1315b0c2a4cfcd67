# SPDX-License-Identifier: GPL-2.0-only
"""KVM_GET_CLOCK: its fields belong to one instant, and its flags say which of them are valid.

Source: Documentation/virt/kvm/api.rst, KVM_GET_CLOCK; arch/x86/kvm/x86.c: get_kvmclock().
"""

from __future__ import annotations

import errno

import pytest

from fixtures.counters import NSEC_PER_MSEC, Window, bracket
from fixtures.kvm.expect import refused
from fixtures.kvm.handle import BAD_ADDRESS
from fixtures.kvm.spans import spanned
from fixtures.kvm.system import Kvm
from fixtures.kvm.values import MASTER_CLOCK, ClockFlags
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from kvmtests.x86.clocks import MARGIN_NS

pytestmark = pytest.mark.promise(de_facto="Linux 6.1 to 7.3")


@pytest.fixture
def realtime(vm: X86Vm) -> None:
    """KVM_GET_CLOCK has all three flags, and the fields that they announce."""
    vm.require_realtime()


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK")
def test_capability_names_the_flags_it_reports(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """KVM_CAP_ADJUST_CLOCK holds every flag that KVM_GET_CLOCK reports."""
    offered = vm.check_extension(uapi.KVM_CAP_ADJUST_CLOCK)
    vcpu.guest.read_tsc()

    assert int(vm.clock().flags) & ~offered == 0


def test_no_vcpu_no_master_clock(vm: X86Vm) -> None:
    """Without vCPUs the master clock is off: no flag is set, and the fields that they announce are 0."""
    clock = vm.clock()

    assert (clock.flags, clock.realtime_ns, clock.host_tsc) == (ClockFlags(0), 0, 0)


@pytest.mark.usefixtures("tsc_clocksource", "realtime")
def test_first_run_turns_the_master_clock_on(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Once the only vCPU has run, KVM_GET_CLOCK reports all three flags on a TSC host."""
    vcpu.guest.read_tsc()

    assert vm.clock().flags == MASTER_CLOCK


@pytest.mark.promise(
    de_facto="the proposals since 2024",
    began='7254e09bb5e9 ("KVM: x86: Activate master clock immediately on vCPU creation")',
)
@pytest.mark.since("master_clock_at_creation")
@pytest.mark.usefixtures("tsc_clocksource")
def test_host_tsc_is_reported_before_the_first_run(vm: X86Vm) -> None:
    """As soon as a vCPU exists KVM_GET_CLOCK has the host_tsc of its clock, which lies inside the call."""
    vm.create_vcpu(0)

    before, clock, after = bracket(vm.time.counter, vm.clock)

    assert clock.host_tsc in Window(before, after)


@pytest.mark.promise(
    de_facto="Linux 6.1 to 7.3",
    ended='7254e09bb5e9 ("KVM: x86: Activate master clock immediately on vCPU creation")',
)
@pytest.mark.before("master_clock_at_creation")
def test_immediate_exit_leaves_the_master_clock_off(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """A KVM_RUN that does not enter the guest does not evaluate the master clock."""
    vcpu.poke_without_entry()

    assert vm.clock().flags == ClockFlags(0)


@pytest.mark.usefixtures("tsc_clocksource", "realtime", "vcpu")
def test_set_clock_evaluates_the_master_clock(vm: X86Vm) -> None:
    """KVM_SET_CLOCK before any run turns the master clock on: all vCPUs, here one, match."""
    vm.set_clock(0)

    assert vm.clock().flags == MASTER_CLOCK


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK: KVM_CLOCK_HOST_TSC")
@pytest.mark.usefixtures("tsc_clocksource", "realtime")
def test_host_tsc_lies_inside_the_call(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """host_tsc is the host's TSC at an instant inside the call."""
    vcpu.guest.read_tsc()

    before, clock, after = bracket(vm.time.counter, vm.clock)

    assert clock.host_tsc in Window(before, after)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK: KVM_CLOCK_REALTIME")
@pytest.mark.usefixtures("tsc_clocksource", "realtime")
def test_realtime_lies_inside_the_call(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """The realtime field is CLOCK_REALTIME at an instant inside the call."""
    vcpu.guest.read_tsc()

    span, clock = spanned(vm.time, vm.clock)

    assert clock.realtime_ns in span.realtime_ns


def test_clock_advances_like_monotonic_raw(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Between two calls kvmclock advances by what CLOCK_MONOTONIC_RAW does."""
    vcpu.guest.read_tsc()
    first_span, first = spanned(vm.time, vm.clock)

    vm.time.sleep_ns(20 * NSEC_PER_MSEC)

    last_span, last = spanned(vm.time, vm.clock)
    assert last.kvmclock_ns - first.kvmclock_ns in first_span.until(last_span).widened(MARGIN_NS)


def test_clock_without_master_clock_also_advances(vm: X86Vm) -> None:
    """The same before any vCPU exists, where KVM answers from its base clock."""
    first_span, first = spanned(vm.time, vm.clock)

    vm.time.sleep_ns(20 * NSEC_PER_MSEC)

    last_span, last = spanned(vm.time, vm.clock)
    assert last.kvmclock_ns - first.kvmclock_ns in first_span.until(last_span).widened(MARGIN_NS)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK")
@pytest.mark.parametrize("field", ["kvmclock_ns", "host_tsc"])
def test_clock_never_goes_back(vm: X86Vm, vcpu: X86Vcpu, field: str) -> None:
    """Consecutive calls never return a lower value."""
    vcpu.guest.read_tsc()

    values = [getattr(vm.clock(), field) for _ in range(1000)]

    assert values == sorted(values)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_new_vm_starts_near_zero(kvm: Kvm[X86Vm]) -> None:
    """kvmclock of a new VM is the time since it was made."""
    time = kvm.handle.backend.time
    created, vm = spanned(time, kvm.create_vm)

    read, clock = spanned(time, vm.clock)

    assert clock.kvmclock_ns in created.until(read).widened(MARGIN_NS)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_padding_comes_back_zero(vm: X86Vm) -> None:
    """KVM zeroes the whole structure: neither kernel memory nor the caller's garbage comes back."""
    assert not any(vm.clock_padding())


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_bad_pointer_is_refused(vm: X86Vm) -> None:
    """KVM_GET_CLOCK to an address that cannot be written gives EFAULT."""
    with refused(errno.EFAULT):
        vm.handle.call(uapi.KVM_GET_CLOCK, BAD_ADDRESS)
