# SPDX-License-Identifier: GPL-2.0-only
"""Start a command with the variables of make's command line, as `make check K=...` does.

No shell reads a value. make exports what its command line set, `KVMTESTS_GIVEN` names it, and this
module turns it into options. The environment's own variables of these names are ignored. Runs on a
bare python3: what a command needs is imported when it starts.
"""

from __future__ import annotations

import glob
import importlib
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tools import streams
from tools.interruption import unless_interrupted

GIVEN = "KVMTESTS_GIVEN"
"""The environment's name for the names of all variables that make's command line set."""

USAGE = 2

Variables = Mapping[str, str]


class UnusableValue(Exception):
    """A variable holds what no command can use; the text is one sentence without a full stop."""


class Goal(NamedTuple):
    """A module with a `main`, and the function that turns variables into its arguments."""

    module: str
    words: Callable[[Variables], list[str]]


def main(argv: Sequence[str]) -> int:
    """Start the command of the goal that *argv* names first; return its exit status, 2 for a wrong value."""
    if not argv or argv[0] not in {*GOALS, *FORMER}:
        sys.stderr.write(f"make starts this module, with one of: {', '.join(GOALS)}.\n")
        return USAGE
    goal, *more = argv
    streams.hold()
    if goal in FORMER:
        sys.stderr.write(f"make {goal} is now make {FORMER[goal]}; the next release drops the old name.\n")
        goal = FORMER[goal]
    command = GOALS[goal]
    try:
        words = command.words(given(os.environ))
    except UnusableValue as error:
        sys.stderr.write(f"make {goal}: {error}.\n")
        return USAGE
    streams.end_with_parent()
    return unless_interrupted(f"make {goal}", lambda: _run(command.module, [*words, *more]))


def _run(module: str, words: Sequence[str]) -> int:
    return int(importlib.import_module(module).main(words))


def given(environment: Mapping[str, str]) -> Variables:
    """Return the variables that make's command line set, as make exported them into *environment*."""
    return {name: environment.get(name, "") for name in environment.get(GIVEN, "").split()}


def check(variables: Variables) -> list[str]:
    """Return the arguments of tools.check."""
    return [
        *_jobs(variables),
        *_out(variables),
        *(["--all"] if variables.get("ALL") else []),
        *_targets(variables),
        *_keyword(variables),
        *_further(variables),
    ]


def lab(variables: Variables) -> list[str]:
    """Return the arguments of tools.lab: LAB's come first, so that an option may take what follows."""
    options = {"KERNEL": "--kernel", "MODULES": "--modules"}
    paths = [f"{option}={_path(variables[name])}" for name, option in options.items() if variables.get(name)]
    params = [f"--params={variables['PARAMS']}"] if variables.get("PARAMS") else []
    ends = [f"--{name.lower()}={variables[name]}" for name in ("GOOD", "BAD") if variables.get(name)]
    return [*paths, *params, *ends, *_shell_words(variables, "LAB"), *check(variables)]


def bench(variables: Variables) -> list[str]:
    """Return the arguments of tools.bench; without O= reports go into a folder of their own."""
    number = variables.get("N")
    csv = variables.get("CSV")
    return [
        *_out(variables, default="out/benchmarks"),
        *([f"-n{number}"] if number else []),
        *([f"-o{_path(csv)}"] if csv else []),
        *_targets(variables),
        *_keyword(variables),
        *_further(variables),
    ]


def speed(variables: Variables) -> list[str]:
    """Return the arguments of tools.speed."""
    number = variables.get("N")
    return [*([f"-n{number}"] if number else []), *_shell_words(variables, "ARGS")]


def defects(variables: Variables) -> list[str]:
    """Return the arguments of tools.defects."""
    return [*_out(variables), *_shell_words(variables, "ARGS")]


def agree(variables: Variables) -> list[str]:
    """Return the arguments of tools.agree."""
    folder = os.path.join(_folder(variables), "agreement")  # noqa: PTH118  # a Path would lose "./"
    return [f"--out={folder}", *_targets(variables), *_shell_words(variables, "ARGS")]


def report(variables: Variables) -> list[str]:
    """Return the arguments of tools.report; FROM may hold a shell's patterns, ARGS further options."""
    named = [word for name in _shell_words(variables, "FROM") for word in _matching(_path(name))]
    if not named:
        raise UnusableValue('FROM names no journal, as in FROM="a/journal.jsonl b/journal.jsonl"')
    baseline = variables.get("BASELINE")
    compared = [f"--baseline={_path(baseline)}"] if baseline else []
    return [*_out(variables), *compared, *_shell_words(variables, "ARGS"), "--", *named]


def test(variables: Variables) -> list[str]:
    """Return pytest's arguments for the harness's own tests, without those that take long unless ALL=1.

    One worker more than processors: tests wait for what they started, and for time limits, for a quarter
    of their time.
    """
    jobs = variables.get("JOBS") or len(os.sched_getaffinity(0)) + 1
    return [
        "fixtures",
        "reports",
        "tools",
        f"-n{jobs}",
        "--dist=loadfile",
        *STRICT,
        *([] if variables.get("ALL") else ["-m", "not thorough"]),
        *_shell_words(variables, "ARGS"),
    ]


def repeat(variables: Variables) -> list[str]:
    """Return the arguments of tools.repeat: many runs in a process, and one for each boot of a lab host."""
    number, load = variables.get("N"), variables.get("LOAD")
    boots = any(target.startswith("lab-") for target in _names(variables))
    targets = [word for name in _names(variables) for word in ("--target", name)]
    return [
        *_out(variables, default="out/repeat"),
        *([f"-n{number}"] if number else []),
        *([f"--load={load}"] if load else []),
        *([] if boots else ["--rounds=50"]),
        "--",
        *([] if variables.get("ALL") else ["-m", "not thorough"]),
        *targets,
        *_keyword(variables),
        *_shell_words(variables, "ARGS"),
    ]


def vectors_check(variables: Variables) -> list[str]:
    """Return the arguments of tools.vectors.check."""
    return [*_out(variables), *_shell_words(variables, "ARGS")]


def precheck(variables: Variables) -> list[str]:
    """Return the arguments of tools.precheck.build."""
    return _out(variables)


def rack(variables: Variables) -> list[str]:
    """Return the arguments of tools.rack: RACK's come first, so that an option may take what follows."""
    environment = [f"--env={_path(variables['ENV'])}"] if variables.get("ENV") else []
    return [
        *_shell_words(variables, "RACK"),
        *environment,
        *_out(variables),
        *(["--all"] if variables.get("ALL") else []),
        *_targets(variables),
        *_keyword(variables),
        *_further(variables),
    ]


def bundle(variables: Variables) -> list[str]:
    """Return the arguments of tools.bundle."""
    return [*_out(variables), *_targets(variables), *_shell_words(variables, "ARGS")]


def clean(variables: Variables) -> list[str]:
    """Return the arguments of tools.clean."""
    return ["--", _folder(variables)]


def run_tests(variables: Variables) -> list[str]:
    """Return the arguments of tools.kselftest_runner; if T names no programs, the recipe adds all."""
    return ["--base=.", "--directory=.", "--collection=kvmtests", "--", *_shell_words(variables, "T")]


def install(variables: Variables) -> list[str]:
    """Return the arguments of tools.kselftest_c, which installs the C programs that PROGRAMS names."""
    words = _shell_words(variables, "PROGRAMS")
    targets = _names(variables)
    if not words:
        raise UnusableValue('PROGRAMS names no claim and no C file, as in PROGRAMS="repro.c other.c"')
    if len(targets) > 1:
        raise UnusableValue("PROGRAMS are recorded on one target, and TARGET names several")
    return [
        f"--install-path={variables.get('INSTALL_PATH', '')}",
        *_targets(variables),
        *(f"--cc={word}" for word in _shell_words(variables, "CC")),
        "--",
        *(_path(word) for word in words),
    ]


GOALS = {
    "check": Goal("tools.check", check),
    "lab": Goal("tools.lab", lab),
    "bench": Goal("tools.bench", bench),
    "speed": Goal("tools.speed", speed),
    "defects": Goal("tools.defects", defects),
    "agree": Goal("tools.agree", agree),
    "repeat": Goal("tools.repeat", repeat),
    "report": Goal("tools.report", report),
    "vectors-check": Goal("tools.vectors.check", vectors_check),
    "precheck": Goal("tools.precheck.build", precheck),
    "rack": Goal("tools.rack", rack),
    "bundle": Goal("tools.bundle", bundle),
    "test": Goal("pytest", test),
    "clean": Goal("tools.clean", clean),
    "run_tests": Goal("tools.kselftest_runner", run_tests),
    "install": Goal("tools.kselftest_c", install),
}

STRICT = ("--strict-known-issues", "--de-facto=fail")
"""Our own tests fail where a prediction of ours no longer holds, or a habit ended; so does .ci/run."""

FORMER = {"mutants": "defects"}
"""Goals of the last release under the names that they have now."""


def _jobs(variables: Variables) -> list[str]:
    return [f"--jobs={variables['JOBS']}"] if variables.get("JOBS") else []


def _out(variables: Variables, default: str = "out") -> list[str]:
    return [f"--out={_folder(variables, default)}"]


def _folder(variables: Variables, default: str = "out") -> str:
    folder = variables.get("O", default)
    if not folder.strip():
        raise UnusableValue("O= names no folder; leave it out for out/, or name one")
    return _path(folder)


def _targets(variables: Variables) -> list[str]:
    return [f"--target={name}" for name in _names(variables)]


def _names(variables: Variables) -> list[str]:
    return variables.get("TARGET", "").replace(",", " ").split()


def _keyword(variables: Variables) -> list[str]:
    return [f"-k{variables['K']}"] if variables.get("K") else []


def _further(variables: Variables) -> list[str]:
    return ["--", *_shell_words(variables, "ARGS")]


def _shell_words(variables: Variables, name: str) -> list[str]:
    # Quotes join words, as in a shell; nothing else that a shell does happens here.
    try:
        return shlex.split(variables.get(name, ""))
    except ValueError as error:
        raise UnusableValue(f"{name}={variables[name]!r} cannot be split into words: {error}") from None


def _path(name: str) -> str:
    return os.path.expanduser(name)  # noqa: PTH111  # not every shell expands it after "O="


def _matching(name: str) -> list[str]:
    found = sorted(glob.glob(name))  # noqa: PTH207  # a Path would rewrite names
    return found if found and not os.path.lexists(name) else [name]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
