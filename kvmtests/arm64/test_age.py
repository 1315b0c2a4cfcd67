# SPDX-License-Identifier: GPL-2.0-only
"""Relations between counters, clocks and timers hold as well when nothing has refreshed them for long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.counters import NSEC_PER_SEC, Window, wrap
from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.values import Reading
from fixtures.targets import Probe, Target
from kvmtests.arm64.counters import COUNTERS, SPARE, offset_counter, ticks
from kvmtests.arm64.ptp import ARGUMENTS, call_ptp, pair, require_ptp
from kvmtests.arm64.timers import ENABLE, ISTATUS, PHYSICAL, TIMERS, VIRTUAL, Timer, require_lines

pytestmark = [
    pytest.mark.promise(architectural="Arm ARM, The Generic Timer: CNTVCT_EL0, CNTPCT_EL0"),
    pytest.mark.thorough,
]

SHORT_S = 5
AGES = [
    pytest.param(SHORT_S, id="5s"),
    pytest.param(3600, id="1h"),
    pytest.param(400 * 86_400, id="400d"),
]
OFFSET = 12345
ROUNDING_NS = 2

Aged = Callable[[Arm64Vm, int], None]


@pytest.fixture
def aged(target: Target) -> Aged:
    """Let a VM grow older, by seconds; real time is too dear for more than a few of them."""

    def sleep(vm: Arm64Vm, age_s: int) -> None:
        if age_s > SHORT_S and not target.simulated:
            raise CapabilityMissing("a host whose time costs nothing")
        vm.time.sleep_ns(age_s * NSEC_PER_SEC)

    return sleep


def by_register(vcpu: Arm64Vcpu, counter: Counter) -> Reading:
    """Return the *counter* by KVM_GET_ONE_REG, between two readings of the host's."""
    timer = {Counter.VIRTUAL: VIRTUAL, Counter.PHYSICAL: PHYSICAL}[counter]
    before = vcpu.vm.time.counter()
    value = timer.get(vcpu, "cnt")
    return Reading(before, value, vcpu.vm.time.counter(), vcpu.vm.counter_bits)


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("age_s", AGES)
def test_counter_is_the_hosts_less_its_offset(
    vm: Arm64Vm, vcpus: list[Arm64Vcpu], aged: Aged, counter: Counter, age_s: int
) -> None:
    """An offset of long ago holds for a vCPU that slept, and for one that never ran."""
    offset_counter(vcpus[0], counter, OFFSET)
    vcpus[0].guest.read_counter(counter)

    aged(vm, age_s)

    for vcpu in vcpus:
        reading = vcpu.guest.read_counter(counter)
        assert reading.value in reading.window.shifted(-OFFSET)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_ARM_SET_COUNTER_OFFSET")
@pytest.mark.generation("upstream")
@pytest.mark.mode("vhe", "nvhe")
@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("age_s", AGES)
def test_offset_of_long_ago_holds_for_a_new_vcpu(
    vm: Arm64Vm, vcpu: Arm64Vcpu, aged: Aged, counter: Counter, age_s: int
) -> None:
    """A vCPU made long after KVM_ARM_SET_COUNTER_OFFSET has its offset, and the first one keeps it."""
    vm.require_counter_offset()
    vm.set_counter_offset(OFFSET)

    aged(vm, age_s)

    for each in (vm.create_vcpu(1), vcpu):
        reading = each.guest.read_counter(counter)
        assert reading.value in reading.window.shifted(-OFFSET)


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("age_s", AGES)
def test_guest_and_register_read_one_counter(
    vm: Arm64Vm, vcpu: Arm64Vcpu, aged: Aged, counter: Counter, age_s: int
) -> None:
    """KVM_GET_ONE_REG of a counter lies between two of the guest's readings, however old the VM is."""
    vcpu.guest.read_counter(counter)

    aged(vm, age_s)

    before = vcpu.guest.read_counter(counter)
    value = by_register(vcpu, counter).value
    after = vcpu.guest.read_counter(counter)
    assert value in Window(before.value, after.value, vm.counter_bits)


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("age_s", AGES)
def test_counter_has_counted_as_the_host(
    vm: Arm64Vm, vcpu: Arm64Vcpu, aged: Aged, counter: Counter, age_s: int
) -> None:
    """A counter that nobody read has made as many ticks as the host's, to the register and to the guest."""
    first = vcpu.guest.read_counter(counter)

    aged(vm, age_s)

    for last in (by_register(vcpu, counter), vcpu.guest.read_counter(counter)):
        elapsed = last.since(first.before, first.after)
        assert (last.value - first.value) % 2**vm.counter_bits in elapsed


@pytest.mark.promise(
    documented="Documentation/virt/kvm/arm/ptp_kvm.rst, ARM_SMCCC_VENDOR_HYP_KVM_PTP_FUNC_ID"
)
@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("age_s", AGES)
def test_ptp_counts_with_the_counter(
    vm: Arm64Vm, vcpu: Arm64Vcpu, target_facts: Probe, aged: Aged, counter: Counter, age_s: int
) -> None:
    """The PTP hypercall's counter and realtime advance together: by the counter's frequency."""
    require_ptp(vcpu, target_facts)
    hz = int(target_facts.facts["counter_hz"])
    first_ns, first = pair(call_ptp(vcpu, ARGUMENTS[counter]))

    aged(vm, age_s)
    last_ns, last = pair(call_ptp(vcpu, ARGUMENTS[counter]))

    elapsed_ns = (last - first) % 2**vm.counter_bits * NSEC_PER_SEC // hz
    tolerance_ns = -(-NSEC_PER_SEC // hz) + ROUNDING_NS + elapsed_ns // 1000  # NTP steers CLOCK_REALTIME
    assert last_ns - first_ns in Window(elapsed_ns, elapsed_ns).widened(tolerance_ns)


@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize("age_s", AGES)
def test_deadline_of_long_ago_has_come(
    vm: Arm64Vm, vcpu: Arm64Vcpu, aged: Aged, target_facts: Probe, timer: Timer, age_s: int
) -> None:
    """A deadline half of the time ago shows in ISTATUS and on the line, and one after now does not."""
    require_lines(vcpu)
    span = ticks(target_facts, age_s * NSEC_PER_SEC)
    timer.arm(vcpu, wrap(timer.count(vcpu) + span // 2))

    aged(vm, age_s)

    assert timer.line(vcpu)
    assert timer.read(vcpu, "ctl").value & ISTATUS
    timer.write(vcpu, "cval", wrap(timer.count(vcpu) + SPARE))
    assert not timer.line(vcpu)
    assert timer.read(vcpu, "ctl").value == ENABLE


@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize("age_s", AGES[:2])
def test_sleeper_wakes_at_its_deadline(
    vm: Arm64Vm, vcpu: Arm64Vcpu, aged: Aged, target_facts: Probe, timer: Timer, age_s: int
) -> None:
    """A vCPU in WFI sleeps until its deadline, however far that is and however old the VM."""
    aged(vm, age_s)
    cval = wrap(timer.count(vcpu) + ticks(target_facts, (1 if age_s == SHORT_S else age_s) * NSEC_PER_SEC))
    timer.arm(vcpu, cval)

    woken = vcpu.guest.wait_for_interrupt().of(timer.counter)

    assert (woken - cval) % 2**vm.counter_bits < 2 ** (vm.counter_bits - 1)
