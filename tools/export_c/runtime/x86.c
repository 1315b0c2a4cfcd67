/* SPDX-License-Identifier: GPL-2.0-only */
/* Pieces of exported programs for x86_64. */

/* @host_counter */
static uint64_t host_counter(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* @one_msr */
static long one_msr(int fd, unsigned long request, uint32_t index, uint64_t *value)
{
	struct kvm_msrs *msrs = calloc(1, sizeof(*msrs) + sizeof(msrs->entries[0]));
	long result;

	if (!msrs)
		skip("no memory for an MSR");
	msrs->nmsrs = 1;
	msrs->entries[0].index = index;
	msrs->entries[0].data = *value;
	result = call(fd, request, (uintptr_t)msrs);
	*value = msrs->entries[0].data;
	free(msrs);
	return result ? result : -NOT_HANDLED;
}

/* @get_msr */
static long get_msr(int fd, uint32_t index, uint64_t *value)
{
	return one_msr(fd, KVM_GET_MSRS, index, value);
}

/* @set_msr */
static long set_msr(int fd, uint32_t index, uint64_t value)
{
	return one_msr(fd, KVM_SET_MSRS, index, &value);
}

/* @copy_cpuid */
static struct kvm_cpuid2 *copy_cpuid(const struct kvm_cpuid2 *table)
{
	size_t size = sizeof(*table) + table->nent * sizeof(table->entries[0]);
	struct kvm_cpuid2 *copy = with_entries(size, 0, 0);

	memcpy(copy, table, size);
	return copy;
}

/* @change_cpuid */
static void change_cpuid(struct kvm_cpuid2 *table, uint32_t leaf, size_t reg, uint32_t clear, uint32_t set)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		uint32_t *value = (uint32_t *)((uint8_t *)&table->entries[i] + reg);

		if (table->entries[i].function == leaf)
			*value = (*value & ~clear) | set;
	}
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
