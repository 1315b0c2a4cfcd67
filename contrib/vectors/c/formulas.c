// SPDX-License-Identifier: GPL-2.0-only
/* The right formulas, one for each method of a vectors file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vectors.h"

#define KVM_CLOCK_REALTIME (1 << 2)
#define TOLERANCE_PPM 250

u64 in(const struct vector *v, const char *name)
{
	const struct json *one = json_member(v->input, name);
	u64 value = 0;
	char *end = NULL;

	if (one && one->text)
		value = strtoull(one->text, &end, 10);
	if (!end || end == one->text || *end) {
		fprintf(stderr, "check: vector %s has no integer %s in its input\n", v->id, name);
		exit(2);
	}
	return value;
}

u64 in_of(const struct vector *v, const char *side, const char *name)
{
	char whole[64];

	snprintf(whole, sizeof(whole), "%s%s", side, name);
	return in(v, whole);
}

const struct formula *formula_of(const char *method)
{
	const struct formula *one;

	for (one = formulas; one->method; one++)
		if (!strcmp(one->method, method))
			return one;
	return NULL;
}

s64 kvmclock_elapsed_ns(const struct vector *v)
{
	return (s64)(in(v, "destination_kvmclock_ns") - in(v, "source_kvmclock_ns"));
}

static void x86_offset(const struct vector *v, s128 *answers)
{
	answers[0] = (u64)(in(v, "tsc_offset") + ticks_at_khz(kvmclock_elapsed_ns(v), in(v, "tsc_khz")) +
			   in(v, "source_host_tsc") - in(v, "destination_host_tsc"));
}

struct scaling multiplier(const struct vector *v, const char *side)
{
	u64 guest = in(v, "guest_khz"), host = in_of(v, side, "host_khz");
	unsigned int bits = in_of(v, side, "frac_bits");

	if (guest >= host * (1000000 - TOLERANCE_PPM) / 1000000 &&
	    guest <= host * (1000000 + TOLERANCE_PPM) / 1000000)
		return (struct scaling){ 1, 0 };
	return (struct scaling){ (u64)(((s128)guest << bits) / host), bits };
}

u64 scaled(struct scaling by, u64 host_tsc)
{
	return (u64)(((unsigned __int128)host_tsc * by.ratio) >> by.frac_bits);
}

static u64 kept_ratio(const struct vector *v, const char *side)
{
	struct scaling by = multiplier(v, side);

	return by.frac_bits ? by.ratio : (u64)1 << in_of(v, side, "frac_bits");
}

static void x86_ratio(const struct vector *v, s128 *answers)
{
	answers[0] = scaled(multiplier(v, ""), in(v, "host_tsc"));
	answers[1] = kept_ratio(v, "");
}

static void x86_scaled(const struct vector *v, s128 *answers)
{
	answers[0] = (u64)(in(v, "tsc_offset") +
			   scaled(multiplier(v, "source_"), in(v, "source_host_tsc")) +
			   ticks_at_khz(kvmclock_elapsed_ns(v), in(v, "guest_khz")) -
			   scaled(multiplier(v, "destination_"), in(v, "destination_host_tsc")));
	answers[1] = kept_ratio(v, "source_");
	answers[2] = kept_ratio(v, "destination_");
}

u64 clock_after_set(u64 clock_ns, u64 given_ns, u64 now_ns)
{
	return clock_ns + (now_ns > given_ns ? now_ns - given_ns : 0);
}

static void x86_set_clock(const struct vector *v, s128 *answers)
{
	answers[0] = in(v, "kvmclock_ns");
	if (in(v, "flags") & KVM_CLOCK_REALTIME)
		answers[0] = clock_after_set(in(v, "kvmclock_ns"), in(v, "realtime_ns"),
					     in(v, "now_realtime_ns"));
}

static void x86_leap_second(const struct vector *v, s128 *answers)
{
	u64 give_ns = in(v, "realtime_ns") +
		      (in(v, "tai_offset_s") - in(v, "now_tai_offset_s")) * NSEC_PER_SEC;

	answers[0] = clock_after_set(in(v, "kvmclock_ns"), give_ns, in(v, "now_realtime_ns"));
	answers[1] = give_ns;
}

static int synchronizes(const struct vector *v)
{
	u64 value = in(v, "value"), khz = in(v, "tsc_khz"), second = khz * 1000;
	u64 expected = (u64)(in(v, "last_value") + ticks_at_khz(in(v, "elapsed_ns"), khz));

	if (khz == 0 || khz != in(v, "last_khz"))
		return 0;
	if (value == 0)
		return 1;
	return in(v, "user_set") && value < expected + second && value + second > expected;
}

static void x86_value_write(const struct vector *v, s128 *answers)
{
	answers[1] = synchronizes(v);
	answers[0] = answers[1] ? in(v, "generation_offset") : in(v, "value") - in(v, "scaled_host_tsc");
}

static void x86_deadline(const struct vector *v, s128 *answers)
{
	u64 guest = in(v, "scaled_host_tsc") + in(v, "tsc_offset"), khz = in(v, "tsc_khz");

	answers[0] = in(v, "deadline") > guest ? in(v, "deadline") - guest : 0;
	answers[1] = -floor_div(-answers[0] * 1000000, khz);
}

static u64 middle(const struct vector *v, const char *side)
{
	u64 before = in_of(v, side, "before_ns");

	return before + (in_of(v, side, "after_ns") - before) / 2;
}

s64 bracket_elapsed_ns(const struct vector *v)
{
	return (s64)(middle(v, "destination_") - middle(v, "source_"));
}

static u64 guest_count_now(const struct vector *v)
{
	return reduced(in(v, "guest_count") + ticks_at_hz(bracket_elapsed_ns(v), in(v, "counter_hz")),
		       in(v, "counter_bits"));
}

/* Both by offset and by value: KVM keeps host - guest, and the value to write is the guest's count. */
static void arm64_offset(const struct vector *v, s128 *answers)
{
	answers[1] = guest_count_now(v);
	answers[0] = in(v, "destination_host_count") - (u64)answers[1];
}

static void arm64_kept_offset(const struct vector *v, s128 *answers)
{
	answers[0] = (u64)(in(v, "counter_offset") + in(v, "destination_host_count") -
			   in(v, "source_host_count") -
			   ticks_at_hz(bracket_elapsed_ns(v), in(v, "counter_hz")));
}

static void arm64_elapsed(const struct vector *v, s128 *answers)
{
	u64 ticks = reduced((s128)in(v, "count_after") - in(v, "count_before"), in(v, "counter_bits"));

	answers[0] = (s128)ticks * NSEC_PER_SEC / in(v, "counter_hz");
}

const struct formula formulas[] = {
	{ "x86-offset", { "tsc_offset" }, x86_offset },
	{ "x86-ratio", { "scaled_tsc", "ratio" }, x86_ratio },
	{ "x86-scaled", { "tsc_offset", "source_ratio", "destination_ratio" }, x86_scaled },
	{ "x86-set-clock", { "kvmclock_ns" }, x86_set_clock },
	{ "x86-leap-second", { "kvmclock_ns", "realtime_to_give_ns" }, x86_leap_second },
	{ "x86-value-write", { "tsc_offset", "matched" }, x86_value_write },
	{ "x86-deadline", { "wait_ticks", "wait_ns" }, x86_deadline },
	{ "arm64-offset", { "counter_offset", "guest_count_now" }, arm64_offset },
	{ "arm64-kept-offset", { "counter_offset" }, arm64_kept_offset },
	{ "arm64-value", { "counter_offset", "count" }, arm64_offset },
	{ "arm64-elapsed", { "elapsed_ns" }, arm64_elapsed },
	{ 0 },
};
