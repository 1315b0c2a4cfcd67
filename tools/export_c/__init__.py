# SPDX-License-Identifier: GPL-2.0-only
"""From a claim to one C program that makes the same system calls and the same checks.

The claim runs once on a target. Its modules are compiled so that each value it reads remembers
which step of the run gave it (`rewrite`, `hooks`, `symbolic`), and what it asserts is kept as an
expression over such values. The steps (`events`, `recorder`) become C text (`writer`).
"""
