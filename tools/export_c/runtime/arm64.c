/* SPDX-License-Identifier: GPL-2.0-only */
/* Pieces of exported programs for arm64. */

/* @host_counter */
static uint64_t host_counter(void)
{
	uint64_t ticks;

	__asm__ volatile("isb; mrs %0, cntvct_el0; isb" : "=r"(ticks) : : "memory");
	return ticks;
}

/* @CORE */
#define CORE(member) (KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | offsetof(struct kvm_regs, regs.member) / 4)

/* @reg */
struct reg {
	uint64_t id, value;
};

/* @set_regs */
static void set_regs(int fd, const struct reg *regs, size_t count)
{
	for (size_t i = 0; i < count; i++)
		must_reg(one_reg(fd, KVM_SET_ONE_REG, regs[i].id, &regs[i].value), "KVM_SET_ONE_REG");
}

/* @frequency_hz */
static uint64_t frequency_hz(void)
{
	uint64_t hz;

	__asm__("mrs %0, cntfrq_el0" : "=r"(hz));
	return hz;
}

/* @list_room */
struct list_room { uint64_t n, reg[4096]; }; /* a struct kvm_reg_list */
