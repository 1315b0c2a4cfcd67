// SPDX-License-Identifier: GPL-2.0-only
/* Shortcuts of x86-offset. */
#include "shortcuts.h"

static s128 x86_moved(const struct vector *v, s128 ticks)
{
	return (u64)(in(v, "tsc_offset") + ticks + in(v, "source_host_tsc") -
		     in(v, "destination_host_tsc"));
}

SHORTCUT(x86_offset_hz_in_int64)
{
	s128 product = (s128)kvmclock_elapsed_ns(v) * in(v, "tsc_khz") * 1000;

	return x86_moved(v, int64_quotient(product, NSEC_PER_SEC));
}

SHORTCUT(x86_offset_khz_in_int64)
{
	s128 product = (s128)kvmclock_elapsed_ns(v) * in(v, "tsc_khz");

	return x86_moved(v, int64_quotient(product, 1000000));
}

SHORTCUT(x86_offset_khz_in_uint64)
{
	return x86_moved(v, (u64)kvmclock_elapsed_ns(v) * in(v, "tsc_khz") / 1000000);
}

SHORTCUT(x86_offset_elapsed_in_double)
{
	return x86_moved(v, (s128)((double)kvmclock_elapsed_ns(v) * ((double)in(v, "tsc_khz") / 1e6)));
}

SHORTCUT(x86_offset_counters_in_double)
{
	double hosts = (double)in(v, "source_host_tsc") - (double)in(v, "destination_host_tsc");

	return (u64)(in(v, "tsc_offset") + ticks_at_khz(kvmclock_elapsed_ns(v), in(v, "tsc_khz")) +
		     (s128)hosts);
}

SHORTCUT(x86_offset_whole_ticks_per_ns)
{
	return x86_moved(v, (s128)kvmclock_elapsed_ns(v) * ((in(v, "tsc_khz") + 500000) / 1000000));
}

SHORTCUT(x86_offset_elapsed_in_us)
{
	s128 us = floor_div(kvmclock_elapsed_ns(v), 1000);

	return x86_moved(v, ticks_at_khz(us * 1000, in(v, "tsc_khz")));
}

SHORTCUT(x86_offset_elapsed_in_32_bits)
{
	return x86_moved(v, ticks_at_khz((uint32_t)kvmclock_elapsed_ns(v), in(v, "tsc_khz")));
}

SHORTCUT(x86_offset_towards_zero)
{
	return x86_moved(v, (s128)kvmclock_elapsed_ns(v) * in(v, "tsc_khz") / 1000000);
}

SHORTCUT(x86_offset_hosts_swapped)
{
	return (u64)(in(v, "tsc_offset") + ticks_at_khz(kvmclock_elapsed_ns(v), in(v, "tsc_khz")) +
		     in(v, "destination_host_tsc") - in(v, "source_host_tsc"));
}

SHORTCUT(x86_offset_arm64_sign)
{
	return (u64)(in(v, "tsc_offset") - ticks_at_khz(kvmclock_elapsed_ns(v), in(v, "tsc_khz")) +
		     in(v, "destination_host_tsc") - in(v, "source_host_tsc"));
}

SHORTCUT(x86_offset_source_lost)
{
	return (u64)(ticks_at_khz(kvmclock_elapsed_ns(v), in(v, "tsc_khz")) -
		     in(v, "destination_host_tsc"));
}

SHORTCUT(x86_offset_by_realtime)
{
	s64 elapsed = (s64)(in(v, "destination_realtime_ns") - in(v, "source_realtime_ns"));

	return x86_moved(v, ticks_at_khz(elapsed, in(v, "tsc_khz")));
}

SHORTCUT(x86_offset_elapsed_unsigned)
{
	return x86_moved(v, ticks_at_khz((u64)kvmclock_elapsed_ns(v), in(v, "tsc_khz")));
}

SHORTCUT(x86_offset_adjust_added)
{
	return (u64)(right(v, "x86-offset") + in(v, "tsc_adjust"));
}

SHORTCUT(x86_offset_one_offset)
{
	return (u64)(right(v, "x86-offset") - in(v, "tsc_offset") + in(v, "vcpu0_tsc_offset"));
}

SHORTCUT(x86_offset_boot_vcpu_only)
{
	return in(v, "vcpu") ? (s128)-in(v, "destination_host_tsc") : right(v, "x86-offset");
}

SHORTCUT(x86_offset_value_frozen)
{
	return x86_moved(v, 0);
}

SHORTCUT(x86_offset_value_late)
{
	return (u64)(right(v, "x86-offset") - ticks_at_khz(in(v, "write_delay_ns"), in(v, "tsc_khz")));
}

const struct shortcut shortcuts_x86[] = {
	{ "x86-offset", "hz-in-int64", x86_offset_hz_in_int64 },
	{ "x86-offset", "khz-in-int64", x86_offset_khz_in_int64 },
	{ "x86-offset", "khz-in-uint64", x86_offset_khz_in_uint64 },
	{ "x86-offset", "elapsed-in-double", x86_offset_elapsed_in_double },
	{ "x86-offset", "counters-in-double", x86_offset_counters_in_double },
	{ "x86-offset", "whole-ticks-per-ns", x86_offset_whole_ticks_per_ns },
	{ "x86-offset", "elapsed-in-us", x86_offset_elapsed_in_us },
	{ "x86-offset", "elapsed-in-32-bits", x86_offset_elapsed_in_32_bits },
	{ "x86-offset", "towards-zero", x86_offset_towards_zero },
	{ "x86-offset", "hosts-swapped", x86_offset_hosts_swapped },
	{ "x86-offset", "arm64-sign", x86_offset_arm64_sign },
	{ "x86-offset", "source-lost", x86_offset_source_lost },
	{ "x86-offset", "by-realtime", x86_offset_by_realtime },
	{ "x86-offset", "elapsed-unsigned", x86_offset_elapsed_unsigned },
	{ "x86-offset", "adjust-added", x86_offset_adjust_added },
	{ "x86-offset", "one-offset", x86_offset_one_offset },
	{ "x86-offset", "boot-vcpu-only", x86_offset_boot_vcpu_only },
	{ "x86-offset", "value-frozen", x86_offset_value_frozen },
	{ "x86-offset", "value-late", x86_offset_value_late },
	{ "x86-offset", "offset-ignored", offset_ignored },
	{ 0 },
};
