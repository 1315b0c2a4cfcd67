# SPDX-License-Identifier: GPL-2.0-only
"""Run a job of KernelCI's PULL_LABS protocol on lab hosts: ``ci_jobs pull-lab JOB.json --out DIR``.

A lab fetches jobs as JSON: what to boot, by URL, and which tests to run. One of type "kvmtests" is a
run of `make lab` with that kernel, on the lab hosts that its subset names. A job is a stranger's text:
none of its commands is run, and nothing of it becomes more than a URL or a name of ours. Next to the
reports stands result.json, in the form of the protocol's callback, for the poller to send.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from reports import merge, read_journal
from reports.model import Result, Run, Verdict
from reports.text import one_line
from reports.whole_file import write_file
from tools.check import ROOT
from tools.pull_lab_job import BadJob, PullJob, parse

LARGEST = 4 << 30
"""Bytes that an artifact may have, and modules unpacked."""

SILENCE_S = 60
"""For a server to send something, in s."""

RESULT = "result.json"

_STATUS = {
    Verdict.PASS: "pass",
    Verdict.XFAIL: "pass",
    Verdict.SKIP: "skip",
    Verdict.FAIL: "fail",
    Verdict.CHANGED: "pass",
    Verdict.XPASS: "pass",
}


def run(path: Path, out: Path) -> int:
    """Fetch what the job in the file *path* names, and run it; return the exit status of `make lab`.

    Reports and result.json go to *out*. 2 and one sentence for a job that cannot be run.
    """
    try:
        job = parse(path.read_bytes())
        with tempfile.TemporaryDirectory(prefix="kvmtests-pull-") as name:
            status = _run(words(job, out, *_fetched(job, Path(name))), job.limit_s)
        results = json.dumps(callback(merge.merge(_runs(out))), indent=1)
        write_file(out / RESULT, [results, "\n"])
    except BadJob as error:
        sys.stderr.write(f"pull-lab: {error}.\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"pull-lab: {error.filename or path} cannot be used: {error.strerror or error}.\n")
        return 2
    print(f"{out / RESULT}: what the poller sends to the job's callback")
    return status


def words(job: PullJob, out: Path, kernel: Path, modules: Path | None) -> list[str]:
    """Return the words that run *job* with the files fetched: those of `make lab`."""
    found = [sys.executable, "-m", "tools.lab", "--only", f"--out={out.resolve()}", f"--kernel={kernel}"]
    found += [f"--modules={modules}"] if modules else []
    return [*found, *(f"--target={name}" for name in job.lab_hosts)]


def callback(run: Run) -> Mapping[str, Any]:
    """Return the results of *run* as the protocol's callback has them: lab host, subject, claim."""
    tree: dict[str, dict[str, dict[str, Any]]] = {}
    for result in run.results:
        leaf = {"status": status(result), "duration_ms": result.duration_ns // 1_000_000}
        tree.setdefault(result.target, {}).setdefault(result.subject, {})[result.name] = leaf
    lab_hosts = {
        name: _node({subject: _node(claims) for subject, claims in subjects.items()})
        for name, subjects in tree.items()
    }
    said = Counter(status(result) for result in run.results)
    return {"summary": {"total": said.total(), "failed": said["fail"] + said["error"]}, "tests": lab_hosts}


def status(result: Result) -> str:
    """Return the protocol's word for *result*."""
    return "fail" if result.bad and result.verdict in _STATUS else _STATUS.get(result.verdict, "error")


def unpack_modules(archive: BinaryIO, folder: Path) -> Path:
    """Put the modules of a kernel's tar *archive* into *folder*, and return it; `BadJob` if it is none.

    Only regular files that are modules or lists of them: a build's links to its sources lead nowhere here.
    """
    total = 0
    try:
        with tarfile.open(fileobj=archive, mode="r|*") as members:
            for member in members:
                place = PurePosixPath(member.name)
                if not member.isreg() or not _is_module(place):
                    continue
                if place.is_absolute() or ".." in place.parts:
                    raise BadJob(f"the modules' archive names a file outside of its folder, {member.name!r}")
                total += member.size
                if total > LARGEST:
                    raise BadJob(f"the modules are larger than {LARGEST} bytes")
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                source = members.extractfile(member)
                with (folder / place).open("xb") as file:
                    shutil.copyfileobj(source or archive, file)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BadJob(f"the modules' archive cannot be unpacked: {error}") from None
    return folder


def _is_module(place: PurePosixPath) -> bool:
    return bool(re.search(r"\.ko(\.\w+)?$", place.name)) or place.name.startswith("modules.")


def _fetched(job: PullJob, folder: Path) -> tuple[Path, Path | None]:
    kernel = _fetch(job.kernel, folder / "kernel", job.sha256.get("kernel", ""))
    if not job.modules:
        return kernel, None
    packed = _fetch(job.modules, folder / "modules.tar", job.sha256.get("modules", ""))
    with packed.open("rb") as archive:
        return kernel, unpack_modules(archive, folder / "modules")


def _fetch(url: str, path: Path, sha256: str) -> Path:
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=SILENCE_S) as answer, path.open("xb") as file:  # noqa: S310
            size = 0
            while piece := answer.read(1 << 20):
                digest.update(piece)
                size += file.write(piece)
                if size > LARGEST:
                    raise BadJob(f"{url} is larger than {LARGEST} bytes")
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        raise BadJob(f"{url} cannot be fetched: {one_line(str(getattr(error, 'reason', error)))}") from None
    if sha256 and digest.hexdigest() != sha256:
        raise BadJob(f"{url} is not what the job's checksum says")
    return path


def _run(command: Sequence[str], limit_s: int) -> int:
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
    try:
        return process.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        # SIGTERM lets it write what it has; lab hosts end with it.
        process.terminate()
        return process.wait()


def _runs(out: Path) -> list[Run]:
    journal = out / "journal.jsonl"
    if not journal.is_file():
        raise BadJob("the run left no journal; what `make lab` said stands above")
    with journal.open("rb") as lines:
        return read_journal.parse(lines, str(journal))


def _node(subtests: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    found = {each["status"] for each in subtests.values()}
    worst = next((word for word in ("error", "fail", "pass") if word in found), "skip")
    return {"status": worst, "subtests": subtests}
