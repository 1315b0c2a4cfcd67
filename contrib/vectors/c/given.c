// SPDX-License-Identifier: GPL-2.0-only
/* Judging answers that another program has computed: lines "ID VALUE" of judged answers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

struct given {
	char id[96];
	s128 value;
};

struct givens {
	struct given *all;
	size_t count;
};

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct given *)a)->id, ((const struct given *)b)->id);
}

static bool by_lines(const struct vector *v, const void *cookie, s128 *got)
{
	const struct givens *givens = cookie;
	struct given wanted, *found;

	snprintf(wanted.id, sizeof(wanted.id), "%s", v->id);
	found = bsearch(&wanted, givens->all, givens->count, sizeof(*found), by_id);
	if (found)
		*got = found->value;
	return found;
}

/* Read the lines of @stream; the number of a line that is not one, or 0. */
static unsigned long read_lines(FILE *stream, struct givens *givens)
{
	unsigned long line = 0, room = 0;
	char text[160], value[DIGITS], end;

	while (fgets(text, sizeof(text), stream)) {
		struct given *one;

		line++;
		if (givens->count == room) {
			room = room ? room * 2 : 1024;
			givens->all = realloc(givens->all, room * sizeof(*givens->all));
			if (!givens->all)
				return line;
		}
		one = &givens->all[givens->count++];
		if (sscanf(text, "%95s %47s %c", one->id, value, &end) != 2 ||
		    !number_of(value, &one->value))
			return line;
	}
	return 0;
}

int check_given(const struct file *file, const char *path)
{
	struct givens givens = { 0 };
	unsigned long line, wrong = 0;
	const struct json *listed;
	FILE *stream = fopen(path, "r");

	if (!stream) {
		fprintf(stderr, "check: %s cannot be read\n", path);
		return 2;
	}
	line = read_lines(stream, &givens);
	fclose(stream);
	if (line || !givens.count) {
		fprintf(stderr, "check: %s, line %lu: not \"ID VALUE\"\n", path, line);
		return 2;
	}
	qsort(givens.all, givens.count, sizeof(*givens.all), by_id);
	for (listed = file->methods->child; listed; listed = listed->next) {
		struct method method = method_of(listed);

		wrong += judge(file, &method, by_lines, &givens);
	}
	return wrong != 0;
}
