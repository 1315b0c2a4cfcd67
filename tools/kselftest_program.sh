#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The claims of one module as a program of kselftest. Every program is a copy of this file: its
# own name says which module, kvm_x86_set_clock.sh is kvmtests/x86/test_set_clock.py.
here=$(dirname "$0")
if ! command -v python3 >/dev/null; then
	printf 'TAP version 13\n1..0 # SKIP python3 is not installed\n'
	exit 4
fi
exec python3 -u "$here/tools/kselftest.py" "$(basename "$0")" "$@"
