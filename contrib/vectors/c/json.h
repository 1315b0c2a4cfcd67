/* SPDX-License-Identifier: GPL-2.0-only */
/* As much JSON as a vectors file needs: objects, arrays, strings without \u, integers, null. */
#ifndef JSON_H
#define JSON_H

enum json_kind { JSON_NULL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
	enum json_kind kind;
	const char *name;	/* in an object, else NULL */
	const char *text;	/* of a string, or a number's digits */
	struct json *child;	/* first element or member */
	struct json *next;
};

/*
 * Parse @text, which is changed and must outlive the result. NULL, with a sentence in *@error and
 * the place in *@at, if it is something else than JSON or has more than a vectors file does.
 */
const struct json *json_parse(char *text, const char **error, const char **at);

/* Return the member @name of @object, or NULL. */
const struct json *json_member(const struct json *object, const char *name);

#endif
