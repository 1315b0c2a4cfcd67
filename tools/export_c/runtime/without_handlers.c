/* SPDX-License-Identifier: GPL-2.0-only */
/* Pieces of programs whose guests have no exception handlers, in place of those with the same names. */

/* @run_guest */
#define run_guest(vcpu) run_to(vcpu, LEAVES_BY) /* how guest programs end */
