// SPDX-License-Identifier: GPL-2.0-only
/*
 * Check a vectors file: compute every answer and every shortcut's error, and compare.
 *
 *	check vectors.json				formulas.c and the shortcuts' errors
 *	check vectors.json --wrong product-overflow	a wrong formula in place of the right one
 *	check vectors.json --answers mine.txt		lines "ID VALUE" of the judged answers of your own
 *
 * Exit status: 0 everything agrees, 1 something does not, 2 usage or no vectors file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "shortcuts.h"

static const struct shortcut *const tables[] = {
	shortcuts_x86, shortcuts_scaled, shortcuts_clock, shortcuts_writes, shortcuts_arm64,
};

#define TABLES (sizeof(tables) / sizeof(*tables))

static const struct shortcut *shortcut_of(const char *method, const char *name)
{
	const struct shortcut *one;
	size_t i;

	for (i = 0; i < TABLES; i++)
		for (one = tables[i]; one->method; one++)
			if (!strcmp(one->method, method) && !strcmp(one->name, name))
				return one;
	return NULL;
}

/* Check all answers of each vector of @method; return how many do not agree. */
static unsigned long check_answers(const struct file *file, const struct method *method)
{
	const struct json *one;
	unsigned long wrong = 0;
	unsigned int i;

	for (one = file->vectors->child; one; one = one->next) {
		struct vector v = vector_of(one);
		s128 answers[ANSWERS];

		if (strcmp(method->name, v.method))
			continue;
		method->formula->compute(&v, answers);
		for (i = 0; i < ANSWERS && method->formula->answers[i]; i++)
			if (answers[i] != answer_of(&v, method->formula->answers[i]))
				report_answer(&v, method->formula->answers[i], answers[i], wrong++);
	}
	return wrong;
}

/* Check the error of each shortcut on each vector of @method; return how many do not agree. */
static unsigned long check_errors(const struct file *file, const struct method *method)
{
	const struct json *one, *listed;
	unsigned long wrong = 0;

	for (listed = json_member(method->json, "shortcuts")->child; listed; listed = listed->next) {
		const struct shortcut *shortcut = shortcut_of(method->name, listed->name);

		if (!shortcut) {
			printf("%s: shortcut %s is not known here\n", method->name, listed->name);
			wrong++;
			continue;
		}
		for (one = file->vectors->child; one; one = one->next) {
			struct vector v = vector_of(one);
			struct error error;

			if (strcmp(method->name, v.method))
				continue;
			error = error_of(method, &v, shortcut->wrong(&v));
			if (!same_error(&v, listed->name, error))
				report_error(&v, listed->name, error, wrong++);
		}
	}
	return wrong;
}

static int check_all(const struct file *file)
{
	unsigned long wrong = 0;
	const struct json *listed;

	for (listed = file->methods->child; listed; listed = listed->next) {
		struct method method = method_of(listed);
		unsigned long here = check_answers(file, &method) + check_errors(file, &method);
		unsigned long count = vectors_of(file, &method);

		printf("%s: %lu vectors, %s\n", method.name, count,
		       here ? "NOT AS IN THE FILE" :
		       count ? "all answers and all errors of shortcuts agree" : "NOTHING TO CHECK");
		wrong += here + !count;
	}
	return wrong != 0;
}

static bool by_shortcut(const struct vector *v, const void *shortcut, s128 *got)
{
	*got = ((const struct shortcut *)shortcut)->wrong(v);
	return true;
}

/* Put each shortcut of @class, or the one called METHOD/SHORTCUT, in place of its method's formula. */
static int check_wrong(const struct file *file, const char *class)
{
	const struct json *listed, *one;
	int tried = 0, unnoticed = 0;
	char path[128];

	for (listed = file->methods->child; listed; listed = listed->next) {
		struct method method = method_of(listed);

		for (one = json_member(listed, "shortcuts")->child; one; one = one->next) {
			const struct shortcut *shortcut = shortcut_of(listed->name, one->name);

			snprintf(path, sizeof(path), "%s/%s", listed->name, one->name);
			if (!shortcut || (strcmp(class, path) && strcmp(class, class_of(&method, one->name))))
				continue;
			tried++;
			if (!judge(file, &method, by_shortcut, shortcut))
				unnoticed++;
		}
	}
	if (!tried) {
		fprintf(stderr, "check: %s is neither a class nor METHOD/SHORTCUT of this file\n", class);
		return 2;
	}
	return !unnoticed;
}

int main(int argc, char **argv)
{
	struct file file;

	if (argc != 2 && !(argc == 4 && (!strcmp(argv[2], "--wrong") || !strcmp(argv[2], "--answers")))) {
		fprintf(stderr, "usage: check VECTORS [--wrong CLASS | --answers FILE]\n");
		return 2;
	}
	if (!file_read(argv[1], &file))
		return 2;
	if (argc == 2)
		return check_all(&file);
	if (!strcmp(argv[2], "--wrong"))
		return check_wrong(&file, argv[3]);
	return check_given(&file, argv[3]);
}
