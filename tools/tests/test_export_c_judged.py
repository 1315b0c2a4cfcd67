# SPDX-License-Identifier: GPL-2.0-only
"""What a program judges, rather than take it as it was recorded, and what it does not carry along."""

from __future__ import annotations

from tools.tests.exported import export, exported

WINDOW = "kvmtests/x86/test_tsc_offset.py::test_guest_tsc_is_host_tsc_plus_offset[sim-x86_64-plus-180e9]"
LATE_DISTRIBUTOR = (
    "kvmtests/arm64/test_timers_moved.py::"
    "test_guest_that_enables_its_distributor_gets_the_interrupt_that_waits[sim-arm64-vhe-virtual]"
)
SILENT = (
    "kvmtests/arm64/test_timer_interrupts.py::"
    "test_disabled_timer_is_silent[sim-arm64-vhe-virtual-wfi-unmasked]"
)
SCALED_CLOCK = (
    "kvmtests/x86/test_tsc_khz.py::test_scaled_record_and_get_clock_agree[sim-x86_64-a-quarter-more]"
)
UNHURRIED = (
    "kvmtests/arm64/test_timers_and_offsets.py::"
    "test_guest_waits_as_long_as_it_programmed[sim-arm64-vhe-plus-5s-physical]"
)
VIEWS = "kvmtests/x86/test_views.py::test_every_view_follows[sim-x86_64-offset]"
AGED = "kvmtests/arm64/test_age.py::test_sleeper_wakes_at_its_deadline[sim-arm64-vhe-1h-physical]"


def test_programs_look_at_the_counter_only_if_they_use_it() -> None:
    """A program that judges no instant of KVM_RUN does not read the host's counter around it."""
    assert "host_counter" in exported(WINDOW, "sim-x86_64")
    assert "host_counter" not in exported(LATE_DISTRIBUTOR, "sim-arm64-vhe")


def test_interrupts_are_counted() -> None:
    """How many interrupts came, and which, is a check, not a condition for judging at all."""
    text = exported(LATE_DISTRIBUTOR, "sim-arm64-vhe")

    assert "check(how_many(sample_1, guest_2, 27), ==, 1, " in text
    assert "as_recorded(" not in text.partition("int main(void)")[2]


def test_no_interrupt_is_a_check() -> None:
    """Where a claim expects no interrupt, none of those that a guest counts may be the timer's."""
    text = exported(SILENT, "sim-arm64-vhe")

    assert "check_wide((wide)guest_1 - how_many(sample_1, guest_1, 30), ==, 0, " in text


def test_record_is_evaluated_whatever_its_shift_is() -> None:
    """kvmclock of a record is one function of the program; the sign of tsc_shift decides nothing else."""
    main = exported(SCALED_CLOCK, "sim-x86_64").partition("int main(void)")[2]

    assert "check_window(pvclock_ns(&record_1, " in main
    assert "tsc_shift" not in main


def test_claim_that_sleeps_for_an_hour_has_no_program() -> None:
    """A program ends within a minute, so time that only a simulated host lets pass at once has none."""
    done = export(AGED, "--target", "sim-arm64-vhe")

    assert done.returncode == 1
    assert "it sleeps for 3,600 s" in done.stderr


def test_program_measures_how_slow_its_host_is() -> None:
    """A deadline that must not pass too early is as far as the host that runs the program needs."""
    main = exported(UNHURRIED, "sim-arm64-vhe").partition("int main(void)")[2]

    assert main.count("clock_ns(CLOCK_MONOTONIC_RAW)") == 2
    assert "sleep_ns((uint64_t)maximum(10000000, (((wide)raw_2 - raw_1) * 20)));" in main


def test_both_sides_of_an_or_are_judged() -> None:
    """What the recorded run did not come to, since one side held, may be what holds where a program runs."""
    main = exported(VIEWS, "sim-x86_64").partition("int main(void)")[2]

    assert main.count("check_that(") == main.count(" || ") == 12
