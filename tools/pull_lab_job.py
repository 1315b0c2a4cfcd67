# SPDX-License-Identifier: GPL-2.0-only
"""A job of KernelCI's PULL_LABS protocol, as far as it concerns us: a stranger's text, checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fixtures.lab.hosts import STANDARD, find

TYPE = "kvmtests"
ARTIFACTS = ("kernel", "modules")
LONGEST_S = 24 * 60 * 60

_URL = re.compile(r"https?://[!-~]{1,2000}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class BadJob(Exception):
    """The job cannot be run; the text is one sentence without a full stop."""


@dataclass(frozen=True, slots=True)
class PullJob:
    """What of a job concerns us."""

    kernel: str  # URLs
    modules: str
    sha256: Mapping[str, str]  # by artifact, where the job says it
    lab_hosts: tuple[str, ...]
    limit_s: int


def parse(data: bytes) -> PullJob:
    """Return the job that *data* describes; `BadJob` for what is not one, or not one of ours."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise BadJob("the job is not JSON") from None
    artifacts, tests = _member(document, "artifacts", dict), _member(document, "tests", list)
    ours = [test for test in tests if isinstance(test, dict) and test.get("type") == TYPE]
    if len(ours) != 1:
        raise BadJob(f"the job has {len(ours)} tests of type {TYPE}, and one is needed")
    for moment in ("pre-commands", "post-commands"):
        if ours[0].get(moment):
            raise BadJob(f"the job has {moment}, and no command of a job is run here")
    return PullJob(
        kernel=_url(artifacts, "kernel"),
        modules=_url(artifacts, "modules") if artifacts.get("modules") else "",
        sha256=dict(_checksums(document)),
        lab_hosts=_lab_hosts(ours[0], document),
        limit_s=_limit(ours[0]),
    )


def _member(document: object, name: str, kind: type) -> Any:
    found = document.get(name) if isinstance(document, dict) else None
    if not isinstance(found, kind):
        raise BadJob(f"the job has no {name}")
    return found


def _url(artifacts: Mapping[str, Any], name: str) -> str:
    found = artifacts.get(name)
    if not isinstance(found, str) or not _URL.fullmatch(found):
        raise BadJob(f"the job's {name} is not a URL that begins with https:// or http://")
    return found


def _checksums(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    integrity = document.get("integrity")
    found = integrity.get("sha256") if isinstance(integrity, dict) else None
    for name in ARTIFACTS:
        value = found.get(name) if isinstance(found, dict) else None
        if value is None:
            continue
        if not isinstance(value, str) or not _SHA256.fullmatch(value):
            raise BadJob(f"the job's checksum of {name} is not one of SHA-256")
        yield name, value


def _lab_hosts(test: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[str, ...]:
    environment = document.get("environment")
    arch = environment.get("arch") if isinstance(environment, dict) else None
    subset = test.get("subset")
    if subset is None:
        subset = [name for name in STANDARD if (lab_host := find(name)) and lab_host.arch == arch]
    if not isinstance(subset, list) or not subset:
        raise BadJob(f"no lab host is of the architecture {arch!r}, and the test's subset names none")
    for name in subset:
        if not isinstance(name, str) or find(name) is None:
            raise BadJob(f"{name!r:.80} in the test's subset is not a lab host")
    return tuple(subset)


def _limit(test: Mapping[str, Any]) -> int:
    found = test.get("timeout_s", 600)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 < found <= LONGEST_S:
        raise BadJob(f"the test's timeout_s is not a number of seconds up to {LONGEST_S}")
    return found
