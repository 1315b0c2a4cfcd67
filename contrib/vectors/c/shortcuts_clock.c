// SPDX-License-Identifier: GPL-2.0-only
/* Shortcuts of x86-set-clock, x86-leap-second. */
#include "shortcuts.h"

static s128 realtime_gained(const struct vector *v)
{
	return (s128)in(v, "now_realtime_ns") - in(v, "realtime_ns");
}

static s128 clock_plus(const struct vector *v, s128 elapsed_ns)
{
	return (u64)(in(v, "kvmclock_ns") + (in(v, "flags") & 4 ? elapsed_ns : 0));
}

SHORTCUT(x86_set_clock_realtime_lost)
{
	return in(v, "kvmclock_ns");
}

SHORTCUT(x86_set_clock_flag_not_read)
{
	return clock_after_set(in(v, "kvmclock_ns"), in(v, "realtime_ns"), in(v, "now_realtime_ns"));
}

SHORTCUT(x86_set_clock_not_clamped)
{
	return clock_plus(v, realtime_gained(v));
}

SHORTCUT(x86_set_clock_absolute)
{
	return clock_plus(v, realtime_gained(v) < 0 ? -realtime_gained(v) : realtime_gained(v));
}

SHORTCUT(x86_set_clock_elapsed_in_32_bits)
{
	return clock_plus(v, (uint32_t)MAX(0, realtime_gained(v)));
}

SHORTCUT(x86_set_clock_elapsed_in_us)
{
	s128 us = (s128)(in(v, "now_realtime_ns") / 1000) - in(v, "realtime_ns") / 1000;

	return clock_plus(v, MAX(0, us) * 1000);
}

SHORTCUT(x86_set_clock_realtime_in_double)
{
	double gained = (double)in(v, "now_realtime_ns") - (double)in(v, "realtime_ns");

	return clock_plus(v, MAX(0, (s128)gained));
}

SHORTCUT(x86_set_clock_saturated)
{
	s128 sum = in(v, "kvmclock_ns") + (in(v, "flags") & 4 ? MAX(0, realtime_gained(v)) : 0);

	return sum > (s128)UINT64_MAX ? (s128)UINT64_MAX : sum;
}

SHORTCUT(x86_set_clock_subtracted)
{
	return clock_plus(v, -MAX(0, realtime_gained(v)));
}

SHORTCUT(x86_set_clock_added_by_the_vmm_too)
{
	return clock_plus(v, 2 * MAX(0, realtime_gained(v)));
}

static s128 leap_ns(const struct vector *v)
{
	return ((s128)in(v, "now_tai_offset_s") - in(v, "tai_offset_s")) * NSEC_PER_SEC;
}

static s128 clock_given(const struct vector *v, s128 realtime_ns)
{
	return clock_after_set(in(v, "kvmclock_ns"), (u64)realtime_ns, in(v, "now_realtime_ns"));
}

SHORTCUT(x86_leap_second_leap_ignored)
{
	return clock_given(v, in(v, "realtime_ns"));
}

SHORTCUT(x86_leap_second_tai_given)
{
	return clock_given(v, in(v, "realtime_ns") + in(v, "tai_offset_s") * NSEC_PER_SEC);
}

SHORTCUT(x86_leap_second_wrong_direction)
{
	return clock_given(v, in(v, "realtime_ns") + leap_ns(v));
}

SHORTCUT(x86_leap_second_corrected_afterwards)
{
	return (u64)(clock_given(v, in(v, "realtime_ns")) + leap_ns(v));
}

const struct shortcut shortcuts_clock[] = {
	{ "x86-set-clock", "realtime-lost", x86_set_clock_realtime_lost },
	{ "x86-set-clock", "flag-not-read", x86_set_clock_flag_not_read },
	{ "x86-set-clock", "not-clamped", x86_set_clock_not_clamped },
	{ "x86-set-clock", "absolute", x86_set_clock_absolute },
	{ "x86-set-clock", "elapsed-in-32-bits", x86_set_clock_elapsed_in_32_bits },
	{ "x86-set-clock", "elapsed-in-us", x86_set_clock_elapsed_in_us },
	{ "x86-set-clock", "realtime-in-double", x86_set_clock_realtime_in_double },
	{ "x86-set-clock", "saturated", x86_set_clock_saturated },
	{ "x86-set-clock", "subtracted", x86_set_clock_subtracted },
	{ "x86-set-clock", "added-by-the-vmm-too", x86_set_clock_added_by_the_vmm_too },
	{ "x86-leap-second", "leap-ignored", x86_leap_second_leap_ignored },
	{ "x86-leap-second", "tai-given", x86_leap_second_tai_given },
	{ "x86-leap-second", "wrong-direction", x86_leap_second_wrong_direction },
	{ "x86-leap-second", "corrected-afterwards", x86_leap_second_corrected_afterwards },
	{ 0 },
};
