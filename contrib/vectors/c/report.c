// SPDX-License-Identifier: GPL-2.0-only
/* Comparing with a vectors file, and naming what a wrong answer comes from. */
#include <stdio.h>
#include <string.h>

#include "report.h"

#define SHORTCUTS 64	/* of one method */

const char *digits(s128 value, char *text)
{
	char *at = text + DIGITS - 1;
	bool negative = value < 0;

	*at = '\0';
	do {
		*--at = '0' + (int)(negative ? -(value % 10) : value % 10);
		value /= 10;
	} while (value);
	if (negative)
		*--at = '-';
	return at;
}

struct error error_of(const struct method *method, const struct vector *v, s128 got)
{
	unsigned int bits = method->width ? in(v, method->width) : 64;
	s128 hz = (s128)in(v, method->frequency) * method->ticks_per_second_of_one;
	s128 ahead = method->guest_sign * (got - answer_of(v, method->formula->answers[0]));
	s128 amount = reduced(ahead, bits);

	if (amount >> (bits - 1))
		amount -= (s128)1 << bits;
	if (method->in_ns)
		return (struct error){ floor_div(amount * hz, NSEC_PER_SEC), amount };
	return (struct error){ amount, floor_div(amount * NSEC_PER_SEC, hz) };
}

void report_answer(const struct vector *v, const char *name, s128 got, unsigned long before)
{
	char a[DIGITS], b[DIGITS];

	if (before < SHOWN)
		printf("%s: %s: expected %s, got %s\n", v->id, name, digits(answer_of(v, name), a),
		       digits(got, b));
}

void report_error(const struct vector *v, const char *shortcut, struct error error, unsigned long before)
{
	char a[DIGITS], b[DIGITS];

	if (before < SHOWN)
		printf("%s: %s costs %s ticks or %s ns, not what the file says\n", v->id, shortcut,
		       digits(error.ticks, a), digits(error.ns, b));
}

/* What has been found out about the answers to one method. */
struct findings {
	unsigned long judged, wrong;
	bool explained[SHORTCUTS];	/* whether the shortcut of this place explains all answers */
};

static void note(struct findings *all, const struct method *method, const struct vector *v, s128 got)
{
	const struct json *listed = json_member(method->json, "shortcuts")->child;
	struct error error = error_of(method, v, got);
	unsigned int i;

	all->judged++;
	all->wrong += error.ticks || error.ns;
	for (i = 0; listed && i < SHORTCUTS; listed = listed->next, i++)
		all->explained[i] = all->explained[i] && same_error(v, listed->name, error);
}

static const struct json *explanation(const struct findings *all, const struct method *method)
{
	const struct json *listed = json_member(method->json, "shortcuts")->child;
	unsigned int i;

	for (i = 0; listed && i < SHORTCUTS; listed = listed->next, i++)
		if (all->explained[i])
			return listed;
	return NULL;
}

static void show(const struct method *method, const struct vector *v, s128 got, const char *class)
{
	struct error error = error_of(method, v, got);
	const char *name = method->formula->answers[0];
	char a[DIGITS], b[DIGITS], c[DIGITS], d[DIGITS];

	printf("[%s] %s: %s: expected %s, got %s: guest ahead by %s ticks (%s ns)\n", class, v->id, name,
	       digits(answer_of(v, name), a), digits(got, b), digits(error.ticks, c), digits(error.ns, d));
}

static void conclude(const struct method *method, const struct findings *all, const struct json *listed)
{
	if (!all->wrong)
		printf("%s: %lu of %lu right\n", method->name, all->judged, all->judged);
	else if (listed)
		printf("%s: %lu of %lu wrong, all as by %s/%s [%s]: %s\n", method->name, all->wrong,
		       all->judged, method->name, listed->name, class_of(method, listed->name),
		       json_member(listed, "sentence")->text);
	else
		printf("%s: %lu of %lu wrong; no shortcut of the file explains them all\n", method->name,
		       all->wrong, all->judged);
}

unsigned long judge(const struct file *file, const struct method *method, answering *answer,
		    const void *cookie)
{
	const struct json *one, *listed;
	unsigned int shown = 0;
	struct findings all = { 0 };
	struct vector v;
	s128 got;

	memset(all.explained, true, sizeof(all.explained));
	for (one = file->vectors->child; one; one = one->next) {
		v = vector_of(one);
		if (!strcmp(method->name, v.method) && answer(&v, cookie, &got))
			note(&all, method, &v, got);
	}
	if (!all.judged)
		return 0;
	listed = explanation(&all, method);
	for (one = file->vectors->child; one && shown < SHOWN; one = one->next) {
		struct error error;

		v = vector_of(one);
		if (strcmp(method->name, v.method) || !answer(&v, cookie, &got))
			continue;
		error = error_of(method, &v, got);
		if (!error.ticks && !error.ns)
			continue;
		show(method, &v, got, listed ? class_of(method, listed->name) : "unknown");
		shown++;
	}
	conclude(method, &all, listed);
	return all.wrong;
}
