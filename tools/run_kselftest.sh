#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Runs the installed tree next to this file; --help lists the options.
here=$(dirname "$(realpath "$0")")
if ! command -v python3 >/dev/null; then
	printf 'TAP version 13\n1..0 # SKIP python3 is not installed\n'
	exit 4
fi
exec python3 -u "$here/kvmtests/tools/kselftest_runner.py" --base "$here" "$@"
