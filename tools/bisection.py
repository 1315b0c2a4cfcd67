# SPDX-License-Identifier: GPL-2.0-only
"""Judge one claim on the kernel tree that this is called in, for `git bisect run` (docs/bisect.md).

Exit status: 0 the claim holds; 1 it fails, in the same way each time; 125 this commit cannot be
judged: it does not build or boot, the claim is skipped, fails otherwise, or the harness failed;
128 the command line is wrong, or the run was interrupted: bisection stops. Never another one.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from fixtures.architectures import ARCHITECTURES
from fixtures.lab.hosts import find
from fixtures.targets import all_targets
from reports import read_journal
from reports.groups import without_numbers
from tools import streams
from tools.arguments import SUITE
from tools.judgement import BisectStatus, Judgement, judge

ROOT = Path(__file__).resolve().parents[1]


class Unjudged(Exception):
    """This commit cannot be judged; the text is one sentence without a full stop."""


def main(argv: Sequence[str]) -> int:
    """Build, run the claim that *argv* names, and return what `git bisect run` takes."""
    streams.hold()
    signal.signal(signal.SIGTERM, _interrupted)
    signal.signal(signal.SIGHUP, _interrupted)
    try:
        options = _parse(argv)
        judgement = step(options)
    except KeyboardInterrupt:
        judgement = Judgement(BisectStatus.STOP, "interrupted")
    except Unjudged as unjudged:
        judgement = Judgement(BisectStatus.SKIP, str(unjudged))
    except OSError as error:
        judgement = Judgement(BisectStatus.SKIP, f"{error.filename or 'a call'}: {error.strerror}")
    sys.stdout.flush()
    sys.stderr.write(f"bisect_step: {judgement.status.name.lower()}: {judgement.reason}.\n")
    return int(judgement.status)


def step(options: argparse.Namespace) -> Judgement:
    """Return what the claim says of the tree in the working folder; `Unjudged` where nothing is said."""
    tree = Path.cwd()
    if options.build:
        _build(options.build)
    memory = SymptomMemory.of_bisection(options.nodeid)
    with tempfile.TemporaryDirectory(prefix="kvmtests-bisect-") as name:
        out = Path(name)
        run(command(options, tree, out), out)
        results = read_journal.read([out / "journal.jsonl"]).results
    judgement = judge(results, without_numbers(options.symptom) or memory.symptom)
    if judgement.symptom and not options.symptom:
        memory.keep(judgement.symptom)
    return judgement


def command(options: argparse.Namespace, tree: Path, out: Path) -> list[str]:
    """Return what runs the claim of *options* with reports in *out*; `Unjudged` if *tree* has no kernel."""
    if find(options.target) is None:
        words = ["tools.check", f"--target={options.target}", "--jobs=0"]
    else:
        words = ["tools.lab", "--only", f"--target={options.target}", "--jobs=0"]
        kernel = tree / (options.kernel or _image(options.target))
        if not kernel.is_file():
            raise Unjudged(f"there is no {kernel}, the kernel to boot")
        words.append(f"--kernel={kernel}")
        if options.modules:
            words.append(f"--modules={tree / options.modules}")
    return [sys.executable, "-m", *words, f"--out={out}", "--", options.nodeid]


def run(words: Sequence[str], out: Path, *, shown: bool = True) -> None:
    """Run *words* from the suite's root; `Unjudged` if they leave no journal in *out*."""
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if shown:
        sys.stdout.buffer.write(done.stdout)
    if not (out / "journal.jsonl").exists():
        raise Unjudged(f"the claim did not run: {_last_line(done.stdout)}")


class SymptomMemory:
    """How the claim failed first in one bisection: later failures count if they are alike.

    It lies in the repository's own folder and belongs to one bisection; the next one starts afresh.
    """

    def __init__(self, path: Path | None, key: str) -> None:
        """Use the file *path*, none outside of a bisection; another *key* in it is another bisection's."""
        self._path, self._key = path, key

    @classmethod
    def of_bisection(cls, nodeid: str) -> SymptomMemory:
        """Return the memory of the bisection in the working folder, for one claim."""
        log, path = _git_path("BISECT_LOG"), _git_path("kvmtests-bisect")
        if log is None or path is None or not log.exists():
            return cls(None, "")
        begin = [line for line in log.read_text(errors="replace").splitlines() if "git bisect start" in line]
        return cls(path, hashlib.sha256("\n".join([nodeid, *begin]).encode()).hexdigest())

    @property
    def symptom(self) -> str:
        """Return what was kept, "" at first."""
        if self._path is None or not self._path.exists():
            return ""
        key, _, symptom = self._path.read_text().partition("\n")
        return symptom.rstrip("\n") if key == self._key else ""

    def keep(self, symptom: str) -> None:
        """Keep the first *symptom*; later ones are the same."""
        if self._path is not None and not self.symptom:
            self._path.write_text(f"{self._key}\n{symptom}\n")


def _git_path(name: str) -> Path | None:
    words = ["git", "rev-parse", "--git-path", name]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def _build(words: Sequence[str]) -> None:
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.stdout.buffer.write(done.stdout)
        raise Unjudged(f"{words[0]} ended with status {done.returncode}: {_last_line(done.stdout)}")


def _image(target: str) -> str:
    lab_host = find(target)
    assert lab_host is not None, "called for lab hosts only"
    return ARCHITECTURES[lab_host.arch].image


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].rstrip(".") if lines else "no output"


def _interrupted(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


class StopParser(argparse.ArgumentParser):
    """A parser that ends with 128: `git bisect run` would take 2 for a bad commit."""

    def error(self, message: str) -> NoReturn:
        """Print *message* and end with status 128."""
        sys.stderr.write(f"{self.prog}: {message}; --help lists the options.\n")
        raise SystemExit(int(BisectStatus.STOP))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = StopParser(prog="bisect_step", description=__doc__.splitlines()[0])
    parser.add_argument("nodeid", metavar="NODEID", type=_claim, help="a claim, with or without parameters")
    parser.add_argument("--target", default="host", metavar="NAME", help="what to test (default: host)")
    parser.add_argument(
        "--build", type=_words, metavar="COMMAND", help='what builds the tree, as in "make -j2 Image"'
    )
    parser.add_argument("--kernel", type=Path, metavar="FILE", help="the image that the build makes")
    parser.add_argument("--modules", type=Path, metavar="FOLDER", help="what `make modules_install` makes")
    parser.add_argument(
        "--symptom", default="", metavar="TEXT", help="only this failure is bad (default: the first one seen)"
    )
    options = parser.parse_args(argv)
    if options.target.partition("@")[0] not in all_targets():
        parser.error(f"there is no target {options.target!r}")
    return options


def _claim(text: str) -> str:
    name, separator, _ = text.partition("::")
    path = Path(name)
    if path.is_absolute() and path.is_relative_to(ROOT):
        path = path.relative_to(ROOT)
    if not separator or path.parts[:1] != (SUITE,) or not (ROOT / path).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not a claim, as {SUITE}/x86/test_tsc.py::test_name is")
    return f"{path}{text[len(name) :]}"


def _words(text: str) -> list[str]:
    words = shlex.split(text)
    if not words:
        raise argparse.ArgumentTypeError("the command is empty")
    return words


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
