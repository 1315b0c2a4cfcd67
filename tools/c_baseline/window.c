// SPDX-License-Identifier: GPL-2.0-only
/*
 * The C baseline of Vcpu.timed_run(): host TSC, KVM_RUN, host TSC, on the same guest.
 *
 * usage: window MEMORY SREGS REGS COUNT
 *
 * MEMORY is guest memory from address 0, SREGS and REGS are struct kvm_sregs and struct
 * kvm_regs as the Python side set them. Prints COUNT window widths in ticks, one a line.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <x86intrin.h>

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

static size_t load(const char *path, void *into, size_t size)
{
	FILE *file = fopen(path, "rb");
	size_t got;

	if (!file)
		err(1, "%s", path);
	got = fread(into, 1, size, file);
	fclose(file);
	return got;
}

int main(int argc, char **argv)
{
	struct kvm_userspace_memory_region region = { 0 };
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvm_run *run;
	struct stat info;
	uint64_t *widths;
	void *memory;
	int kvm, vm, vcpu;
	long count;

	if (argc != 5)
		errx(1, "usage: window MEMORY SREGS REGS COUNT");
	count = atol(argv[4]);
	widths = calloc(count, sizeof(*widths));
	checked(stat(argv[1], &info), argv[1]);
	memory = mmap(NULL, info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!widths || memory == MAP_FAILED)
		err(1, "memory");
	load(argv[1], memory, info.st_size);
	if (load(argv[2], &sregs, sizeof(sregs)) != sizeof(sregs) ||
	    load(argv[3], &regs, sizeof(regs)) != sizeof(regs))
		errx(1, "registers of another size: not made by this kernel's headers");

	kvm = checked(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	vm = checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	region.memory_size = info.st_size;
	region.userspace_addr = (uintptr_t)memory;
	checked(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	vcpu = checked(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	run = mmap(NULL, checked(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE"),
		   PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		err(1, "mmap of kvm_run");
	checked(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	checked(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");

	for (long i = 0; i < count; i++) {
		uint64_t before = host_tsc();

		checked(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
		widths[i] = host_tsc() - before;
		if (run->exit_reason != KVM_EXIT_IO)
			errx(1, "exit reason %u", run->exit_reason);
	}
	for (long i = 0; i < count; i++)
		printf("%lu\n", (unsigned long)widths[i]);
	return 0;
}
