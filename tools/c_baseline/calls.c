// SPDX-License-Identifier: GPL-2.0-only
/*
 * The C baseline of tools/measure_calls.py: the same system calls on the same guests.
 *
 * usage: calls FOLDER CALLS FEW SAMPLES
 *
 * FOLDER has guest memory ("memory") and, for each program run here (tsc, hlt, mmio, tsc_triples), its
 * struct kvm_sregs and kvm_regs ("tsc.sregs", "tsc.regs", ...) as the Python side set them.
 * Prints "NAME TICKS" for each call: host TSC ticks of CALLS calls; of FEW runs that store SAMPLES
 * triples, in thousandths of a tick for each, and of FEW creations.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <x86intrin.h>

#define MSR_IA32_TSC 0x10
#define MSR_IA32_TSC_ADJUST 0x3b

static const char *folder;
static int kvm, vm, vcpu;
static struct kvm_run *run;
static unsigned char *memory;
static size_t memory_size;

static uint64_t host_tsc(void)
{
	uint64_t tsc;

	_mm_lfence();
	tsc = __rdtsc();
	_mm_lfence();
	return tsc;
}

static int checked(int result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
	return result;
}

static void load(const char *name, const char *suffix, void *into, size_t size)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s%s", folder, name, suffix);
	file = fopen(path, "rb");
	if (!file)
		err(1, "%s", path);
	if (fread(into, 1, size, file) != size)
		errx(1, "%s is too short: not made by this kernel's headers", path);
	fclose(file);
}

static void load_program(const char *name)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	load(name, ".sregs", &sregs, sizeof(sregs));
	load(name, ".regs", &regs, sizeof(regs));
	run->immediate_exit = 1;	/* finish what the last program left open */
	ioctl(vcpu, KVM_RUN, 0);
	run->immediate_exit = 0;
	checked(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	checked(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static struct kvm_cpuid2 *supported_cpuid(void)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + 256 * sizeof(cpuid->entries[0]));

	cpuid->nent = 256;
	checked(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid), "KVM_GET_SUPPORTED_CPUID");
	return cpuid;
}

static void give_memory(int fd)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = memory_size,
		.userspace_addr = (uintptr_t)memory,
	};

	checked(ioctl(fd, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static void get_clock(void)
{
	struct kvm_clock_data data;

	checked(ioctl(vm, KVM_GET_CLOCK, &data), "KVM_GET_CLOCK");
}

static void set_clock(void)
{
	struct kvm_clock_data data = { .clock = 7000000000 };

	checked(ioctl(vm, KVM_SET_CLOCK, &data), "KVM_SET_CLOCK");
}

static void attribute(unsigned long request, uint64_t *value)
{
	struct kvm_device_attr attr = { .group = 0, .attr = 0, .addr = (uintptr_t)value };

	checked(ioctl(vcpu, request, &attr), "KVM_VCPU_TSC_OFFSET");
}

static void get_offset(void)
{
	uint64_t value;

	attribute(KVM_GET_DEVICE_ATTR, &value);
}

static void set_offset(void)
{
	uint64_t value = 12345;

	attribute(KVM_SET_DEVICE_ATTR, &value);
}

static void msr(unsigned long request, uint32_t index)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry.index = index };

	if (checked(ioctl(vcpu, request, &msrs), "KVM_GET_MSRS, KVM_SET_MSRS") != 1)
		errx(1, "MSR %#x", index);
}

static void get_msr(void)
{
	msr(KVM_GET_MSRS, MSR_IA32_TSC);
}

static void set_msr(void)
{
	msr(KVM_SET_MSRS, MSR_IA32_TSC_ADJUST);
}

static void get_tsc_khz(void)
{
	checked(ioctl(vcpu, KVM_GET_TSC_KHZ, 0), "KVM_GET_TSC_KHZ");
}

static void run_immediate(void)
{
	run->immediate_exit = 1;
	if (ioctl(vcpu, KVM_RUN, 0) == 0 || errno != EINTR)
		errx(1, "immediate_exit");
	run->immediate_exit = 0;
}

static void run_to(uint32_t reason)
{
	checked(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
	if (run->exit_reason != reason)
		errx(1, "exit reason %u, not %u", run->exit_reason, reason);
}

static void run_out(void)
{
	run_to(KVM_EXIT_IO);
}

static void run_hlt(void)
{
	run_to(KVM_EXIT_HLT);
}

static void run_mmio(void)
{
	run_to(KVM_EXIT_MMIO);
}

static void new_vm(void)
{
	close(checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM"));
}

static void new_vcpu(void)
{
	int other = checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	int fd = checked(ioctl(other, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");

	close(fd);
	close(other);
}

static void measure(const char *name, void (*call)(void), long calls)
{
	uint64_t *ticks = calloc(calls, sizeof(*ticks));

	if (!ticks)
		err(1, "memory");
	call();
	for (long i = 0; i < calls; i++) {
		uint64_t before = host_tsc();

		call();
		ticks[i] = host_tsc() - before;
	}
	for (long i = 0; i < calls; i++)
		printf("%s %lu\n", name, (unsigned long)ticks[i]);
	free(ticks);
}

static void measure_samples(long runs, long samples)
{
	run_out();
	for (long i = 0; i < runs; i++) {
		uint64_t before = host_tsc();

		run_out();
		printf("sample %lu\n", (unsigned long)((host_tsc() - before) * 1000 / samples));
	}
}

int main(int argc, char **argv)
{
	long calls, few;
	struct stat info;
	char path[4096];

	if (argc != 5)
		errx(1, "usage: calls FOLDER CALLS FEW SAMPLES");
	folder = argv[1];
	calls = atol(argv[2]);
	few = atol(argv[3]);
	snprintf(path, sizeof(path), "%s/memory", folder);
	checked(stat(path, &info), path);
	memory_size = info.st_size;
	memory = mmap(NULL, memory_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		err(1, "memory");
	load("memory", "", memory, memory_size);

	kvm = checked(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	vm = checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	give_memory(vm);
	vcpu = checked(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	run = mmap(NULL, checked(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE"),
		   PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		err(1, "mmap of kvm_run");
	checked(ioctl(vcpu, KVM_SET_CPUID2, supported_cpuid()), "KVM_SET_CPUID2");

	load_program("tsc");
	run_out();
	measure("get_clock", get_clock, calls);
	measure("set_clock", set_clock, calls);
	measure("get_offset", get_offset, calls);
	measure("set_offset", set_offset, calls);
	measure("get_msr", get_msr, calls);
	measure("set_msr", set_msr, calls);
	measure("get_tsc_khz", get_tsc_khz, calls);
	measure("run_immediate", run_immediate, calls);
	measure("run_out", run_out, calls);
	load_program("hlt");
	measure("run_hlt", run_hlt, calls);
	load_program("mmio");
	measure("run_mmio", run_mmio, calls);
	load_program("tsc_triples");
	measure_samples(few, atol(argv[4]));
	measure("new_vm", new_vm, few);
	measure("new_vcpu", new_vcpu, few);
	return 0;
}
