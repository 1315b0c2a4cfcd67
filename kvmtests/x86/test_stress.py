# SPDX-License-Identifier: GPL-2.0-only
"""Clocks under load: guests that read while user space writes, signals, and a thousand VMs.

Source: arch/x86/kvm/x86.c: kvm_start_pvclock_update(), tsc_write_lock; Documentation/virt/kvm/api.rst.
"""

from __future__ import annotations

import functools

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC, Window
from fixtures.kvm.exits import Interrupted
from fixtures.kvm.spans import Span, spanned
from fixtures.kvm.system import Kvm
from fixtures.kvm.threads import Until, together
from fixtures.kvm.values import MASTER_CLOCK, Clock
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from kvmtests.x86.clocks import MARGIN_NS, enter_all, flags_after_entry

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CLOCK"),
    pytest.mark.stress,
]

SLEW_NS = 100_000  # more than NTP slews CLOCK_REALTIME between two sets, less than lies between them
ROUNDS = 300
VMS = 1_000


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK")
@pytest.mark.usefixtures("tsc_clocksource")
def test_get_clock_never_mixes_two_snapshots(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """While another thread sets kvmclock on one and the same line, every reading lies on that line.

    KVM_SET_CLOCK may be off by as long as the call took; a reading torn between two snapshots
    would be off by the time between them.
    """
    vcpu.guest.read_tsc()
    origin_ns = vm.time.realtime_ns()
    vm.set_clock(1000 * NSEC_PER_SEC, realtime_ns=origin_ns)
    until = Until()
    spans: list[Span] = []
    clocks: list[Clock] = []

    def write() -> None:
        for _ in range(ROUNDS):
            span, _ = spanned(vm.time, lambda: vm.set_clock(1000 * NSEC_PER_SEC, realtime_ns=origin_ns))
            spans.append(span)
            vm.time.sleep_ns(2 * NSEC_PER_MSEC)

    def read() -> None:
        clocks.extend(vm.clock() for _ in until.repeat())

    together(lambda: until.finished(write), read)

    late_ns = max(span.raw_ns.width for span in spans)
    for clock in clocks:
        assert clock.flags == MASTER_CLOCK
        on_the_line = 1000 * NSEC_PER_SEC + clock.realtime_ns - origin_ns
        assert clock.kvmclock_ns in Window(on_the_line, on_the_line + late_ns).widened(SLEW_NS)


def test_guests_read_while_user_space_sets_the_clock(vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """Every kvmclock that a guest reads belongs to one of the values that user space sets."""
    for vcpu in vcpus:
        vcpu.guest.enable_kvmclock()
    vm.set_clock(0)
    enter_all(vcpus)
    until = Until()

    def write() -> None:
        for second in range(ROUNDS):
            vm.set_clock(second * 1000 * NSEC_PER_SEC)

    def read(vcpu: X86Vcpu) -> None:
        for _ in until.repeat():
            seen = vcpu.guest.read_kvmclock()
            assert seen.kvmclock_ns % (1000 * NSEC_PER_SEC) < 100 * NSEC_PER_SEC
            assert seen.kvmclock_ns < ROUNDS * 1000 * NSEC_PER_SEC

    together(lambda: until.finished(write), *(functools.partial(read, vcpu) for vcpu in vcpus))


@pytest.mark.promise(documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_OFFSET")
@pytest.mark.usefixtures("settable_tsc")
def test_guests_read_while_user_space_sets_offsets(vcpus: list[X86Vcpu]) -> None:
    """Each vCPU's own thread sets an offset and finds its guest on that line, whatever the others do."""

    def set_and_read(vcpu: X86Vcpu) -> None:
        for number in range(ROUNDS):
            tsc_offset = 2**40 * (vcpu.id + 1) + number
            vcpu.tsc_offset = tsc_offset
            reading = vcpu.guest.read_tsc()
            assert reading.value in reading.window.shifted(tsc_offset)

    together(*(functools.partial(set_and_read, vcpu) for vcpu in vcpus))


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.usefixtures("tsc_clocksource")
def test_state_settles_after_concurrent_writes(vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """Whatever threads did to clock and offsets, once offsets are equal the master clock is on."""

    def fiddle(vcpu: X86Vcpu) -> None:
        for number in range(ROUNDS):
            vcpu.tsc_offset = 2**40 + number % 3
            vcpu.guest.read_tsc()
            vm.set_clock(number)

    together(*(functools.partial(fiddle, vcpu) for vcpu in vcpus))
    for vcpu in vcpus:
        vcpu.tsc_offset = 2**40

    assert flags_after_entry(*vcpus) == MASTER_CLOCK


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_RUN")
def test_signals_do_not_disturb_the_clock(vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """KVM_RUN interrupted again and again ends with EINTR each time; kvmclock continues meanwhile."""
    vcpu, _ = vcpus
    vcpu.guest.enable_kvmclock()
    first_span, first = spanned(vm.time, vcpu.guest.read_kvmclock)

    for _ in range(20):
        with vcpu.guest.spinning():
            pass
        vcpu.poke_without_entry()

    last_span, last = spanned(vm.time, vcpu.guest.read_kvmclock)
    assert last.kvmclock_ns - first.kvmclock_ns in first_span.until(last_span).widened(MARGIN_NS)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, the kvm_run structure: immediate_exit")
def test_interrupted_run_is_reported_as_such(vcpu: X86Vcpu) -> None:
    """While immediate_exit is set every KVM_RUN fails with EINTR, and none runs the guest."""
    vcpu.guest.load("tsc")
    where = vcpu.where()
    vcpu.immediate_exit = True

    exits = [vcpu.run() for _ in range(ROUNDS)]

    vcpu.immediate_exit = False
    assert [type(left) for left in exits] == [Interrupted] * ROUNDS
    assert vcpu.where() == where


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK")
def test_vms_by_the_thousand(kvm: Kvm[X86Vm]) -> None:
    """Each of 1,000 VMs, created one after the other, has a clock of its own that shows the right time."""
    for _ in range(VMS):
        vm = kvm.create_vm()
        vcpu = vm.create_vcpu(0)
        vcpu.guest.enable_kvmclock()
        vm.set_clock(1000 * NSEC_PER_SEC)
        before, seen, after = vm.clock(), vcpu.guest.read_kvmclock(), vm.clock()
        assert seen.kvmclock_ns in Window(before.kvmclock_ns, after.kvmclock_ns)
        vm.close()
        kvm.vms.remove(vm)


def test_vms_at_once_keep_their_own_clocks(kvm: Kvm[X86Vm]) -> None:
    """50 VMs at the same time keep the clocks that each was given."""
    vms: list[tuple[X86Vm, Span, int]] = []
    for number in range(50):
        vm = kvm.create_vm()
        vm.create_vcpu(0).guest.read_tsc()
        span, _ = spanned(vm.time, functools.partial(vm.set_clock, number * 1000 * NSEC_PER_SEC))
        vms.append((vm, span, number * 1000 * NSEC_PER_SEC))

    for vm, set_span, kvmclock_ns in vms:
        get_span, clock = spanned(vm.time, vm.clock)
        assert clock.kvmclock_ns in set_span.until(get_span).shifted(kvmclock_ns).widened(MARGIN_NS)
