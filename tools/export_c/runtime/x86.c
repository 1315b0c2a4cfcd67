/* SPDX-License-Identifier: GPL-2.0-only */
/* Pieces of exported programs for x86_64. */

/* @host_counter */
static uint64_t host_counter(void)
{
	uint64_t low, high;

	__asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
	return high << 32 | low;
}

/* @one_msr */
static long one_msr(int fd, unsigned long request, uint32_t index, uint64_t *value)
{
	struct { uint32_t count, pad; struct kvm_msr_entry entry; } msrs = { 1, 0, { .index = index, .data = *value } };
	long result = call(fd, request, &msrs); /* a struct kvm_msrs with one entry */

	*value = msrs.entry.data;
	if (result)
		return result;
	errno = NOT_HANDLED;
	return -1;
}

/* @get_msr */
static long get_msr(int fd, uint32_t index, uint64_t *value)
{
	return one_msr(fd, KVM_GET_MSRS, index, value);
}

/* @read_msr */
static uint64_t read_msr(int fd, uint32_t index, const char *what)
{
	uint64_t value = 0;

	must_msr(one_msr(fd, KVM_GET_MSRS, index, &value), what);
	return value;
}

/* @set_msr */
#define set_msr(fd, index, value) one_msr(fd, KVM_SET_MSRS, index, &(uint64_t){ value })

/* @pvclock_ns */
static uint64_t pvclock_ns(const struct pvclock_vcpu_time_info *record, uint64_t tsc)
{
	uint64_t delta = tsc - record->tsc_timestamp;
	int shift = record->tsc_shift;

	delta = shift < 0 ? delta >> -shift : delta << shift;
	return record->system_time + (uint64_t)((wide)delta * record->tsc_to_system_mul >> 32);
}

/* @cpuid_room */
struct cpuid_room { uint32_t nent, padding; struct kvm_cpuid_entry2 entries[256]; }; /* a struct kvm_cpuid2 */

/* @change_cpuid */
static void change_cpuid(struct cpuid_room *cpuid, uint32_t leaf, size_t reg, uint32_t clear, uint32_t set)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		uint32_t *value = (uint32_t *)((uint8_t *)&cpuid->entries[i] + reg);

		if (cpuid->entries[i].function == leaf)
			*value = (*value & ~clear) | set;
	}
}

/* @use_hyperv_leaves */
static void use_hyperv_leaves(struct cpuid_room *cpuid, const struct cpuid_room *offered) /* in place of KVM's own */
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < cpuid->nent; i++) {
		if ((cpuid->entries[i].function & ~0xffU) != 0x40000000)
			cpuid->entries[kept++] = cpuid->entries[i];
	}
	memcpy(&cpuid->entries[kept], offered->entries, offered->nent * sizeof(offered->entries[0]));
	cpuid->nent = kept + offered->nent;
}

/* @frequency_hz */
static uint64_t frequency_hz(int kvm)
{
	int vm = must(call(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	int vcpu = must(call(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	uint64_t khz = must(call(vcpu, KVM_GET_TSC_KHZ, 0), "KVM_GET_TSC_KHZ");

	close(vcpu);
	close(vm);
	return 1000 * khz;
}
