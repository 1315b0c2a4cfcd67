# SPDX-License-Identifier: GPL-2.0-only
"""KVM_SET_CLOCK: the value that was set takes effect, judged by the host's own clocks.

Source: Documentation/virt/kvm/api.rst, KVM_SET_CLOCK; arch/x86/kvm/x86.c: kvm_vm_ioctl_set_clock().
"""

from __future__ import annotations

import errno

import pytest

from fixtures.counters import NSEC_PER_SEC
from fixtures.kvm.expect import refused
from fixtures.kvm.handle import BAD_ADDRESS
from fixtures.kvm.spans import Span, spanned
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from kvmtests.x86.clocks import MARGIN_NS

pytestmark = pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CLOCK")

CLOCKS = [
    pytest.param(0, id="zero"),
    pytest.param(180 * NSEC_PER_SEC, id="180s"),
    pytest.param(2**32, id="two-to-32"),
    pytest.param(2**63, id="two-to-63"),
    pytest.param(3 * 2**62, id="beyond-two-to-63"),
    pytest.param(2**64 - 1, id="wraps"),
]

AGES = [
    pytest.param(0, id="now"),
    pytest.param(5 * NSEC_PER_SEC, id="5s"),
    pytest.param(180 * NSEC_PER_SEC, id="180s"),
    pytest.param(3 * 365 * 86400 * NSEC_PER_SEC, id="3-years"),
]


def set_and_get(vm: X86Vm, kvmclock_ns: int, **given: int) -> tuple[Span, Span, int]:
    """Return when the clock was set, when it was read back, and what was read."""
    set_span, _ = spanned(vm.time, lambda: vm.set_clock(kvmclock_ns, **given))
    get_span, clock = spanned(vm.time, vm.clock)
    return set_span, get_span, clock.kvmclock_ns


@pytest.mark.parametrize("kvmclock_ns", CLOCKS)
def test_set_value_takes_effect(vm: X86Vm, kvmclock_ns: int) -> None:
    """After KVM_SET_CLOCK kvmclock is the given value plus the time since, modulo 2**64."""
    set_span, get_span, seen_ns = set_and_get(vm, kvmclock_ns)

    assert seen_ns in set_span.until(get_span).shifted(kvmclock_ns).widened(MARGIN_NS)


@pytest.mark.parametrize("kvmclock_ns", CLOCKS)
def test_set_value_takes_effect_after_a_run(vm: X86Vm, kvmclock_ns: int) -> None:
    """The same with the master clock on."""
    vm.create_vcpu(0).guest.read_tsc()

    set_span, get_span, seen_ns = set_and_get(vm, kvmclock_ns)

    assert seen_ns in set_span.until(get_span).shifted(kvmclock_ns).widened(MARGIN_NS)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CLOCK: KVM_CLOCK_REALTIME")
@pytest.mark.parametrize("age_ns", AGES)
def test_realtime_in_the_past_counts_as_elapsed(vm: X86Vm, age_ns: int) -> None:
    """With KVM_CLOCK_REALTIME kvmclock advances by the CLOCK_REALTIME that passed since the given instant."""
    vm.require_realtime()
    realtime_ns = vm.time.realtime_ns() - age_ns

    set_span, get_span, seen_ns = set_and_get(vm, 7 * NSEC_PER_SEC, realtime_ns=realtime_ns)

    elapsed = set_span.since_realtime(realtime_ns).plus(set_span.until(get_span))
    assert seen_ns in elapsed.shifted(7 * NSEC_PER_SEC).widened(MARGIN_NS)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CLOCK: KVM_CLOCK_REALTIME")
def test_realtime_zero_counts_since_1970(vm: X86Vm) -> None:
    """There is no upper bound: realtime 0 adds all the time since 1970."""
    vm.require_realtime()

    set_span, get_span, seen_ns = set_and_get(vm, 0, realtime_ns=0)

    elapsed = set_span.since_realtime(0).plus(set_span.until(get_span))
    assert seen_ns in elapsed.widened(MARGIN_NS)


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.parametrize(
    "ahead_ns",
    [
        pytest.param(10 * NSEC_PER_SEC, id="10s"),
        pytest.param(180 * NSEC_PER_SEC, id="180s"),
        pytest.param(10**18, id="31-years"),
    ],
)
def test_realtime_in_the_future_counts_as_now(vm: X86Vm, ahead_ns: int) -> None:
    """A realtime in the future never sets kvmclock back below the given value."""
    vm.require_realtime()

    set_span, get_span, seen_ns = set_and_get(
        vm, 7 * NSEC_PER_SEC, realtime_ns=vm.time.realtime_ns() + ahead_ns
    )

    assert seen_ns in set_span.until(get_span).shifted(7 * NSEC_PER_SEC).widened(MARGIN_NS)


def test_realtime_field_without_its_flag_is_ignored(vm: X86Vm) -> None:
    """The realtime field means nothing unless KVM_CLOCK_REALTIME is set."""
    set_span, get_span, seen_ns = set_and_get(vm, 7 * NSEC_PER_SEC, realtime_field_ns=1)

    assert seen_ns in set_span.until(get_span).shifted(7 * NSEC_PER_SEC).widened(MARGIN_NS)


def test_host_tsc_field_is_ignored(vm: X86Vm) -> None:
    """KVM_CLOCK_HOST_TSC and the host_tsc field are accepted and change nothing."""
    vm.require_realtime()

    set_span, get_span, seen_ns = set_and_get(
        vm, 7 * NSEC_PER_SEC, flags=uapi.KVM_CLOCK_HOST_TSC, host_tsc=12345
    )

    assert seen_ns in set_span.until(get_span).shifted(7 * NSEC_PER_SEC).widened(MARGIN_NS)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_padding_is_ignored(vm: X86Vm) -> None:
    """Whatever the padding holds, the call succeeds and sets the clock."""
    set_span, get_span, seen_ns = set_and_get(vm, 7 * NSEC_PER_SEC, padding=2**32 - 1)

    assert seen_ns in set_span.until(get_span).shifted(7 * NSEC_PER_SEC).widened(MARGIN_NS)


def test_clock_may_be_set_back(vm: X86Vm) -> None:
    """A value lower than the current one may be set."""
    vm.set_clock(1000 * NSEC_PER_SEC)

    set_span, get_span, seen_ns = set_and_get(vm, NSEC_PER_SEC)

    assert seen_ns in set_span.until(get_span).shifted(NSEC_PER_SEC).widened(MARGIN_NS)


@pytest.mark.usefixtures("tsc_clocksource")
def test_result_of_get_clock_can_be_set(vm: X86Vm) -> None:
    """What KVM_GET_CLOCK returned, flags and all, is a valid argument of KVM_SET_CLOCK."""
    vm.require_realtime()
    vm.create_vcpu(0).guest.read_tsc()
    first = vm.clock()

    set_span, last_span, seen_ns = set_and_get(
        vm,
        first.kvmclock_ns,
        realtime_ns=first.realtime_ns,
        flags=int(first.flags),
        host_tsc=first.host_tsc,
    )

    elapsed = set_span.since_realtime(first.realtime_ns).plus(set_span.until(last_span))
    assert seen_ns - first.kvmclock_ns in elapsed.widened(MARGIN_NS)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(1 << 0, id="bit-0"),
        pytest.param(1 << 4, id="bit-4"),
        pytest.param(1 << 31, id="bit-31"),
        pytest.param(0xF, id="with-known-ones"),
    ],
)
def test_unknown_flag_is_refused_and_changes_nothing(vm: X86Vm, flags: int) -> None:
    """A flag outside of KVM_CLOCK_TSC_STABLE, _REALTIME, _HOST_TSC gives EINVAL; the clock continues."""
    set_span, _ = spanned(vm.time, lambda: vm.set_clock(7 * NSEC_PER_SEC))

    with refused(errno.EINVAL):
        vm.set_clock(500 * NSEC_PER_SEC, flags=flags)

    get_span, clock = spanned(vm.time, vm.clock)
    assert clock.kvmclock_ns in set_span.until(get_span).shifted(7 * NSEC_PER_SEC).widened(MARGIN_NS)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_bad_pointer_is_refused_and_changes_nothing(vm: X86Vm) -> None:
    """KVM_SET_CLOCK from an address that cannot be read gives EFAULT; the clock continues."""
    set_span, _ = spanned(vm.time, lambda: vm.set_clock(7 * NSEC_PER_SEC))

    with refused(errno.EFAULT):
        vm.handle.call(uapi.KVM_SET_CLOCK, BAD_ADDRESS)

    get_span, clock = spanned(vm.time, vm.clock)
    assert clock.kvmclock_ns in set_span.until(get_span).shifted(7 * NSEC_PER_SEC).widened(MARGIN_NS)
