# SPDX-License-Identifier: GPL-2.0-only
"""The timers' interrupt numbers with an in-kernel GICv3: PPIs that user space sets before the first run.

Source: Documentation/virt/kvm/devices/vcpu.rst, 2; arch/arm64/kvm/arch_timer.c:
kvm_arm_timer_set_attr(), timer_irqs_are_valid(), kvm_timer_enable().
"""

from __future__ import annotations

import errno

import pytest

from fixtures.kvm.arm64.gic import Gic
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.attribute import Attribute
from fixtures.kvm.expect import refused
from fixtures.kvm.handle import BAD_ADDRESS
from fixtures.uapi.arm64 import kvm as kvm_arm64
from kvmtests.arm64.timers import VIRTUAL

pytestmark = [
    pytest.mark.promise(
        documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_ARM_VCPU_TIMER_IRQ_VTIMER and others"
    ),
    pytest.mark.thorough,
]

VTIMER = kvm_arm64.KVM_ARM_VCPU_TIMER_IRQ_VTIMER
PTIMER = kvm_arm64.KVM_ARM_VCPU_TIMER_IRQ_PTIMER
HVTIMER = kvm_arm64.KVM_ARM_VCPU_TIMER_IRQ_HVTIMER
HPTIMER = kvm_arm64.KVM_ARM_VCPU_TIMER_IRQ_HPTIMER
EL1_TIMERS = [pytest.param(VTIMER, id="IRQ_VTIMER"), pytest.param(PTIMER, id="IRQ_PTIMER")]
NO_PPI = [0, 15, 32, 2**31 - 1, -1]


@pytest.fixture(autouse=True)
def gic(vcpus: list[Arm64Vcpu]) -> Gic:
    """An in-kernel GICv3 for two vCPUs, not initialised yet."""
    return vcpus[0].vm.create_gic()


def number(vcpu: Arm64Vcpu, timer: int) -> Attribute:
    """Return the attribute that holds the interrupt number of *timer*."""
    return vcpu.attribute(kvm_arm64.KVM_ARM_VCPU_TIMER_CTRL, timer, f"interrupt number of timer {timer}")


def numbers(vcpus: list[Arm64Vcpu], *timers: int) -> list[list[int]]:
    """Return the interrupt numbers of *timers* as each vCPU has them."""
    return [[number(vcpu, timer).get_int() for timer in timers] for vcpu in vcpus]


@pytest.mark.parametrize("timer", EL1_TIMERS)
def test_number_reads_back_on_every_vcpu(vcpus: list[Arm64Vcpu], timer: int) -> None:
    """A number from 16 to 31 that is set through one vCPU is the number on all."""
    seen = []
    for irq in (16, 23, 31):
        number(vcpus[1], timer).set_int(irq)
        seen.append(numbers(vcpus, timer))

    assert seen == [[[irq], [irq]] for irq in (16, 23, 31)]


@pytest.mark.parametrize("timer", EL1_TIMERS)
def test_number_must_be_a_ppi(vcpus: list[Arm64Vcpu], timer: int) -> None:
    """A number below 16 or above 31 gives EINVAL; the number stays."""
    number(vcpus[0], timer).set_int(20)

    for irq in NO_PPI:
        with refused(errno.EINVAL):
            number(vcpus[0], timer).set_int(irq)

    assert numbers(vcpus, timer) == [[20], [20]]


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
@pytest.mark.parametrize("timer", EL1_TIMERS)
def test_bad_pointer_is_refused(vcpus: list[Arm64Vcpu], timer: int) -> None:
    """A value that cannot be read gives EFAULT; the number stays."""
    before = numbers(vcpus, timer)

    with refused(errno.EFAULT):
        number(vcpus[0], timer).set_from(BAD_ADDRESS)

    assert numbers(vcpus, timer) == before


@pytest.mark.generation("upstream")
def test_el2_timers_have_numbers_as_well(vm: Arm64Vm, vcpus: list[Arm64Vcpu]) -> None:
    """All four numbers are set and read back independently."""
    vm.require_counter_offset()

    for timer, irq in enumerate((21, 22, 23, 24)):
        number(vcpus[0], timer).set_int(irq)

    assert numbers(vcpus, VTIMER, PTIMER, HVTIMER, HPTIMER) == [[21, 22, 23, 24]] * 2


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
@pytest.mark.generation("upstream")
def test_pointer_then_number_then_attribute_are_checked(vm: Arm64Vm, vcpus: list[Arm64Vcpu]) -> None:
    """A bad pointer gives EFAULT, then a number outside the PPIs EINVAL, then an unknown attribute ENXIO."""
    vm.require_counter_offset()
    unknown = number(vcpus[0], 4)

    with refused(errno.EFAULT):
        unknown.set_from(BAD_ADDRESS)
    with refused(errno.EINVAL):
        unknown.set_int(32)
    with refused(errno.ENXIO):
        unknown.set_int(20)

    assert numbers(vcpus, VTIMER, PTIMER, HVTIMER, HPTIMER) == [[27, 30, 28, 26]] * 2


def test_first_run_freezes_the_numbers(vcpus: list[Arm64Vcpu], gic: Gic) -> None:
    """Once every vCPU has run, setting the number gives EBUSY, even if it is the same number again."""
    number(vcpus[0], VTIMER).set_int(20)
    gic.init()
    for vcpu in vcpus:
        vcpu.guest.read_cntvct()

    for irq in (21, 20):
        with refused(errno.EBUSY):
            number(vcpus[0], VTIMER).set_int(irq)

    assert numbers(vcpus, VTIMER) == [[20], [20]]


@pytest.mark.generation("upstream")
def test_run_of_one_vcpu_freezes_the_numbers_of_all(vm: Arm64Vm, vcpus: list[Arm64Vcpu], gic: Gic) -> None:
    """The numbers belong to the VM: after one vCPU has run, no vCPU may change them."""
    vm.require_counter_offset()
    gic.init()
    vcpus[0].guest.read_cntvct()

    for timer in (VTIMER, PTIMER, HVTIMER, HPTIMER):
        with refused(errno.EBUSY):
            number(vcpus[1], timer).set_int(20)

    assert numbers(vcpus, VTIMER, PTIMER, HVTIMER, HPTIMER) == [[27, 30, 28, 26]] * 2


@pytest.mark.parametrize(
    ("timer", "own", "other"),
    [pytest.param(VTIMER, 27, 30, id="IRQ_VTIMER"), pytest.param(PTIMER, 30, 27, id="IRQ_PTIMER")],
)
def test_equal_numbers_do_not_run(vcpus: list[Arm64Vcpu], gic: Gic, timer: int, own: int, other: int) -> None:
    """Two timers may be set to one number; KVM_RUN then gives EINVAL until they differ again."""
    vcpu = vcpus[0]
    number(vcpu, timer).set_int(other)
    gic.init()
    with refused(errno.EINVAL):
        vcpu.guest.read_cntvct()

    number(vcpu, timer).set_int(own)

    reading = vcpu.guest.read_cntpct()
    assert reading.value in reading.window


@pytest.mark.parametrize("timer", EL1_TIMERS)
def test_equal_numbers_keep_every_vcpu_out(vcpus: list[Arm64Vcpu], gic: Gic, timer: int) -> None:
    """A number that one vCPU gives two timers is every vCPU's, and none runs; the numbers stay as set."""
    number(vcpus[1], timer).set_int(19)
    number(vcpus[0], VTIMER + PTIMER - timer).set_int(19)
    gic.init()

    for vcpu in vcpus:
        with refused(errno.EINVAL):
            vcpu.guest.read_cntvct()

    assert numbers(vcpus, VTIMER, PTIMER) == [[19, 19]] * 2


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_CAP_ARM_USER_IRQ")
def test_lines_belong_to_the_gic(vcpus: list[Arm64Vcpu], gic: Gic) -> None:
    """With an in-kernel GIC a raised line neither shows in kvm_run nor ends KVM_RUN."""
    vcpu = vcpus[0]
    gic.init()
    VIRTUAL.arm(vcpu, VIRTUAL.count(vcpu))

    reading = vcpu.guest.read_cntpct()

    assert reading.value in reading.window
    assert vcpu.device_irq_level == 0
