/* SPDX-License-Identifier: GPL-2.0-only */
/* Reading a vectors file, comparing with it, and naming what a wrong answer comes from. */
#ifndef REPORT_H
#define REPORT_H

#include <stdbool.h>

#include "vectors.h"

#define SHOWN 3		/* mismatches of a kind */
#define DIGITS 48	/* of a number as text */

struct file {
	const struct json *methods;
	const struct json *vectors;
};

struct method {
	const char *name;
	const struct json *json;
	const struct formula *formula;
	const char *frequency;		/* the input that converts between ticks and ns */
	const char *width;		/* the input with the counter's bits, or NULL for 64 */
	u64 ticks_per_second_of_one;
	bool in_ns;			/* the judged answer */
	int guest_sign;
};

struct error {
	s128 ticks, ns;
};

/* Give what a caller answers to @v in place of the judged answer; false if it does not answer. */
typedef bool answering(const struct vector *v, const void *cookie, s128 *got);

/* Read @path; false, with a sentence on stderr, if that is not a vectors file. */
bool file_read(const char *path, struct file *file);
struct method method_of(const struct json *json);
struct vector vector_of(const struct json *json);
unsigned long vectors_of(const struct file *file, const struct method *method);
const char *class_of(const struct method *method, const char *shortcut);
s128 answer_of(const struct vector *v, const char *name);

/* Read all of @text, at most 38 digits and perhaps a sign in front; false if that is not a number. */
bool number_of(const char *text, s128 *value);

/* Write @value into @text, which has DIGITS bytes; return it. */
const char *digits(s128 value, char *text);

/* Return by how much @got puts the guest ahead, and whether the file says so of @shortcut. */
struct error error_of(const struct method *method, const struct vector *v, s128 got);
bool same_error(const struct vector *v, const char *shortcut, struct error error);

/* Print the first few; @before are already counted. */
void report_answer(const struct vector *v, const char *name, s128 got, unsigned long before);
void report_error(const struct vector *v, const char *shortcut, struct error error, unsigned long before);

/*
 * Compare @answer with the judged answer of all vectors of @method, print the first mismatches with
 * the class that explains them all, and return how many there are.
 */
unsigned long judge(const struct file *file, const struct method *method, answering *answer,
		    const void *cookie);

/* Judge the lines "ID VALUE" of the file @path; return the exit status. */
int check_given(const struct file *file, const char *path);

#endif
