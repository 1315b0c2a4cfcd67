// SPDX-License-Identifier: GPL-2.0-only
/* Shortcuts of x86-ratio, x86-scaled. */
#include "shortcuts.h"

typedef struct scaling choose(const struct vector *v, const char *side);
typedef u64 scale(struct scaling by, u64 host_tsc);

static struct scaling none(const struct vector *v, const char *side)
{
	(void)v, (void)side;
	return (struct scaling){ 1, 0 };
}

static struct scaling nearest(const struct vector *v, const char *side)
{
	struct scaling by = multiplier(v, side);
	u64 host = in_of(v, side, "host_khz");

	if (by.frac_bits)
		by.ratio = (((s128)in(v, "guest_khz") << by.frac_bits) + host / 2) / host;
	return by;
}

static struct scaling without_tolerance(const struct vector *v, const char *side)
{
	unsigned int bits = in_of(v, side, "frac_bits");

	return (struct scaling){ ((s128)in(v, "guest_khz") << bits) / in_of(v, side, "host_khz"), bits };
}

static struct scaling other_bits(const struct vector *v, const char *side)
{
	struct scaling by = multiplier(v, side);

	if (by.frac_bits) {
		by.frac_bits = 48 + 32 - by.frac_bits;
		by.ratio = ((s128)in(v, "guest_khz") << by.frac_bits) / in_of(v, side, "host_khz");
	}
	return by;
}

static u64 in_64_bits(struct scaling by, u64 host_tsc)
{
	return host_tsc * by.ratio >> by.frac_bits;
}

static u64 in_double(struct scaling by, u64 host_tsc)
{
	if (!by.frac_bits)
		return host_tsc;
	return (u64)(s128)((double)host_tsc * ((double)by.ratio / (double)((u64)1 << by.frac_bits)));
}

SHORTCUT(x86_ratio_product_in_64_bits)
{
	return in_64_bits(multiplier(v, ""), in(v, "host_tsc"));
}

SHORTCUT(x86_ratio_ratio_in_double)
{
	return in_double(multiplier(v, ""), in(v, "host_tsc"));
}

SHORTCUT(x86_ratio_khz_in_double)
{
	double quotient = (double)in(v, "guest_khz") / (double)in(v, "host_khz");

	return (u64)(s128)((double)in(v, "host_tsc") * quotient);
}

SHORTCUT(x86_ratio_ratio_to_nearest)
{
	return scaled(nearest(v, ""), in(v, "host_tsc"));
}

SHORTCUT(x86_ratio_other_vendors_bits)
{
	return scaled(other_bits(v, ""), in(v, "host_tsc"));
}

SHORTCUT(x86_ratio_exact_quotient)
{
	if (!multiplier(v, "").frac_bits)
		return in(v, "host_tsc");
	return (u64)((s128)in(v, "host_tsc") * in(v, "guest_khz") / in(v, "host_khz"));
}

SHORTCUT(x86_ratio_tolerance_ignored)
{
	return scaled(without_tolerance(v, ""), in(v, "host_tsc"));
}

SHORTCUT(x86_ratio_scaling_ignored)
{
	return in(v, "host_tsc");
}

SHORTCUT(x86_ratio_multiplier_0)
{
	return multiplier(v, "").frac_bits ? 0 : in(v, "host_tsc");
}

static s128 scaled_move(const struct vector *v, choose *old, choose *new, scale *by, u64 khz)
{
	return (u64)(in(v, "tsc_offset") + by(old(v, "source_"), in(v, "source_host_tsc")) +
		     ticks_at_khz(kvmclock_elapsed_ns(v), khz) -
		     by(new(v, "destination_"), in(v, "destination_host_tsc")));
}

SHORTCUT(x86_scaled_scaling_ignored)
{
	return scaled_move(v, none, none, scaled, in(v, "guest_khz"));
}

SHORTCUT(x86_scaled_source_scaling_ignored)
{
	return scaled_move(v, none, multiplier, scaled, in(v, "guest_khz"));
}

SHORTCUT(x86_scaled_frequency_after_offset)
{
	return scaled_move(v, multiplier, none, scaled, in(v, "guest_khz"));
}

SHORTCUT(x86_scaled_product_in_64_bits)
{
	return scaled_move(v, multiplier, multiplier, in_64_bits, in(v, "guest_khz"));
}

SHORTCUT(x86_scaled_ratio_in_double)
{
	return scaled_move(v, multiplier, multiplier, in_double, in(v, "guest_khz"));
}

SHORTCUT(x86_scaled_ratio_to_nearest)
{
	return scaled_move(v, nearest, nearest, scaled, in(v, "guest_khz"));
}

SHORTCUT(x86_scaled_other_vendors_bits)
{
	return scaled_move(v, other_bits, other_bits, scaled, in(v, "guest_khz"));
}

SHORTCUT(x86_scaled_tolerance_ignored)
{
	return scaled_move(v, without_tolerance, without_tolerance, scaled, in(v, "guest_khz"));
}

SHORTCUT(x86_scaled_elapsed_at_host_khz)
{
	return scaled_move(v, multiplier, multiplier, scaled, in(v, "destination_host_khz"));
}

const struct shortcut shortcuts_scaled[] = {
	{ "x86-ratio", "product-in-64-bits", x86_ratio_product_in_64_bits },
	{ "x86-ratio", "ratio-in-double", x86_ratio_ratio_in_double },
	{ "x86-ratio", "khz-in-double", x86_ratio_khz_in_double },
	{ "x86-ratio", "ratio-to-nearest", x86_ratio_ratio_to_nearest },
	{ "x86-ratio", "other-vendors-bits", x86_ratio_other_vendors_bits },
	{ "x86-ratio", "exact-quotient", x86_ratio_exact_quotient },
	{ "x86-ratio", "tolerance-ignored", x86_ratio_tolerance_ignored },
	{ "x86-ratio", "scaling-ignored", x86_ratio_scaling_ignored },
	{ "x86-ratio", "multiplier-0", x86_ratio_multiplier_0 },
	{ "x86-scaled", "scaling-ignored", x86_scaled_scaling_ignored },
	{ "x86-scaled", "source-scaling-ignored", x86_scaled_source_scaling_ignored },
	{ "x86-scaled", "frequency-after-offset", x86_scaled_frequency_after_offset },
	{ "x86-scaled", "product-in-64-bits", x86_scaled_product_in_64_bits },
	{ "x86-scaled", "ratio-in-double", x86_scaled_ratio_in_double },
	{ "x86-scaled", "ratio-to-nearest", x86_scaled_ratio_to_nearest },
	{ "x86-scaled", "other-vendors-bits", x86_scaled_other_vendors_bits },
	{ "x86-scaled", "tolerance-ignored", x86_scaled_tolerance_ignored },
	{ "x86-scaled", "elapsed-at-host-khz", x86_scaled_elapsed_at_host_khz },
	{ 0 },
};
