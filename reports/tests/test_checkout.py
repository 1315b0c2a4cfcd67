# SPDX-License-Identifier: GPL-2.0-only
"""Where kernels come from: what a file says reaches KCIDB's submission, and what it lacks is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports import checkout, kcidb
from reports.checkout import CheckoutError, SubmissionFacts
from reports.files import write_reports
from reports.model import Run
from reports.tests import samples
from reports.tests.test_clients import library

FILE = """
origin = "example"
logs = "https://ci.example.org/42/"

[[checkout]]
kernel = "6.12.*"
tree_name = "kvm"
git_repository_url = "https://git.kernel.org/pub/scm/virt/kvm/kvm.git"
git_repository_branch = "next"
git_commit_hash = "0123456789abcdef0123456789abcdef01234567"
git_commit_name = "kvm-6.12-1-3-g0123456789ab"
patchset_hash = ""
start_time = 2026-11-27T12:00:00Z

[checkout.build]
config_name = "defconfig+kvm_guest.config"
compiler = "gcc-14"
duration = 241.5
log_url = "https://ci.example.org/42/build.log"

[[checkout]]
kernel = "7.*"
build.id = "maestro:6543210fedcba"
"""
KERNELS = {"host": "6.12.8", "lab-arm64-protected": "7.3.4"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give the file that says where two kernels come from."""
    path = tmp_path / "checkout.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
def run() -> Run:
    """Return a run on those kernels and on simulated hosts, with every verdict."""
    found = samples.run(400)
    targets = (
        replace(each, facts=(("kernel", KERNELS.get(each.name, "6.12 (simulated)")),))
        for each in found.targets
    )
    return replace(found, targets=tuple(targets))


def submitted(run: Run, facts: SubmissionFacts = checkout.NOTHING_KNOWN) -> Any:
    """Return the submission of *run*, which the validator of KernelCI's ingester takes if it is here."""
    document = json.loads("".join(kcidb.submission(run, facts)))
    library("kcidb_io", "kcidb-io").schema.LATEST.validate_exactly(document)
    return document


def test_checkout_and_build_say_what_the_file_says(run: Run, file: Path) -> None:
    """The kernel that the file knows has its tree, commit and build, under the submitter's name."""
    document = submitted(run, checkout.read(file))

    (known,) = (each for each in document["checkouts"] if "tree_name" in each)
    assert known["git_commit_hash"] == "0123456789abcdef0123456789abcdef01234567"
    assert known["start_time"] == "2026-11-27T12:00:00+00:00"
    assert known["misc"] == {"kernel": "6.12.8"}
    (build,) = (each for each in document["builds"] if each["checkout_id"] == known["id"])
    assert (build["compiler"], build["duration"], build["architecture"]) == ("gcc-14", 241.5, "x86_64")
    assert {each["origin"] for kind in ("checkouts", "builds", "tests") for each in document[kind]} == {
        "example"
    }


def test_tests_belong_to_a_build_that_kcidb_has(run: Run, file: Path) -> None:
    """A build's id from elsewhere is what tests refer to; nothing of ours describes it again."""
    document = submitted(run, checkout.read(file))

    of_lab = {
        each["build_id"]
        for each in document["tests"]
        if "protected" in each["environment"]["misc"]["platform"]
    }
    assert of_lab == {"maestro:6543210fedcba"}
    assert not [each for each in document["checkouts"] if each["misc"].get("kernel") == "7.3.4"]
    ours = {each["id"] for each in document["builds"]}
    assert {each["build_id"] for each in document["tests"]} - of_lab <= ours


def test_what_is_missing_is_named(run: Run) -> None:
    """Without a file each checkout lists what dashboards want and nobody said; simulated ones always do."""
    document = submitted(run)

    assert {tuple(each["misc"]["missing"]) for each in document["checkouts"]} == {checkout.WANTED}


def test_one_build_for_each_kernel_and_architecture(run: Run) -> None:
    """Targets with one kernel share its build, which lists them."""
    document = submitted(run)

    kernels = {(target.kernel, target.arch) for target in run.targets}
    assert len(document["builds"]) == len(kernels)
    listed = [name for build in document["builds"] for name in build["misc"]["targets"]]
    assert sorted(listed) == sorted(target.name for target in run.targets)


def test_whatever_is_not_a_pass_has_a_log(run: Run, file: Path, tmp_path: Path) -> None:
    """Each such test has an excerpt, and the URL of a file that the run wrote; passes have none."""
    document = submitted(run, checkout.read(file))
    write_reports(run, tmp_path / "out")

    bad = [each for each in document["tests"] if each.get("misc", {}).get("verdict", "pass") != "pass"]
    logs = [each["log_url"].removeprefix("https://ci.example.org/42/") for each in bad]
    assert len(set(logs)) == len(bad) > 0
    assert all((tmp_path / "out/lava" / name).is_file() for name in logs)
    assert all(each["log_excerpt"] for each in bad)
    assert not [each for each in document["tests"] if each not in bad and "log_url" in each]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a = ", "is not TOML"),
        ('tree = "kvm"', "'tree' is not known; known are origin, logs"),
        ('origin = "Example Org"', "origin is letters a to z, digits and _, not 'Example Org'"),
        ('logs = "file:///etc/passwd"', "logs is a URL that begins with https:// or http://"),
        ("checkout = 3", "checkout is a table for each kernel"),
        ('[[checkout]]\ngit_commit_hash = "HEAD"', "git_commit_hash is 40 hexadecimal digits, not 'HEAD'"),
        ('[[checkout]]\ntree_name = "a\\nb"', "tree_name is a text of one line"),
        ("[[checkout]]\nstart_time = 2026-11-27", "start_time is a time with its zone"),
        ('[[checkout]]\nstart_time = "yesterday"', "start_time is a time with its zone"),
        ("[[checkout]]\nbuild.duration = -1", "duration is a number of seconds"),
        ("[[checkout]]\nbuild = 3", "build is a table"),
        ('[[checkout]]\nbuild = {id = "maestro:1"}\ntree_name = "kvm"', "next to it only kernel may stand"),
        ("[[checkout]]\nkernel = 6.12", "a text of one line"),
    ],
)
def test_file_that_says_something_else(tmp_path: Path, text: str, sentence: str) -> None:
    """A wrong name or value is one sentence that begins with the file's name."""
    (tmp_path / "a.toml").write_text(text)

    with pytest.raises(CheckoutError) as raised:
        checkout.read(tmp_path / "a.toml")

    assert str(raised.value).startswith(f"{tmp_path}/a.toml")
    assert sentence in str(raised.value)


def test_absent_file(tmp_path: Path) -> None:
    """A file that does not exist is named with the system's reason."""
    with pytest.raises(CheckoutError, match="cannot be read: No such file or directory"):
        checkout.read(tmp_path / "none")
