/* SPDX-License-Identifier: GPL-2.0-only */
/* Pieces of exported programs; c_runtime.py takes those that are used. */

/* @wide */
__extension__ typedef __int128 wide; /* sums and products of two 64-bit values */

/* @finish */
#define finish(status, ...) /* print the TAP line and exit */ \
	do { \
		printf("%s 1 - %s%s", (status) == 1 ? "not ok" : "ok", CLAIM, (status) == 4 ? " # SKIP " : ": "); \
		printf(__VA_ARGS__); \
		putchar('\n'); \
		exit(status); \
	} while (0)

/* @said */
static char said[512]; /* the last check in words */

/* @skip */
#define skip(...) finish(4, __VA_ARGS__)

/* @fail */
#define fail(...) finish(1, __VA_ARGS__)

/* @on_alarm */
static void on_alarm(int number)
{
	static const char line[] = "not ok 1 - " CLAIM " # TIMEOUT\n";

	(void)number;
	_exit(write(STDOUT_FILENO, line, sizeof(line) - 1) < 0 ? 2 : 1);
}

/* @in_claim */
static bool in_claim; /* before, a failed call is not a fault of KVM's */

/* @NOT_HANDLED */
#define NOT_HANDLED 4096 /* in place of an errno: KVM_GET_MSRS or KVM_SET_MSRS handled no entry */

/* @call */
#define call(fd, request, argument) call_with(fd, request, (uintptr_t)(argument))

/* @call_with */
static long call_with(int fd, unsigned long request, uintptr_t argument)
{
	long result = ioctl(fd, request, argument);

	return result < 0 ? -errno : result;
}

/* @must */
static long must(long result, const char *what)
{
	if (result < 0)
		finish(in_claim ? 1 : 4, "%s failed with %s", what, strerror(-result));
	return result;
}

/* @must_reg */
static long must_reg(long result, const char *what)
{
	if (result == -ENOENT)
		skip("%s: this register is absent", what);
	return must(result, what);
}

/* @must_msr */
static long must_msr(long result, const char *what)
{
	if (result == -NOT_HANDLED)
		fail("%s handled 0 of 1 entries: KVM refuses this MSR or value", what);
	return must(result, what);
}

/* @MUST */
#define MUST(fd, request, argument) must(call(fd, request, argument), #request)

/* @must_refuse */
static void must_refuse(long result, int error, const char *what)
{
	const char *wanted = error == NOT_HANDLED ? "no entry handled" : strerror(error);

	if (result >= 0)
		fail("%s succeeded; the interface promises %s", what, wanted);
	if (result != -error)
		fail("%s failed with %s; the interface promises %s", what, strerror(-result), wanted);
	snprintf(said, sizeof(said), "%s failed with %s, as promised", what, wanted);
}

/* @would_refuse */
static void would_refuse(long result, int error, const char *what)
{
	if (result != -error)
		skip("%s returned %ld where the run that was recorded got %d", what, result, -error);
}

/* @assume */
#define assume(condition, reason) \
	do { \
		if (!(condition)) \
			skip("%s", reason); \
	} while (0)

/* @decimal */
static const char *decimal(wide value)
{
	static char texts[4][48];
	static unsigned int next;
	char *text = texts[next++ % 4];

	if (value < 0)
		snprintf(text, sizeof(texts[0]), "-%" PRIu64, (uint64_t)-value);
	else if (value >> 64)
		snprintf(text, sizeof(texts[0]), "%#" PRIx64 "%016" PRIx64, (uint64_t)(value >> 64), (uint64_t)value);
	else
		snprintf(text, sizeof(texts[0]), "%" PRIu64, (uint64_t)value);
	return text;
}

/* @in_window */
static bool in_window(uint64_t value, uint64_t first, uint64_t last)
{
	return value - first <= last - first; /* modulo 2**64: counters wrap */
}

/* @check_window */
static void check_window(uint64_t value, uint64_t first, uint64_t last)
{
	uint64_t after = value - last, before = first - value;
	char where[64] = "inside";

	if (!in_window(value, first, last))
		snprintf(where, sizeof(where), "%" PRIu64 " %s", after <= before ? after : before,
			 after <= before ? "after the end" : "before the start");
	snprintf(said, sizeof(said), "%" PRIu64 " (%#" PRIx64 ") is %s of [%" PRIu64 ", %" PRIu64 "], %" PRIu64 " wide",
		 value, value, where, first, last, last - first);
	if (!in_window(value, first, last))
		fail("%s", said);
}

/* @check */
#define check(left, operator, right, source) \
	check_numbers((left) operator (right), left, #operator, right, source)

/* @check_numbers */
static void check_numbers(bool holds, uint64_t left, const char *operator, uint64_t right, const char *source)
{
	snprintf(said, sizeof(said), "%" PRIu64 " %s %" PRIu64 "%s: %s", left, operator, right,
		 holds ? "" : " does not hold", source);
	if (!holds)
		fail("%s", said);
}

/* @check_wide */
#define check_wide(left, operator, right, source) \
	check_wide_numbers((wide)(left) operator (right), left, #operator, right, source)

/* @check_wide_numbers */
static void check_wide_numbers(bool holds, wide left, const char *operator, wide right, const char *source)
{
	snprintf(said, sizeof(said), "%s %s %s%s: %s", decimal(left), operator, decimal(right),
		 holds ? "" : " does not hold", source);
	if (!holds)
		fail("%s", said);
}

/* @check_that */
static void check_that(bool holds, const char *source)
{
	if (!holds)
		fail("this does not hold: %s", source);
	snprintf(said, sizeof(said), "%s", source);
}

/* @check_bytes */
static void check_bytes(const void *left, const void *right, size_t size, const char *source)
{
	check_that(memcmp(left, right, size) == 0, source);
}

/* @floor_div */
static wide floor_div(wide left, wide right)
{
	return left / right - (left % right != 0 && (left < 0) != (right < 0));
}

/* @floor_mod */
static wide floor_mod(wide left, wide right)
{
	return left - right * floor_div(left, right);
}

/* @absolute */
static wide absolute(wide value)
{
	return value < 0 ? -value : value;
}

/* @minimum */
static wide minimum(wide left, wide right)
{
	return left < right ? left : right;
}

/* @maximum */
static wide maximum(wide left, wide right)
{
	return left > right ? left : right;
}

/* @clock_ns */
static uint64_t clock_ns(clockid_t id)
{
	struct timespec now;

	if (clock_gettime(id, &now))
		skip("clock_gettime failed with %s", strerror(errno));
	return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* @sleep_ns */
static void sleep_ns(uint64_t duration)
{
	struct timespec rest = { .tv_sec = duration / 1000000000, .tv_nsec = duration % 1000000000 };

	while (nanosleep(&rest, &rest) && errno == EINTR)
		;
}

/* @clocksource_is_tsc */
static bool clocksource_is_tsc(void)
{
	char name[64] = "";
	FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "r");

	if (file && !fgets(name, sizeof(name), file))
		*name = 0;
	if (file)
		fclose(file);
	return !strcmp(name, "tsc\n") || !strcmp(name, "hyperv_clocksource_tsc_page\n");
}

/* @tsc_is_stable */
static bool tsc_is_stable(void)
{
	char names[256] = "";
	FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/available_clocksource", "r");

	if (file && !fgets(names, sizeof(names), file))
		*names = 0;
	if (file)
		fclose(file);
	return strstr(names, "tsc") != NULL;
}

/* @guest_memory */
static uint8_t *guest_memory(size_t size)
{
	uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		skip("no %zu bytes of guest memory: %s", size, strerror(errno));
	return memory;
}

/* @store */
static void store(uint8_t *at, uint64_t value, size_t size)
{
	memcpy(at, &value, size); /* little-endian, as the guest */
}

/* @load */
static uint64_t load(const uint8_t *at, size_t size)
{
	uint64_t value = 0;

	memcpy(&value, at, size);
	return value;
}

/* @mailbox */
struct mailbox { /* what a guest program takes and leaves */
	uint64_t result[8];
	uint64_t fault[4]; /* exceptions: count, vector, error, pc */
	uint64_t reserved[4];
	uint64_t operand[8];
};

/* @vcpu */
struct vcpu {
	int fd;
	unsigned long id;
	struct kvm_run *run;
	volatile struct mailbox *mailbox;
	uint64_t before, after; /* host counter around the last KVM_RUN */
};

/* @create_vcpu */
static struct vcpu create_vcpu(int kvm, int vm, unsigned long id, uint8_t *memory)
{
	struct vcpu vcpu = { .id = id, .mailbox = memory ? (void *)(memory + MAILBOXES + id * 0x1000) : NULL };

	vcpu.fd = MUST(vm, KVM_CREATE_VCPU, id);
	vcpu.run = mmap(NULL, MUST(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.fd, 0);
	if (vcpu.run == MAP_FAILED)
		skip("mmap of kvm_run failed with %s", strerror(errno));
	return vcpu;
}

/* @run_to */
static void run_to(struct vcpu *vcpu, uint32_t reason)
{
	long result;

	do { /* a signal that is not for the guest only interrupts */
		vcpu->before = host_counter();
		result = call(vcpu->fd, KVM_RUN, 0);
		vcpu->after = host_counter();
	} while (result == -EINTR);
	must(result, "KVM_RUN");
	if (vcpu->run->exit_reason != reason)
		fail("the guest left with exit reason %u, not with %u", vcpu->run->exit_reason, reason);
}

/* @run_guest */
static void run_guest(struct vcpu *vcpu)
{
	const volatile uint64_t *fault = vcpu->mailbox->fault;

	run_to(vcpu, LEAVES_BY);
	if (fault[0])
		fail("the guest took exception %" PRIu64 " (error %#" PRIx64 ") at %#" PRIx64, fault[1], fault[2], fault[3]);
}

/* @run_guest_to_exception */
static void run_guest_to_exception(struct vcpu *vcpu)
{
	run_to(vcpu, LEAVES_BY);
	if (!vcpu->mailbox->fault[0])
		fail("the guest ran on; the interface promises an exception");
	snprintf(said, sizeof(said), "the guest took exception %" PRIu64 ", as promised", vcpu->mailbox->fault[1]);
	vcpu->mailbox->fault[0] = 0;
}

/* @run_nothing */
static void run_nothing(struct vcpu *vcpu)
{
	long result;

	vcpu->before = host_counter();
	result = call(vcpu->fd, KVM_RUN, 0);
	vcpu->after = host_counter();
	if (result != -EINTR)
		must(result, "KVM_RUN");
}

/* @finish_exit */
static void finish_exit(struct vcpu *vcpu)
{
	vcpu->run->immediate_exit = 1; /* complete the access, run no guest instruction */
	if (call(vcpu->fd, KVM_RUN, 0) != -EINTR)
		skip("KVM_RUN with immediate_exit did not end with EINTR");
	vcpu->run->immediate_exit = 0;
}

/* @spin_in_thread */
static void *spin_in_thread(void *argument)
{
	struct vcpu *vcpu = argument;

	while (!__atomic_load_n(&vcpu->run->immediate_exit, __ATOMIC_RELAXED))
		call(vcpu->fd, KVM_RUN, 0);
	return NULL;
}

/* @spin_start */
static pthread_t spin_start(struct vcpu *vcpu)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, spin_in_thread, vcpu))
		skip("no thread for a vCPU");
	return thread;
}

/* @spin_begun */
static void spin_begun(struct vcpu *vcpu)
{
	while (!vcpu->mailbox->result[0])
		sleep_ns(1000000);
}

/* @on_kick */
static void on_kick(int number)
{
	(void)number; /* ending the system call is the effect */
}

/* @spin_stop */
static void spin_stop(struct vcpu *vcpu, pthread_t thread)
{
	struct sigaction kick = { .sa_handler = on_kick };

	sigaction(SIGUSR1, &kick, NULL);
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELAXED);
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
	vcpu->run->immediate_exit = 0;
}

/* @attribute */
static long attribute(int fd, unsigned long request, uint32_t group, uint64_t number, const void *value)
{
	struct kvm_device_attr attr = { .group = group, .attr = number, .addr = (uintptr_t)value };

	return call(fd, request, &attr);
}

/* @one_reg */
static long one_reg(int fd, unsigned long request, uint64_t id, const void *value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)value };

	return call(fd, request, &reg);
}
