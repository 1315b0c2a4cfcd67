/* SPDX-License-Identifier: GPL-2.0-only */
/* Pieces of exported programs; c_runtime.py takes those that are used. */

/* @wide */
__extension__ typedef __int128 wide; /* sums and products of two 64-bit values */

/* @finish */
#define finish(status, ...) /* print the TAP line and exit */ \
	(printf("%s 1 - %s%s", (status) == 1 ? "not ok" : "ok", CLAIM, (status) == 4 ? " # SKIP " : ": "), \
	 printf(__VA_ARGS__), putchar('\n'), exit(status))

/* @said */
static char said[512]; /* the last check in words */

/* @skip */
#define skip(...) finish(4, __VA_ARGS__)

/* @fail */
#define fail(...) finish(1, __VA_ARGS__)

/* @judge */
#define judge(holds, ...) (snprintf(said, sizeof(said), __VA_ARGS__), (holds) ? (void)0 : fail("%s", said))

/* @on_alarm */
static void on_alarm(int number)
{
	_exit(number == SIGALRM && write(STDOUT_FILENO, LATE, sizeof(LATE) - 1) < 0 ? 2 : 1);
}

/* @in_claim */
static bool in_claim; /* before, a failed call is not a fault of KVM's */

/* @NOT_HANDLED */
#define NOT_HANDLED 4096 /* errno where KVM_GET_MSRS or KVM_SET_MSRS handled no entry */

/* @call */
#define call(fd, request, argument) ioctl(fd, request, (uintptr_t)(argument))

/* @must */
static long must(long result, const char *what)
{
	if (result < 0)
		finish(in_claim ? 1 : 4, "%s failed with %s", what, strerror(errno));
	return result;
}

/* @must_reg */
static long must_reg(long result, const char *what)
{
	if (result < 0 && errno == ENOENT)
		skip("%s: this register is absent", what);
	return must(result, what);
}

/* @must_msr */
static long must_msr(long result, const char *what)
{
	if (result < 0 && errno == NOT_HANDLED)
		fail("%s handled 0 of 1 entries: KVM refuses this MSR or value", what);
	return must(result, what);
}

/* @MUST */
#define MUST(fd, request, argument) must(call(fd, request, argument), #request)

/* @MUST_REG */
#define MUST_REG(fd, request, id, value) must_reg(one_reg(fd, request, id, value), #request "(" #id ")")

/* @MUST_ATTRIBUTE */
#define MUST_ATTRIBUTE(fd, request, of, number, value) \
	must(attribute(fd, request, of, number, value), #request "(" #of ", " #number ")")

/* @must_refuse */
static void must_refuse(long result, int error, const char *what)
{
	const char *wanted = error == NOT_HANDLED ? "no entry handled" : strerror(error);

	if (result >= 0)
		fail("%s succeeded; the interface promises %s", what, wanted);
	judge(errno == error, "%s failed with %s; the interface promises %s", what, strerror(errno), wanted);
}

/* @would_succeed */
static long would_succeed(long result, const char *what)
{
	if (result < 0)
		skip("%s failed with %s, and succeeded in the run that was recorded", what, strerror(errno));
	return result;
}

/* @would_refuse */
static void would_refuse(long result, int error, const char *what)
{
	if (result >= 0 || errno != error)
		skip("%s did not fail with errno %d, as in the run that was recorded", what, error);
}

/* @assume */
#define assume(condition, reason) ((condition) ? (void)0 : skip("%s", reason))

/* @as_recorded */
#define as_recorded(condition) assume(condition, "unlike in the run that was recorded, this is false: " #condition)

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
	bool inside = value - first <= last - first; /* modulo 2**64: counters wrap */
	char where[64] = "inside";

	if (!inside)
		snprintf(where, sizeof(where), "%" PRIu64 " %s", after <= before ? after : before,
			 after <= before ? "after the end" : "before the start");
	judge(inside, "%" PRIu64 " (%#" PRIx64 ") is %s of [%" PRIu64 ", %" PRIu64 "], %" PRIu64 " wide",
	      value, value, where, first, last, last - first);
}

/* @check */
#define check(left, operator, right, source) check_numbers((left) operator (right), left, #operator, right, source)

/* @check_numbers */
static void check_numbers(bool holds, uint64_t left, const char *operator, uint64_t right, const char *source)
{
	judge(holds, "%" PRIu64 " %s %" PRIu64 "%s: %s", left, operator, right, holds ? "" : " does not hold", source);
}

/* @check_wide */
#define check_wide(left, operator, right, source) check_wide_numbers((wide)(left) operator (right), left, #operator, right, source)

/* @check_wide_numbers */
static void check_wide_numbers(bool holds, wide left, const char *operator, wide right, const char *source)
{
	judge(holds, "%s %s %s%s: %s", decimal(left), operator, decimal(right), holds ? "" : " does not hold", source);
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

/* @how_many */
static uint64_t how_many(const uint64_t *row, uint64_t count, uint64_t value) /* of the first rows have this value */
{
	uint64_t found = 0;

	for (uint64_t i = 0; i < count && i < 64; i++)
		found += row[8 * i] == value;
	return found;
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
#define clocksource_is_tsc() file_names(CLOCKSOURCE "current_clocksource", "tsc") /* or Hyper-V's page with it */

/* @tsc_is_stable */
#define tsc_is_stable() file_names(CLOCKSOURCE "available_clocksource", "tsc")

/* @CLOCKSOURCE */
#define CLOCKSOURCE "/sys/devices/system/clocksource/clocksource0/"

/* @file_names */
static bool file_names(const char *path, const char *name)
{
	char line[256] = "";
	FILE *file = fopen(path, "r");

	if (file && !fgets(line, sizeof(line), file))
		*line = 0;
	if (file)
		fclose(file);
	return strstr(line, name) != NULL;
}

/* @map */
static void *map(int fd, size_t size) /* without a file: new memory */
{
	void *found = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	if (found == MAP_FAILED)
		skip("mmap of %zu bytes failed with %s", size, strerror(errno));
	return found;
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
struct mailbox { /* what a guest program takes and leaves; fault: count, vector, error and pc of exceptions */
	uint64_t result[8], fault[4], reserved[4], operand[8];
};

/* @vcpu */
struct vcpu {
	int fd;
	unsigned long id;
	struct kvm_run *run;
	volatile struct mailbox *mailbox;
	uint64_t before, after; /* host counter around the last KVM_RUN */ /* @instants */
};

/* @create_vcpu */
static struct vcpu create_vcpu(int kvm, int vm, unsigned long id, uint8_t *memory)
{
	struct vcpu vcpu = { .id = id, .mailbox = memory ? (void *)(memory + MAILBOXES + id * 0x1000) : NULL };

	vcpu.fd = MUST(vm, KVM_CREATE_VCPU, id);
	vcpu.run = map(vcpu.fd, MUST(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	return vcpu;
}

/* @run_to */
static void run_to(struct vcpu *vcpu, uint32_t reason)
{
	long result;

	do { /* a signal that is not for the guest only interrupts */
		vcpu->before = host_counter(); /* @instants */
		result = call(vcpu->fd, KVM_RUN, 0);
		vcpu->after = host_counter(); /* @instants */
	} while (result < 0 && errno == EINTR);
	must(result, "KVM_RUN");
	if (vcpu->run->exit_reason != reason)
		fail("the guest left with exit reason %u, not with %u", vcpu->run->exit_reason, reason);
}

/* @run_guest */
static void run_guest(struct vcpu *vcpu)
{
	const volatile uint64_t *fault = vcpu->mailbox->fault;

	run_to(vcpu, LEAVES_BY); /* how guest programs end */
	if (fault[0])
		fail("the guest took exception %" PRIu64 " (error %#" PRIx64 ") at %#" PRIx64, fault[1], fault[2], fault[3]);
}

/* @run_guest_alike */
static void run_guest_alike(struct vcpu *vcpu, bool faulted) /* with an exception where the recorded one took one */
{
	run_to(vcpu, LEAVES_BY);
	if (!vcpu->mailbox->fault[0] == faulted)
		skip("the guest took %s exception, unlike in the run that was recorded", faulted ? "no" : "an");
	vcpu->mailbox->fault[0] = 0;
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

/* @begin_together */
static pthread_barrier_t begin_together;

/* @run_in_thread */
static void *run_in_thread(void *vcpu)
{
	pthread_barrier_wait(&begin_together);
	run_guest(vcpu);
	return NULL;
}

/* @run_at_once */
static void run_at_once(struct vcpu **vcpus, unsigned int count)
{
	pthread_t threads[16];

	pthread_barrier_init(&begin_together, NULL, count);
	for (unsigned int i = 0; i < count; i++) {
		if (pthread_create(&threads[i], NULL, run_in_thread, vcpus[i]))
			skip("no thread for a vCPU");
	}
	for (unsigned int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&begin_together);
}

/* @run_nothing */
static void run_nothing(struct vcpu *vcpu)
{
	long result;

	vcpu->before = host_counter(); /* @instants */
	result = call(vcpu->fd, KVM_RUN, 0);
	vcpu->after = host_counter(); /* @instants */
	if (result >= 0 || errno != EINTR)
		must(result, "KVM_RUN");
}

/* @finish_exit */
static void finish_exit(const struct vcpu *vcpu)
{
	vcpu->run->immediate_exit = 1; /* complete the access, run no guest instruction */
	if (call(vcpu->fd, KVM_RUN, 0) >= 0 || errno != EINTR)
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

/* @in_thread */
static pthread_t in_thread(void *(*work)(void *), struct vcpu *vcpu)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, work, vcpu))
		skip("no thread for a vCPU");
	return thread;
}

/* @spin_start */
#define spin_start(vcpu) in_thread(spin_in_thread, vcpu)

/* @run_alone */
static void *run_alone(void *vcpu)
{
	run_guest(vcpu);
	return NULL;
}

/* @run_meanwhile */
#define run_meanwhile(vcpu) in_thread(run_alone, vcpu)

/* @await_readings */
static void await_readings(const struct vcpu *vcpu, uint64_t since, uint64_t count)
{
	while (vcpu->mailbox->result[4] - since < count) /* the guest counts its readings there */
		sleep_ns(1000000);
}

/* @pin */
static void pin(unsigned int number) /* to a CPU of those that the program was given, modulo how many they are */
{
	static cpu_set_t given;
	cpu_set_t chosen;
	int cpu = 0;

	if (!CPU_COUNT(&given) && sched_getaffinity(0, sizeof(given), &given))
		skip("sched_getaffinity failed with %s", strerror(errno));
	for (number %= CPU_COUNT(&given); !CPU_ISSET(cpu, &given) || number--; cpu++)
		;
	CPU_ZERO(&chosen);
	CPU_SET(cpu, &chosen);
	if (sched_setaffinity(0, sizeof(chosen), &chosen))
		skip("sched_setaffinity failed with %s", strerror(errno));
}

/* @run_delay_ns */
static uint64_t run_delay_ns(void) /* how long this thread has been ready to run without a CPU */
{
	FILE *file = fopen("/proc/thread-self/schedstat", "r");
	uint64_t delay = 0;

	if (!file || fscanf(file, "%*u %" SCNu64, &delay) != 1)
		skip("/proc/thread-self/schedstat cannot be read");
	fclose(file);
	return delay;
}

/* @give_way */
static void give_way(void)
{
	for (unsigned int i = 0; i < 1000; i++)
		sched_yield();
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
#define attribute(fd, request, of, number, value) /* of a device, a VM or a vCPU */ \
	call(fd, request, &((struct kvm_device_attr){ .group = (of), .attr = (number), .addr = (uintptr_t)(value) }))

/* @one_reg */
#define one_reg(fd, request, number, value) \
	call(fd, request, &((struct kvm_one_reg){ .id = (number), .addr = (uintptr_t)(value) }))
