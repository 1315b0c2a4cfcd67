// SPDX-License-Identifier: GPL-2.0-only
/* Shortcuts of arm64-offset, arm64-value, arm64-kept-offset, arm64-elapsed. */
#include "shortcuts.h"

/* arm64-offset and arm64-value */

static s128 guest_after(const struct vector *v, s128 ticks)
{
	u64 count = reduced(in(v, "guest_count") + ticks, in(v, "counter_bits"));

	return in(v, "destination_host_count") - count;
}

static s128 arm64_ticks(const struct vector *v, s128 elapsed_ns)
{
	return ticks_at_hz(elapsed_ns, in(v, "counter_hz"));
}

SHORTCUT(arm64_offset_x86_sign)
{
	return (u64)-right(v, "arm64-offset");
}

SHORTCUT(arm64_offset_elapsed_subtracted)
{
	return guest_after(v, -arm64_ticks(v, bracket_elapsed_ns(v)));
}

SHORTCUT(arm64_offset_hz_in_int64)
{
	s128 product = (s128)bracket_elapsed_ns(v) * in(v, "counter_hz");

	return guest_after(v, int64_quotient(product, NSEC_PER_SEC));
}

static double middle_s(const struct vector *v, const char *side)
{
	u64 before = in_of(v, side, "before_ns");

	return (double)(before + (in_of(v, side, "after_ns") - before) / 2) / 1e9;
}

SHORTCUT(arm64_offset_seconds_in_double)
{
	double elapsed_s = middle_s(v, "destination_") - middle_s(v, "source_");

	return guest_after(v, (s128)(elapsed_s * (double)in(v, "counter_hz")));
}

SHORTCUT(arm64_offset_whole_ns_per_tick)
{
	return guest_after(v, floor_div(bracket_elapsed_ns(v), NSEC_PER_SEC / in(v, "counter_hz")));
}

SHORTCUT(arm64_offset_elapsed_in_us)
{
	return guest_after(v, arm64_ticks(v, floor_div(bracket_elapsed_ns(v), 1000) * 1000));
}

SHORTCUT(arm64_offset_elapsed_in_32_bits)
{
	return guest_after(v, arm64_ticks(v, (uint32_t)bracket_elapsed_ns(v)));
}

SHORTCUT(arm64_offset_towards_zero)
{
	return guest_after(v, (s128)bracket_elapsed_ns(v) * in(v, "counter_hz") / NSEC_PER_SEC);
}

SHORTCUT(arm64_offset_elapsed_unsigned)
{
	return guest_after(v, arm64_ticks(v, (u64)bracket_elapsed_ns(v)));
}

SHORTCUT(arm64_offset_bracket_start)
{
	return guest_after(v, arm64_ticks(v, (s64)(in(v, "destination_before_ns") -
						   in(v, "source_before_ns"))));
}

SHORTCUT(arm64_frozen)
{
	return guest_after(v, 0);
}

SHORTCUT(arm64_offset_saturated)
{
	s128 count = in(v, "guest_count") + arm64_ticks(v, bracket_elapsed_ns(v));
	s128 greatest = reduced(-1, in(v, "counter_bits"));

	count = MAX(0, count);
	return in(v, "destination_host_count") - (u64)(count < greatest ? count : greatest);
}

SHORTCUT(arm64_value_value_late)
{
	s128 answers[ANSWERS];

	formula_of("arm64-value")->compute(v, answers);
	return in(v, "write_host_count") - (u64)answers[1];
}

SHORTCUT(arm64_value_last_vcpu_wins)
{
	return guest_after(v, arm64_ticks(v, bracket_elapsed_ns(v)) -
			      arm64_ticks(v, in(v, "last_vcpu_age_ns")));
}

SHORTCUT(arm64_value_after_the_latch)
{
	return in(v, "latched_offset");
}

SHORTCUT(arm64_value_vcpu_created_later)
{
	return in(v, "write_host_count");
}

/* arm64-kept-offset */

static s128 host_distance(const struct vector *v)
{
	return (s128)in(v, "destination_host_count") - in(v, "source_host_count");
}

static s128 kept_plus(const struct vector *v, s128 ticks)
{
	return (u64)(in(v, "counter_offset") + ticks);
}

SHORTCUT(arm64_kept_offset_x86_sign)
{
	return kept_plus(v, arm64_ticks(v, bracket_elapsed_ns(v)) - host_distance(v));
}

SHORTCUT(arm64_kept_offset_counts_swapped)
{
	return kept_plus(v, -arm64_ticks(v, bracket_elapsed_ns(v)) - host_distance(v));
}

SHORTCUT(arm64_kept_offset_elapsed_added)
{
	return kept_plus(v, arm64_ticks(v, bracket_elapsed_ns(v)) + host_distance(v));
}

SHORTCUT(arm64_kept_offset_hz_in_int64)
{
	s128 product = (s128)bracket_elapsed_ns(v) * in(v, "counter_hz");

	return kept_plus(v, host_distance(v) - int64_quotient(product, NSEC_PER_SEC));
}

SHORTCUT(arm64_kept_offset_offset_lost)
{
	return (u64)(right(v, "arm64-kept-offset") - in(v, "counter_offset"));
}

SHORTCUT(arm64_kept_offset_hosts_left_out)
{
	return (u64)(right(v, "arm64-kept-offset") - host_distance(v));
}

SHORTCUT(arm64_kept_offset_offset_in_32_bits)
{
	return (u64)(right(v, "arm64-kept-offset") - in(v, "counter_offset") +
		     (int32_t)in(v, "counter_offset"));
}

SHORTCUT(arm64_kept_offset_count_frozen)
{
	return kept_plus(v, host_distance(v));
}

SHORTCUT(arm64_kept_offset_hosts_as_magnitude)
{
	s64 distance = (s64)(u64)host_distance(v);
	s128 magnitude = distance < 0 ? -(s128)distance : distance;

	return kept_plus(v, magnitude - arm64_ticks(v, bracket_elapsed_ns(v)));
}

/* arm64-elapsed */

static u64 tick_difference(const struct vector *v)
{
	return reduced((s128)in(v, "count_after") - in(v, "count_before"), in(v, "counter_bits"));
}

SHORTCUT(arm64_elapsed_64_bit_difference)
{
	u64 ticks = in(v, "count_after") - in(v, "count_before");

	return (s128)ticks * NSEC_PER_SEC / in(v, "counter_hz");
}

SHORTCUT(arm64_elapsed_wrap_is_nothing)
{
	s128 ticks = (s128)in(v, "count_after") - in(v, "count_before");

	return MAX(0, ticks) * NSEC_PER_SEC / in(v, "counter_hz");
}

SHORTCUT(arm64_elapsed_product_in_uint64)
{
	return tick_difference(v) * NSEC_PER_SEC / in(v, "counter_hz");
}

SHORTCUT(arm64_elapsed_ticks_in_double)
{
	return (s128)((double)tick_difference(v) * (1e9 / (double)in(v, "counter_hz")));
}

SHORTCUT(arm64_elapsed_whole_ns_per_tick)
{
	return (s128)tick_difference(v) * (NSEC_PER_SEC / in(v, "counter_hz"));
}

SHORTCUT(arm64_elapsed_ticks_in_32_bits)
{
	return (s128)(uint32_t)tick_difference(v) * NSEC_PER_SEC / in(v, "counter_hz");
}

const struct shortcut shortcuts_arm64[] = {
	{ "arm64-offset", "x86-sign", arm64_offset_x86_sign },
	{ "arm64-offset", "elapsed-subtracted", arm64_offset_elapsed_subtracted },
	{ "arm64-offset", "hz-in-int64", arm64_offset_hz_in_int64 },
	{ "arm64-offset", "seconds-in-double", arm64_offset_seconds_in_double },
	{ "arm64-offset", "whole-ns-per-tick", arm64_offset_whole_ns_per_tick },
	{ "arm64-offset", "elapsed-in-us", arm64_offset_elapsed_in_us },
	{ "arm64-offset", "elapsed-in-32-bits", arm64_offset_elapsed_in_32_bits },
	{ "arm64-offset", "towards-zero", arm64_offset_towards_zero },
	{ "arm64-offset", "elapsed-unsigned", arm64_offset_elapsed_unsigned },
	{ "arm64-offset", "bracket-start", arm64_offset_bracket_start },
	{ "arm64-offset", "count-frozen", arm64_frozen },
	{ "arm64-offset", "saturated", arm64_offset_saturated },
	{ "arm64-offset", "offset-ignored", offset_ignored },
	{ "arm64-kept-offset", "x86-sign", arm64_kept_offset_x86_sign },
	{ "arm64-kept-offset", "counts-swapped", arm64_kept_offset_counts_swapped },
	{ "arm64-kept-offset", "elapsed-added", arm64_kept_offset_elapsed_added },
	{ "arm64-kept-offset", "hz-in-int64", arm64_kept_offset_hz_in_int64 },
	{ "arm64-kept-offset", "offset-lost", arm64_kept_offset_offset_lost },
	{ "arm64-kept-offset", "hosts-left-out", arm64_kept_offset_hosts_left_out },
	{ "arm64-kept-offset", "offset-in-32-bits", arm64_kept_offset_offset_in_32_bits },
	{ "arm64-kept-offset", "count-frozen", arm64_kept_offset_count_frozen },
	{ "arm64-kept-offset", "hosts-as-magnitude", arm64_kept_offset_hosts_as_magnitude },
	{ "arm64-value", "value-late", arm64_value_value_late },
	{ "arm64-value", "value-frozen", arm64_frozen },
	{ "arm64-value", "last-vcpu-wins", arm64_value_last_vcpu_wins },
	{ "arm64-value", "after-the-latch", arm64_value_after_the_latch },
	{ "arm64-value", "vcpu-created-later", arm64_value_vcpu_created_later },
	{ "arm64-value", "x86-sign", arm64_offset_x86_sign },
	{ "arm64-value", "hz-in-int64", arm64_offset_hz_in_int64 },
	{ "arm64-elapsed", "64-bit-difference", arm64_elapsed_64_bit_difference },
	{ "arm64-elapsed", "wrap-is-nothing", arm64_elapsed_wrap_is_nothing },
	{ "arm64-elapsed", "product-in-uint64", arm64_elapsed_product_in_uint64 },
	{ "arm64-elapsed", "ticks-in-double", arm64_elapsed_ticks_in_double },
	{ "arm64-elapsed", "whole-ns-per-tick", arm64_elapsed_whole_ns_per_tick },
	{ "arm64-elapsed", "ticks-in-32-bits", arm64_elapsed_ticks_in_32_bits },
	{ 0 },
};
