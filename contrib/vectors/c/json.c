// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>

#include "json.h"

#define DEPTH 16	/* a vectors file needs 5 */
#define CHUNK 4096

struct reader {
	char *at;
	const char *error;
	struct json *free;
	size_t left;
};

static struct json *fail(struct reader *r, const char *error)
{
	if (!r->error)
		r->error = error;
	return NULL;
}

static struct json *node(struct reader *r, enum json_kind kind)
{
	if (!r->left) {
		r->free = calloc(CHUNK, sizeof(*r->free));
		if (!r->free)
			return fail(r, "out of memory");
		r->left = CHUNK;
	}
	r->left--;
	r->free->kind = kind;
	return r->free++;
}

static void space(struct reader *r)
{
	r->at += strspn(r->at, " \t\r\n");
}

static int take(struct reader *r, char c)
{
	space(r);
	if (*r->at != c)
		return 0;
	r->at++;
	return 1;
}

/* Return the string at the opening quote, ended in place. */
static char *string(struct reader *r)
{
	char *start, *to;

	if (!take(r, '"')) {
		fail(r, "a string is missing");
		return NULL;
	}
	for (start = to = r->at; *r->at != '"'; r->at++) {
		if ((unsigned char)*r->at < ' ') {
			fail(r, "a string does not end");
			return NULL;
		}
		if (*r->at == '\\' && (!*++r->at || !strchr("\"\\/", *r->at))) {
			fail(r, "this escape is not known here");
			return NULL;
		}
		*to++ = *r->at;
	}
	*to = '\0';
	r->at++;
	return start;
}

static struct json *value(struct reader *r, int depth);

static struct json *container(struct reader *r, enum json_kind kind, int depth)
{
	char end = kind == JSON_OBJECT ? '}' : ']';
	struct json *all = node(r, kind);
	struct json **last;
	const char *name = NULL;

	if (!all || depth == DEPTH)
		return fail(r, "nested too deeply");
	r->at++;
	last = &all->child;
	if (take(r, end))
		return all;
	do {
		if (kind == JSON_OBJECT) {
			name = string(r);
			if (!name || !take(r, ':'))
				return fail(r, "a colon is missing");
		}
		*last = value(r, depth + 1);
		if (!*last)
			return NULL;
		(*last)->name = name;
		last = &(*last)->next;
	} while (take(r, ','));
	return take(r, end) ? all : fail(r, "a comma or an end is missing");
}

/* A number's digits are copied: what follows them still has to be read. */
static struct json *number(struct reader *r)
{
	size_t length = (*r->at == '-') + strspn(r->at + (*r->at == '-'), "0123456789");
	struct json *one = node(r, JSON_NUMBER);
	char *text;

	if (!one)
		return NULL;
	if (length == (size_t)(*r->at == '-'))
		return fail(r, "a value is missing");
	text = malloc(length + 1);
	if (!text)
		return fail(r, "out of memory");
	memcpy(text, r->at, length);
	text[length] = '\0';
	one->text = text;
	r->at += length;
	return one;
}

static struct json *value(struct reader *r, int depth)
{
	struct json *one;

	space(r);
	if (*r->at == '{')
		return container(r, JSON_OBJECT, depth);
	if (*r->at == '[')
		return container(r, JSON_ARRAY, depth);
	if (*r->at == '"') {
		one = node(r, JSON_STRING);
		if (one)
			one->text = string(r);
		return one && one->text ? one : NULL;
	}
	if (!strncmp(r->at, "null", 4)) {
		r->at += 4;
		return node(r, JSON_NULL);
	}
	return number(r);
}

const struct json *json_parse(char *text, const char **error, const char **at)
{
	struct reader r = { .at = text };
	struct json *all = value(&r, 0);

	space(&r);
	if (all && *r.at)
		fail(&r, "more follows the end");
	*error = r.error;
	*at = r.at;
	return r.error ? NULL : all;
}

const struct json *json_member(const struct json *object, const char *name)
{
	const struct json *one;

	for (one = object ? object->child : NULL; one; one = one->next)
		if (one->name && !strcmp(one->name, name))
			return one;
	return NULL;
}
