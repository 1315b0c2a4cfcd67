# SPDX-License-Identifier: GPL-2.0-only
"""Measure what this suite itself costs, as ratios, and compare them with earlier ones (`make speed`).

Processor seconds of whole commands stand against a bare pytest with one empty test, system calls
against the same in C. Ratios hardly depend on the host or on what else runs there; they are compared
with those of tools/speed_earlier.json. One that has grown by more than a quarter is said to have grown.

Exit status: 0 also then, 1 where a command failed, 2 usage.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from fixtures.kvm.errors import HarnessError
from fixtures.plugins.targets import CLAIMS
from fixtures.targets import all_targets, probe
from tools import measure_calls, measure_window
from tools.arguments import Parser, number_from
from tools.interruption import started

ROOT = CLAIMS.parent
EARLIER = Path(__file__).with_name("speed_earlier.json")
GROWN = 1.25
"""A ratio that is larger than the earlier one by this factor has grown."""

BARE = "bare pytest, one empty test"
CALLS = (
    "get_clock", "set_clock", "get_offset", "set_offset", "get_msr", "set_msr", "get_tsc_khz",
    "run_immediate", "run_out", "run_hlt", "run_mmio",
)  # fmt: skip
"""The rows of `tools.measure_calls` whose ratios hardly move with the load of the host: not the long ones."""

_CLAIM = "kvmtests/common/test_target.py::test_vcpu_id_is_given_once[sim-x86_64]"


class CommandFailed(Exception):
    """A command that is measured failed; the text is one sentence without a full stop."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """What a thing costs, as a multiple of what it stands against."""

    name: str
    against: str
    cost: str  # with its unit
    ratio: float


def main(argv: Sequence[str]) -> int:
    """Measure as *argv* says and print the table; return the exit status."""
    parser = Parser(prog="speed", description=__doc__.splitlines()[0])
    parser.add_argument(
        "-n", dest="rounds", type=number_from(2), default=5, metavar="N", help="rounds (default: 5)"
    )
    parser.add_argument("--keep", action="store_true", help=f"write the ratios to tools/{EARLIER.name}")
    arguments = parser.parse_args(argv)
    try:
        ratios = [*of_commands(arguments.rounds), *of_calls(arguments.rounds)]
    except CommandFailed as error:
        print(f"speed: {error}.", file=sys.stderr)
        return 1
    earlier = json.loads(EARLIER.read_text(encoding="utf-8")) if EARLIER.is_file() else {}
    print(table(ratios, earlier))
    print("".join(f"\nspeed: {sentence}." for sentence in grown(ratios, earlier)))
    if arguments.keep:
        kept = {each.name: round(each.ratio, 2) for each in ratios}
        EARLIER.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    return 0


def table(ratios: Sequence[Ratio], earlier: Mapping[str, float]) -> str:
    """Return *ratios* next to those of an *earlier* time."""
    rows = [
        [each.name, each.against, each.cost, f"{each.ratio:.2f}", earlier.get(each.name)] for each in ratios
    ]
    return tabulate(rows, headers=["", "against", "cost", "ratio", "earlier"], disable_numparse=True)


def grown(ratios: Sequence[Ratio], earlier: Mapping[str, float]) -> list[str]:
    """Return a sentence, without its full stop, for each ratio that is a quarter larger than *earlier*."""
    return [
        f"{each.name} grew from {earlier[each.name]:.2f} to {each.ratio:.2f} of {each.against}"
        for each in ratios
        if each.name in earlier and each.ratio > GROWN * earlier[each.name]
    ]


def of_commands(rounds: int) -> list[Ratio]:
    """Return the processor time of whole commands, medians of *rounds*, against a bare pytest.

    `CommandFailed` where one does not end with status 0.
    """
    with tempfile.TemporaryDirectory() as folder:
        commands = _commands(Path(folder))
        for command in commands.values():
            processor_s(command)  # byte code is written, files get into the page cache
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                seconds[name].append(processor_s(command))
    bare_s = statistics.median(seconds[BARE])
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    return [
        Ratio(name, BARE, f"{median:.2f} s", median / bare_s)
        for name, median in medians.items()
        if name != BARE
    ]


def _commands(folder: Path) -> dict[str, list[str]]:
    """Return what is measured, by name; a host without usable KVM is left out."""
    (folder / "test_empty.py").write_text("def test_empty(): pass\n", encoding="utf-8")
    python = [sys.executable, "-m"]
    plain = [*python, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    check = [*python, "tools.check", "--out", str(folder / "out"), "--target"]
    commands = {
        BARE: [*plain, f"--rootdir={folder}", "-c", os.devnull, str(folder / "test_empty.py")],
        "one claim by its node id": [*plain, _CLAIM],
        "collecting every claim": [*plain, "kvmtests", "--collect-only"],
        "make check TARGET=sim-x86_64": [*check, "sim-x86_64"],
        "make check TARGET=sim-arm64-nvhe": [*check, "sim-arm64-nvhe"],
    }
    if probe(all_targets()["host"]).usable:
        commands["make check TARGET=host"] = [*check, "host"]
    return commands


def processor_s(command: Sequence[str]) -> float:
    """Return the seconds of processor that *command* and its children use; `CommandFailed`."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before_s = _children_s()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise CommandFailed(f"{' '.join(command)} ended with status {done.returncode}: {''.join(last)}")
    return _children_s() - before_s


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def of_calls(rounds: int) -> list[Ratio]:
    """Return system calls and the window around a reading against C; a sentence goes to stderr without."""
    calls = _measured("system calls", lambda: _calls(rounds))
    return [*calls, *_measured("windows", lambda: _window(rounds))]


def _measured(what: str, measure: Callable[[], list[Ratio]]) -> list[Ratio]:
    # Needs x86_64, a usable /dev/kvm and a compiler, which not every computer has.
    try:
        return measure()
    except (HarnessError, OSError, NotImplementedError, subprocess.CalledProcessError) as error:
        print(f"speed: {what} are not compared with C: {error}", file=sys.stderr)
        return []


def _calls(rounds: int) -> list[Ratio]:
    python, baseline = measure_calls.measure(300, rounds)
    ratios = []
    for name in CALLS:
        ours, theirs = measure_calls.quartile(python[name]), measure_calls.quartile(baseline[name])
        ratios.append(Ratio(measure_calls.TITLES[name], "C", f"{ours:,.0f} ticks", ours / theirs))
    return ratios


def _window(rounds: int) -> list[Ratio]:
    python, baseline = measure_window.measure(1000, rounds)
    ours, theirs = statistics.median(python), statistics.median(baseline)
    return [Ratio("the window around a guest's reading", "C", f"{ours:,.0f} ticks", ours / theirs)]


if __name__ == "__main__":
    sys.exit(started(main))
