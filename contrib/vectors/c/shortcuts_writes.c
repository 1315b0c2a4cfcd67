// SPDX-License-Identifier: GPL-2.0-only
/* Shortcuts of x86-value-write, x86-deadline. */
#include "shortcuts.h"

/* x86-value-write: the rule again, with its parts to be left out. */

struct write_rule {
	u64 elapsed_ns, last_khz, user_set;
};

static s128 taken(const struct vector *v)
{
	return in(v, "value") - in(v, "scaled_host_tsc");
}

static struct write_rule rule(const struct vector *v)
{
	return (struct write_rule){ in(v, "elapsed_ns"), in(v, "last_khz"), in(v, "user_set") };
}

static s128 written(const struct vector *v, struct write_rule r)
{
	u64 value = in(v, "value"), khz = in(v, "tsc_khz"), second = khz * 1000;
	u64 expected = (u64)(in(v, "last_value") + ticks_at_khz(r.elapsed_ns, khz));

	if (khz && khz == r.last_khz &&
	    (!value || (r.user_set && value < expected + second && value + second > expected)))
		return in(v, "generation_offset");
	return taken(v);
}

SHORTCUT(x86_value_write_taken_as_written)
{
	return taken(v);
}

SHORTCUT(x86_value_write_expected_to_join)
{
	return in(v, "generation_offset");
}

SHORTCUT(x86_value_write_zero_taken)
{
	return in(v, "value") ? written(v, rule(v)) : taken(v);
}

SHORTCUT(x86_value_write_elapsed_left_out)
{
	struct write_rule r = rule(v);

	r.elapsed_ns = 0;
	return written(v, r);
}

SHORTCUT(x86_value_write_creation_counts)
{
	struct write_rule r = rule(v);

	r.user_set = 1;
	return written(v, r);
}

SHORTCUT(x86_value_write_any_frequency)
{
	struct write_rule r = rule(v);

	r.last_khz = in(v, "tsc_khz");
	return written(v, r);
}

SHORTCUT(x86_value_write_window_wraps)
{
	u64 value = in(v, "value"), khz = in(v, "tsc_khz");
	s128 near = (s64)(u64)(value - in(v, "last_value") - ticks_at_khz(in(v, "elapsed_ns"), khz));
	s128 second = (s128)khz * 1000;

	if (khz == in(v, "last_khz") &&
	    (!value || (in(v, "user_set") && near < second && -near < second)))
		return in(v, "generation_offset");
	return taken(v);
}

/* x86-deadline */

static s128 wait_ticks(u64 deadline, u64 guest_tsc)
{
	return deadline > guest_tsc ? deadline - guest_tsc : 0;
}

static u64 restored_tsc(const struct vector *v)
{
	return in(v, "scaled_host_tsc") + in(v, "tsc_offset");
}

SHORTCUT(x86_deadline_moved_with_the_offset)
{
	u64 deadline = in(v, "deadline") + in(v, "tsc_offset") - in(v, "source_tsc_offset");

	return wait_ticks(deadline, restored_tsc(v));
}

SHORTCUT(x86_deadline_armed_too_early)
{
	return wait_ticks(in(v, "deadline"), in(v, "scaled_host_tsc") + in(v, "creation_tsc_offset"));
}

SHORTCUT(x86_deadline_rest_saved)
{
	return wait_ticks(in(v, "deadline"), in(v, "source_guest_tsc"));
}

SHORTCUT(x86_deadline_signed_comparison)
{
	return MAX(0, (s64)(in(v, "deadline") - restored_tsc(v)));
}

const struct shortcut shortcuts_writes[] = {
	{ "x86-value-write", "taken-as-written", x86_value_write_taken_as_written },
	{ "x86-value-write", "expected-to-join", x86_value_write_expected_to_join },
	{ "x86-value-write", "zero-taken", x86_value_write_zero_taken },
	{ "x86-value-write", "elapsed-left-out", x86_value_write_elapsed_left_out },
	{ "x86-value-write", "creation-counts", x86_value_write_creation_counts },
	{ "x86-value-write", "any-frequency", x86_value_write_any_frequency },
	{ "x86-value-write", "window-wraps", x86_value_write_window_wraps },
	{ "x86-deadline", "moved-with-the-offset", x86_deadline_moved_with_the_offset },
	{ "x86-deadline", "armed-too-early", x86_deadline_armed_too_early },
	{ "x86-deadline", "rest-saved", x86_deadline_rest_saved },
	{ "x86-deadline", "signed-comparison", x86_deadline_signed_comparison },
	{ 0 },
};
