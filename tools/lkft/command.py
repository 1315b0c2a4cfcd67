# SPDX-License-Identifier: GPL-2.0-only
"""Boot the board qemu-arm64 by the very command line that tuxlava renders, with the suite as its test.

Kernel and packages are those of the lab's cache. Exit status: 0 the job ended in time and no case failed,
1 a case failed, or the definition did not come to its end, 2 it cannot be run.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fixtures.architectures import ARM64
from fixtures.lab import kernel, parts
from fixtures.lab.errors import LabError
from tools.arguments import USAGE, Parser
from tools.lkft import console, job, rootfs
from tools.lkft.console import JobResults
from tools.lkft.job import CannotRun

DEVICE = "qemu-arm64"
FAILED = 1
IMAGE, COMMAND, CONSOLE, RESULTS = "Image", "command.txt", "console.txt", "results.txt"


def main(argv: Sequence[str]) -> int:
    """Run the job that *argv* describes and print what became of it; return the exit status."""
    arguments = _parser().parse_args(argv)
    out: Path = arguments.out.resolve()
    try:
        results = run(out, arguments.kernel, arguments.boot_args, 60 * arguments.limit)
    except (CannotRun, LabError) as error:
        sys.stderr.write(f"lkft: {error}.\n")
        return USAGE
    print(summary(results))
    return status_of(results)


def run(out: Path, release: str, boot_args: str, limit_s: float = 0) -> JobResults:
    """Return the results of the job on Debian's kernel *release*; its files go into *out*.

    *limit_s* is how long the test may take; 0: as long as the job says.
    """
    out.mkdir(parents=True, exist_ok=True)
    kernel_set = parts.kernel_set(ARM64.name, release)
    rootfs.fetch(ARM64.name, kernel_set)
    image = Path(shutil.copy(kernel.from_packages(kernel_set).image, out / IMAGE))
    archive = out / rootfs.NAME
    archive.touch()  # tuxlava looks whether it is there
    rendered = job.render(DEVICE, image, archive, boot_args)
    rootfs.write(archive, ARM64.name, rendered)
    command = rendered.command({"kernel": image, "rootfs": archive})
    (out / COMMAND).write_text(f"{command}\n")
    print(command, flush=True)
    results = console.run(rendered, command, out / CONSOLE, limit_s or rendered.test_s)
    (out / RESULTS).write_text("".join(f"{name} {result}\n" for name, result in results.cases))
    return results


def summary(results: JobResults) -> str:
    """Return the results in one sentence."""
    counts = Counter(result for _, result in results.cases)
    shown = ", ".join(f"{count} {result}" for result, count in sorted(counts.items())) or "none"
    end = "" if results.ended else "; the definition did not come to its end"
    times = f"booted in {results.boot_s:.0f} s, tested in {results.test_s:.0f} s"
    return f"{len(results.cases)} cases: {shown}; {times}{end}"


def status_of(results: JobResults) -> int:
    """Return 0 for a job whose definition ended with cases of which none failed."""
    failed = any(result == "fail" for _, result in results.cases)
    return 0 if results.ended and results.cases and not failed else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="lkft", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/lkft"), metavar="DIR", help="where files go")
    parser.add_argument("--kernel", default="6.12", metavar="RELEASE", help="Debian's: 6.12, newest")
    parser.add_argument("--boot-args", default="", metavar="WORDS", help="such as kvm-arm.mode=nvhe")
    parser.add_argument(
        "--limit",
        type=float,
        default=0,
        metavar="MINUTES",
        help="for the test, where the computer is busy; the job has 15",
    )
    return parser
