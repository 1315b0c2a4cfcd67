/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The wrong formulas whose cost a vectors file names. DO NOT COPY: each is here to be caught. The
 * file says what each does wrong; names and order are those of its methods.
 */
#ifndef SHORTCUTS_H
#define SHORTCUTS_H

#include "vectors.h"

struct shortcut {
	const char *method;
	const char *name;
	s128 (*wrong)(const struct vector *v);	/* in place of the judged answer */
};

/* Each ends with an empty row. */
extern const struct shortcut shortcuts_x86[], shortcuts_scaled[], shortcuts_clock[];
extern const struct shortcut shortcuts_writes[], shortcuts_arm64[];

#define SHORTCUT(name) static s128 name(const struct vector *v)
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Return the judged answer that is right. */
static inline s128 right(const struct vector *v, const char *method)
{
	s128 answers[ANSWERS];

	formula_of(method)->compute(v, answers);
	return answers[0];
}

/* Return a product that was kept in a signed 64-bit variable, divided. */
static inline s128 int64_quotient(s128 product, s64 divisor)
{
	return (s64)product / divisor;
}

/* The host ignores the offset, as both architectures can. */
static inline s128 offset_ignored(const struct vector *v)
{
	(void)v;
	return 0;
}

#endif
