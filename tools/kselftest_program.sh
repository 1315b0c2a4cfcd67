#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The claims of one module as a program of kselftest. Every program is a copy of this file: its
# own name says which module, kvm_x86_set_clock.sh is kvmtests/x86/test_set_clock.py.
here=$(dirname "$0")
program=$(basename "$0")
case $program in
kvm_x86_*) processor=x86_64 ;;
kvm_arm64_*) processor=aarch64 ;;
kvm_riscv_*) processor=riscv64 ;;
kvm_powerpc_*) processor=ppc64le ;;
*) processor= ;;
esac
# Starting Python takes longer than most programs run. A target that is named may be simulated.
case " $*" in
*" --target"*) processor= ;;
esac
if [ -n "$processor" ] && [ "$(uname -m)" != "$processor" ]; then
	printf 'TAP version 13\n1..0 # SKIP none of these claims concerns this host\n'
	exit 4
fi
if ! command -v python3 >/dev/null; then
	printf 'TAP version 13\n1..0 # SKIP python3 is not installed\n'
	exit 4
fi
exec python3 -u "$here/tools/kselftest.py" "$program" "$@"
