/* SPDX-License-Identifier: GPL-2.0-only */
/* Pieces of programs whose guests leave in one way only, in place of those with the same names. */

/* @run_guest */
static void run_guest(struct vcpu *vcpu)
{
	const volatile uint64_t *fault = vcpu->mailbox->fault;
	long result;

	do { /* a signal that is not for the guest only interrupts */
		vcpu->before = host_counter(); /* @instants */
		result = call(vcpu->fd, KVM_RUN, 0);
		vcpu->after = host_counter(); /* @instants */
	} while (result < 0 && errno == EINTR);
	must(result, "KVM_RUN");
	if (vcpu->run->exit_reason != LEAVES_BY) /* how guest programs end */
		fail("the guest left with exit reason %u, not with %u", vcpu->run->exit_reason, LEAVES_BY);
	if (fault[0])
		fail("the guest took exception %" PRIu64 " (error %#" PRIx64 ") at %#" PRIx64, fault[1], fault[2], fault[3]);
}
