# SPDX-License-Identifier: GPL-2.0-only
"""What LAVA puts into the root file system: its scripts, and the test definition as a script with parameters.

The scripts are those of Debian's package lava-dispatcher. Where they go, and how a definition becomes run.sh,
is as its actions/deploy/overlay.py and testdef.py have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fixtures.lab import cpio, deb
from tools.lkft.job import CONTRIB, LavaJob

PLACE = "lava-0"
RUNNER = f"/{PLACE}/bin/lava-test-runner /{PLACE}/0"
"""The command that LAVA types once it has logged in."""

_SCRIPTS = "usr/lib/python3/dist-packages/lava_dispatcher/lava_test_shell/"
_WANTED = ("lava-test-runner", "lava-test-shell", "lava-test-case", "lava-test-raise", "lava-test-set")
_LIBRARY = "lava-common-functions"

SH_TEST_LIB = """\
create_out_dir() { mkdir -p "$1"; }
error_fatal() { echo "FATAL ERROR: $1" >&2; exit 1; }
warn_msg() { echo "WARNING: $1" >&2; }
report_skip() { echo "$1 skip" >>"$RESULT_FILE"; }
"""
"""automated/lib/sh-test-lib of Linaro's test-definitions: what our script uses, to the same effect."""

SEND_TO_LAVA = """\
#!/bin/sh
while read -r name result measurement units; do
	case "$result" in
	pass | fail | skip) ;;
	*) continue ;;
	esac
	set -- "$name" --result "$result"
	[ -z "$measurement" ] || set -- "$@" --measurement "$measurement"
	[ -z "$units" ] || set -- "$@" --units "$units"
	lava-test-case "$@"
done <"$1"
"""
"""automated/utils/send-to-lava.sh of the same tree: a test case for each line of a result file."""


def entries(job: LavaJob, package: Path) -> Iterator[cpio.Entry]:
    """Yield the files of the overlay of *job*, with the scripts in *package*."""
    yield from _scripts(package)
    run = f"{job.test['name']}"
    place = f"{PLACE}/0/tests/0_{run}"
    yield cpio.file(f"{PLACE}/0/lava-test-runner.conf", f"/{place}\n".encode())
    yield cpio.file(f"{place}/uuid", b"0_1.1\n")
    yield cpio.file(f"{place}/run.sh", run_script(job, f"/{place}", f"0_{run}").encode(), executable=True)
    for path in sorted((CONTRIB / "test-definitions").rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            where = f"{place}/{path.relative_to(CONTRIB / 'test-definitions')}"
            yield cpio.file(where, data, executable=data.startswith(b"#!"))
    yield cpio.file(f"{place}/automated/lib/sh-test-lib", SH_TEST_LIB.encode())
    yield cpio.file(f"{place}/automated/utils/send-to-lava.sh", SEND_TO_LAVA.encode(), executable=True)


def run_script(job: LavaJob, place: str, run: str) -> str:
    """Return run.sh of the definition: its parameters, those of *job*, and its steps between two signals."""
    lines = [
        *_assigned(job.definition.get("params", {})),
        *_assigned(job.test.get("parameters", {})),
        "set -e",
        f"export TESTRUN_ID={run}",
        f"cd {place}",
        "UUID=`cat uuid`",
    ]
    to_kernel_log = job.test.get("lava-signal") == "kmsg"
    level, where = ("<0>", " >/dev/kmsg") if to_kernel_log else ("", "")
    if to_kernel_log:
        lines.append("export KMSG=true")
    lines.append(f'echo "{level}<LAVA_SIGNAL_STARTRUN $TESTRUN_ID $UUID>"{where}')
    lines += ["set -x", *job.definition["run"]["steps"], "set +x"]
    if to_kernel_log:
        lines.append("unset KMSG")
    lines.append(f'echo "{level}<LAVA_SIGNAL_ENDRUN $TESTRUN_ID $UUID>"{where}')
    return "\n".join([*lines, ""])


def _assigned(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}='{value or ''}'" for name, value in values.items()]


def _scripts(package: Path) -> Iterator[cpio.Entry]:
    names = {f"{_SCRIPTS}{name}" for name in (*_WANTED, _LIBRARY)}
    for member in deb.members(package, names.__contains__):
        data = b"#!/bin/sh\n\n" + member.data  # as LAVA writes the shell's path on top
        yield cpio.file(f"{PLACE}/bin/{Path(member.path).name}", data, executable=True)
