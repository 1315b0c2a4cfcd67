# SPDX-License-Identifier: GPL-2.0-only
"""Programs call numbers what the kernel's headers call them, and say what is so."""

from __future__ import annotations

from tools.tests.exported import exported

GIC = (
    "kvmtests/arm64/test_timer_interrupts.py::"
    "test_disabled_timer_is_silent[sim-arm64-vhe-virtual-wfi-unmasked]"
)
GUESTS_WRITE = (
    "kvmtests/x86/test_clock_monotonic.py::test_guest_write_of_the_tsc_does_not_move_kvmclock[{}-tsc]"
)
HYPERV = "kvmtests/x86/test_stimer_clock.py::test_counter_set_past_the_count_expires[sim-x86_64-by-kvmclock]"
WITHOUT_SCALING = "kvmtests/x86/test_tsc_khz.py::test_slower_frequency_needs_scaling"


def test_devices_and_their_attributes_have_names() -> None:
    """A GIC is created, placed and initialised by the names of <asm/kvm.h>, and so are a vCPU's features."""
    text = exported(GIC, "sim-arm64-vhe")

    assert "{ .type = KVM_DEV_TYPE_ARM_VGIC_V3 };" in text
    assert ".features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2;" in text
    for group, number in (
        ("KVM_DEV_ARM_VGIC_GRP_ADDR", "KVM_VGIC_V3_ADDR_TYPE_DIST"),
        ("KVM_DEV_ARM_VGIC_GRP_CTRL", "KVM_DEV_ARM_VGIC_CTRL_INIT"),
    ):
        assert f"KVM_SET_DEVICE_ATTR, {group}, {number}, " in text


def test_msrs_of_guests_have_names() -> None:
    """A guest that writes an MSR gets its name as the operand, and an address with a flag in hexadecimal."""
    text = exported(GUESTS_WRITE.format("sim-x86_64"), "sim-x86_64")

    assert "vcpu_0.mailbox->operand[0] = MSR_KVM_SYSTEM_TIME_NEW;" in text
    assert "vcpu_0.mailbox->operand[1] = 0x80001;" in text
    assert "#define MSR_KVM_SYSTEM_TIME_NEW 0x4b564d01" in text


def test_leaves_of_hyperv_take_the_place_of_kvms() -> None:
    """A vCPU with Hyper-V's CPUID leaves gets those that this KVM offers, not the recorded ones."""
    main = exported(HYPERV, "sim-x86_64").partition("int main(void)")[2]

    steps = [
        "KVM_GET_SUPPORTED_HV_CPUID, &cpuid_3",
        "use_hyperv_leaves(&cpuid_4, &cpuid_3);",
        "KVM_SET_CPUID2, &cpuid_4",
    ]
    assert [main.index(step) for step in steps] == sorted(main.index(step) for step in steps)
    assert "{ .cap = KVM_CAP_HYPERV_SYNIC2 }" in main


def test_word_of_an_array_of_bytes_is_one_value() -> None:
    """A register of a local APIC, four bytes in a structure, is read as the word that it is."""
    assert "load((const uint8_t *)&lapic_state_1.regs[48], 4)" in exported(HYPERV, "sim-x86_64")


def test_capability_that_must_be_absent_is_said_to_be_there() -> None:
    """A claim about hosts without a capability is skipped where it is there, and the program says so."""
    text = exported(WITHOUT_SCALING, "sim-x86_64-no-scaling")

    assert 'assume(capability_1 == 0, "KVM_CAP_TSC_CONTROL is there");' in text


def test_nothing_is_queried_for_nothing() -> None:
    """A capability that nothing depends on is not queried."""
    text = exported(WITHOUT_SCALING, "sim-x86_64-no-scaling")

    assert text.count("KVM_CHECK_EXTENSION") == 1
