/* SPDX-License-Identifier: GPL-2.0-only */
/* One vector, and the arithmetic that formulas and shortcuts share. */
#ifndef VECTORS_H
#define VECTORS_H

#include <stdint.h>

#include "json.h"

typedef uint64_t u64;
typedef int64_t s64;
typedef __int128 s128;			/* holds every product of a formula exactly */

#define NSEC_PER_SEC 1000000000LL
#define ANSWERS 3

struct vector {
	const char *id;
	const char *method;
	const struct json *json;
	const struct json *input;
};

struct formula {
	const char *method;
	const char *answers[ANSWERS];	/* the judged one first */
	void (*compute)(const struct vector *v, s128 *answers);
};

extern const struct formula formulas[];

/* Return the input @name of @v; the second form puts @side in front of it. */
u64 in(const struct vector *v, const char *name);
u64 in_of(const struct vector *v, const char *side, const char *name);

/* Return the formula of @method, or NULL. */
const struct formula *formula_of(const char *method);

/* Return @a / @b rounded down, as nothing in C does for negative numbers. @b is positive. */
static inline s128 floor_div(s128 a, s128 b)
{
	return a / b - (a % b < 0);
}

/* Return the ticks of a counter of @khz, or @hz, in @ns; rounded down. */
static inline s128 ticks_at_khz(s128 ns, u64 khz)
{
	return floor_div(ns * (s128)khz, 1000000);
}

static inline s128 ticks_at_hz(s128 ns, u64 hz)
{
	return floor_div(ns * (s128)hz, NSEC_PER_SEC);
}

/* Return the low @bits of @count. */
static inline u64 reduced(s128 count, unsigned int bits)
{
	return (u64)count & (bits < 64 ? ((u64)1 << bits) - 1 : ~(u64)0);
}

/* A multiplier of TSC scaling; KVM does not multiply where frac_bits is 0. */
struct scaling {
	u64 ratio;
	unsigned int frac_bits;
};

struct scaling multiplier(const struct vector *v, const char *side);
u64 scaled(struct scaling by, u64 host_tsc);

/* arm64: the time between the middles of both brackets, in ns. */
s64 bracket_elapsed_ns(const struct vector *v);

/* x86: K_d - K_s, and the realtime that KVM_SET_CLOCK gains. */
s64 kvmclock_elapsed_ns(const struct vector *v);
u64 clock_after_set(u64 clock_ns, u64 given_ns, u64 now_ns);

#endif
