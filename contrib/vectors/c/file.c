// SPDX-License-Identifier: GPL-2.0-only
/* Reading a vectors file and what stands in it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

static const char *text_of(const struct json *object, const char *name)
{
	const struct json *one = json_member(object, name);

	return one ? one->text : NULL;
}

static char *contents(const char *path)
{
	FILE *stream = fopen(path, "rb");
	char *text = NULL;
	long size = -1;

	if (stream && !fseek(stream, 0, SEEK_END))
		size = ftell(stream);
	if (size >= 0 && !fseek(stream, 0, SEEK_SET))
		text = malloc((size_t)size + 1);
	if (text) {
		size_t got = fread(text, 1, (size_t)size, stream);

		text[got] = '\0';
	}
	if (stream)
		fclose(stream);
	return text;
}

static bool refuse(const char *what, const char *name)
{
	fprintf(stderr, "check: %s%s\n", what, name ? name : "");
	return false;
}

/* Return whether @one has all @names, with a value that is text. */
static bool has_texts(const struct json *one, const char *const *names)
{
	for (; *names; names++)
		if (!text_of(one, *names))
			return false;
	return true;
}

static bool whole_methods(const struct json *methods)
{
	static const char *const texts[] = {
		"unit", "guest_sign", "frequency", "ticks_per_second_of_one", NULL,
	};
	static const char *const shortcut_texts[] = { "class", "sentence", NULL };
	const struct json *one, *shortcut;

	for (one = methods->child; one; one = one->next) {
		if (!one->name || !formula_of(one->name))
			return refuse("a method that is not known here: ", one->name);
		shortcut = json_member(one, "shortcuts");
		if (!has_texts(one, texts) || !shortcut)
			return refuse("a method that lacks something: ", one->name);
		for (shortcut = shortcut->child; shortcut; shortcut = shortcut->next)
			if (!shortcut->name || !has_texts(shortcut, shortcut_texts))
				return refuse("a method that lacks something: ", one->name);
	}
	return true;
}

static bool whole_vectors(const struct json *vectors, const struct json *methods)
{
	static const char *const texts[] = { "id", "method", NULL };
	const struct json *one;

	if (!vectors->child)
		return refuse("the file has no vectors", NULL);
	for (one = vectors->child; one; one = one->next)
		if (!has_texts(one, texts) || !json_member(methods, text_of(one, "method")))
			return refuse("a vector without an id or one of the methods: ", text_of(one, "id"));
	return true;
}

bool file_read(const char *path, struct file *file)
{
	const char *error, *at, *format;
	const struct json *all;
	char *text = contents(path);

	if (!text)
		return refuse("a file that cannot be read: ", path);
	all = json_parse(text, &error, &at);
	if (!all) {
		fprintf(stderr, "check: %s, byte %ld: %s\n", path, (long)(at - text), error);
		return false;
	}
	format = text_of(all, "format");
	file->methods = json_member(all, "methods");
	file->vectors = json_member(all, "vectors");
	if (!format || strcmp(format, "kvmtests-vectors") || !file->methods || !file->vectors)
		return refuse("not a vectors file: ", path);
	return whole_methods(file->methods) && whole_vectors(file->vectors, file->methods);
}

struct method method_of(const struct json *json)
{
	return (struct method){
		.name = json->name,
		.json = json,
		.formula = formula_of(json->name),
		.frequency = text_of(json, "frequency"),
		.width = text_of(json, "width"),
		.ticks_per_second_of_one = strtoull(text_of(json, "ticks_per_second_of_one"), NULL, 10),
		.in_ns = !strcmp(text_of(json, "unit"), "ns"),
		.guest_sign = atoi(text_of(json, "guest_sign")),
	};
}

struct vector vector_of(const struct json *json)
{
	return (struct vector){
		.id = text_of(json, "id"),
		.method = text_of(json, "method"),
		.json = json,
		.input = json_member(json, "input"),
	};
}

unsigned long vectors_of(const struct file *file, const struct method *method)
{
	const struct json *one;
	unsigned long count = 0;

	for (one = file->vectors->child; one; one = one->next)
		count += !strcmp(text_of(one, "method"), method->name);
	return count;
}

const char *class_of(const struct method *method, const char *shortcut)
{
	return text_of(json_member(json_member(method->json, "shortcuts"), shortcut), "class");
}

bool number_of(const char *text, s128 *value)
{
	bool negative = *text == '-';
	size_t length;

	text += negative;
	length = strspn(text, "0123456789");
	if (!length || length > 38 || text[length])
		return false;
	for (*value = 0; *text; text++)
		*value = *value * 10 + (*text - '0');
	if (negative)
		*value = -*value;
	return true;
}

s128 answer_of(const struct vector *v, const char *name)
{
	const char *text = text_of(json_member(v->json, "answer"), name);
	s128 value;

	return text && number_of(text, &value) ? value : -1;
}

bool same_error(const struct vector *v, const char *shortcut, struct error error)
{
	const struct json *listed = json_member(json_member(v->json, "errors"), shortcut);
	const char *ticks = text_of(listed, "ticks"), *ns = text_of(listed, "ns");
	struct error known;

	return ticks && ns && number_of(ticks, &known.ticks) && number_of(ns, &known.ns) &&
	       known.ticks == error.ticks && known.ns == error.ns;
}
