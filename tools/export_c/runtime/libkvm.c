/* SPDX-License-Identifier: GPL-2.0-only */
/* Pieces of programs for tools/testing/selftests/kvm, in place of those with the same names. */

/* @vcpu */

/* @mailbox */

/* @skip */
#define skip(...) __TEST_REQUIRE(0, __VA_ARGS__)

/* @fail */
#define fail(...) TEST_FAIL(__VA_ARGS__)

/* @must */
static long must(long result, const char *what)
{
	__TEST_REQUIRE(in_claim || result >= 0, "%s failed with %s", what, strerror(errno));
	TEST_ASSERT(result >= 0, "%s failed with %s", what, strerror(errno));
	return result;
}

/* @must_refuse */
static void must_refuse(long result, int error, const char *what)
{
	const char *wanted = error == NOT_HANDLED ? "no entry handled" : strerror(error);

	TEST_ASSERT(result < 0, "%s succeeded; the interface promises %s", what, wanted);
	TEST_ASSERT(errno == error, "%s failed with errno %d; the interface promises %s", what, errno, wanted);
}

/* @assume */
#define assume(condition, reason) __TEST_REQUIRE(condition, "%s", reason)

/* @as_recorded */
#define as_recorded(condition) assume(condition, "unlike in the run that was recorded, this is false: " #condition)

/* @check_window */
static void check_window(uint64_t value, uint64_t first, uint64_t last)
{
	uint64_t after = value - last, before = first - value;

	TEST_ASSERT(in_window(value, first, last),
		    "%" PRIu64 " (%#" PRIx64 ") is %" PRIu64 " %s of [%" PRIu64 ", %" PRIu64 "], %" PRIu64 " wide",
		    value, value, after <= before ? after : before,
		    after <= before ? "after the end" : "before the start", first, last, last - first);
}

/* @check_numbers */
static void check_numbers(bool holds, uint64_t left, const char *operator, uint64_t right, const char *source)
{
	TEST_ASSERT(holds, "%" PRIu64 " %s %" PRIu64 " does not hold: %s", left, operator, right, source);
}

/* @check_wide_numbers */
static void check_wide_numbers(bool holds, wide left, const char *operator, wide right, const char *source)
{
	TEST_ASSERT(holds, "%s %s %s does not hold: %s", decimal(left), operator, decimal(right), source);
}

/* @check_that */
static void check_that(bool holds, const char *source)
{
	TEST_ASSERT(holds, "this does not hold: %s", source);
}

/* @guest */
struct guest {
	struct kvm_vcpu *vcpu;
	uint64_t before, after; /* host counter around the last KVM_RUN */ /* @instants */
	uint64_t result[UCALL_MAX_ARGS]; /* of its last ucall */
};

/* @run_guest */
static void run_guest(struct guest *guest)
{
	struct ucall uc;
	uint64_t cmd;

	guest->before = host_counter(); /* @instants */
	vcpu_run(guest->vcpu);
	guest->after = host_counter(); /* @instants */
	cmd = get_ucall(guest->vcpu, &uc);
	if (cmd == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);
	TEST_ASSERT(cmd == UCALL_SYNC, "the guest left by ucall %" PRIu64 ", not by UCALL_SYNC", cmd);
	memcpy(guest->result, uc.args, sizeof(guest->result));
}
