# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's selftests about clocks and counters, and the claims that assert the same.

docs/claims-x86.md and docs/claims-arm64.md map each single assertion; here are the claims whose
verdicts together must be a program's. What a program only prints has no row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fixtures.architectures import ARM64, X86_64


@dataclass(frozen=True, slots=True)
class Selftest:
    """One program of tools/testing/selftests/kvm, without folder and suffix, and its claims' node ids."""

    name: str
    claims: tuple[str, ...]
    older_name: str = ""  # in trees before it was renamed

    @property
    def names(self) -> tuple[str, ...]:
        """Return what the program is called, in newer trees first."""
        return (self.name, self.older_name) if self.older_name else (self.name,)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended."""

    status: int | None  # its exit status; None: it has none, and the log says why
    log: str


def _in(module: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"kvmtests/{module}.py::{test}" for test in tests)


_X86 = (
    Selftest(
        "kvm_clock_test",
        _in(
            "x86/test_kvmclock",
            "test_guest_reads_between_two_get_clocks",
            "test_guest_follows_a_clock_set_by_realtime",
            "test_guest_sees_the_set_value",
        )
        + _in("x86/test_get_clock", "test_first_run_turns_the_master_clock_on"),
    ),
    Selftest(
        "system_counter_offset_test",
        _in("x86/test_tsc_offset", "test_guest_tsc_is_host_tsc_plus_offset"),
    ),
    Selftest(
        "tsc_msrs_test",
        _in(
            "x86/test_tsc_msrs",
            "test_first_vcpu_starts_at_zero",
            "test_guest_tsc_write_moves_tsc_and_adjust",
            "test_guest_adjust_write_moves_the_tsc_by_the_difference",
            "test_host_tsc_write_leaves_adjust_alone",
            "test_host_adjust_write_leaves_the_tsc_alone",
            "test_guest_adjust_write_keeps_the_hosts_write",
            "test_guest_tsc_write_shows_the_hosts_write_in_adjust",
        ),
    ),
    Selftest(
        "tsc_scaling_sync",
        _in("x86/test_tsc_khz", "test_scaled_vcpus_keep_together", "test_later_vcpus_join_the_scaled_line"),
    ),
    Selftest(
        "hyperv_clock",
        _in(
            "x86/test_hyperv_clock",
            "test_guest_count_advances_with_time",
            "test_host_count_advances_with_time",
            "test_page_that_is_not_enabled_is_zero",
            "test_enabled_page_holds",
            "test_page_and_count_are_one_clock",
            "test_page_follows_set_clock",
            "test_emulated_tsc_keeps_its_page",
            "test_disabled_page_is_not_written",
        ),
    ),
    Selftest("kvm_pv_test", _in("x86/test_pv_features", "test_msr_without_its_feature_does_not_exist")),
    Selftest(
        "steal_time",
        _in(
            "x86/test_steal_time",
            "test_reserved_bits_are_refused",
            "test_area_is_consistent",
            "test_steal_is_what_the_thread_waited",
        ),
    ),
    Selftest(
        "xen_shinfo_test",
        _in("x86/test_xen", "test_wall_clock_and_kvmclock_make_realtime", "test_xen_guest_reads_kvmclock"),
    ),
    # Need VMX, until they were made for SVM as well, and renamed.
    Selftest(
        "nested_tsc_adjust_test",
        _in("x86/test_nested", "test_l2_write_sets_l1s_tsc", "test_l2_adjust_write_moves_both")
        + _in("x86/test_nested_vmx", "test_failed_entry_changes_nothing"),
        older_name="vmx_tsc_adjust_test",
    ),
    Selftest(
        "nested_tsc_scaling_test",
        _in("x86/test_nested_vmx", "test_l2_reads_the_scaled_tsc", "test_ratios_multiply"),
        older_name="vmx_nested_tsc_scaling_test",
    ),
    Selftest(
        "vmx_preemption_timer_test",
        _in(
            "x86/test_nested_vmx_timer",
            "test_timer_ends_l2_and_is_not_early",
            "test_restored_timer_keeps_its_end",
        ),
    ),
)

_ARM64 = (
    Selftest(
        "arch_timer",
        _in("arm64/test_timer_deadlines", "test_timer_wakes_a_sleeping_vcpu")
        + _in("arm64/test_timers_and_offsets", "test_guest_waits_as_long_as_it_programmed"),
    ),
    Selftest(
        "arch_timer_edge_cases",
        _in(
            "arm64/test_timers",
            "test_status_changes_when_the_count_reaches_cval",
            "test_status_comes_and_is_never_early",
            "test_tval_of_zero_and_below_is_due",
        )
        + _in(
            "arm64/test_timer_deadlines", "test_far_deadline_does_not_come_early", "test_last_deadline_counts"
        ),
    ),
    Selftest(
        "get-reg-list",
        _in(
            "arm64/test_register_list",
            "test_virtual_timer_and_counter_are_listed",
            "test_physical_timer_and_counter_are_listed",
            "test_listed_registers_can_be_read",
            "test_registers_can_be_written",
        ),
    ),
    Selftest(
        "steal_time",
        _in("arm64/test_steal_time", "test_unaligned_address_is_refused", "test_address_is_set_once"),
    ),
)

BY_ARCHITECTURE: Mapping[str, tuple[Selftest, ...]] = {X86_64.name: _X86, ARM64.name: _ARM64}
