# SPDX-License-Identifier: GPL-2.0-only
"""`make lab`: which lab hosts, what pytest is given, and one sentence for what is missing."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from fixtures.lab import availability, cache, knobs, own_kernel
from fixtures.lab.errors import EmulatorMissing, PartsMissing
from fixtures.lab.hosts import LAB_HOSTS, MATRIX, STANDARD, LabHost
from tools import lab

ARM64_IMAGE = bytes(0x38) + b"ARM\x64" + bytes(64)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No kernel of one's own, and an empty cache."""
    # Set, not deleted: only so is undone what the command itself puts there.
    monkeypatch.setenv(own_kernel.IMAGE, "")
    monkeypatch.setenv(own_kernel.MODULES, "")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))


def asked(*words: str) -> list[str]:
    """Return the targets that pytest is given for the command's *words*."""
    arguments = lab._parse(words)
    found = lab.pytest_arguments(arguments, lab.chosen(lab.named(arguments), matrix=arguments.matrix))
    return [name for flag, name in itertools.pairwise(found) if flag == "--target"]


def test_standard_lab_hosts_come_with_the_near_targets() -> None:
    """Without names all standard lab hosts are tested, next to every simulated target."""
    targets = asked()

    assert set(STANDARD) <= set(targets)
    assert "sim-x86_64" in targets


def test_only_leaves_out_the_near_targets() -> None:
    """--only runs on the lab hosts alone."""
    assert asked("--only") == list(STANDARD)


def test_named_targets_are_asked_and_no_others() -> None:
    """Named targets may be of any kind."""
    assert asked("--target", "sim-x86_64", "--target", "lab-arm64-vhe@6.1") == [
        "sim-x86_64",
        "lab-arm64-vhe@6.1",
    ]


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        pytest.param(["--target", "lab-arm64-vhe"], "0", id="one"),
        pytest.param(["--target", "lab-arm64-vhe", "--all"], "auto", id="thorough-claims"),
        pytest.param(["--target", "lab-arm64-vhe", "--jobs", "2"], "2", id="workers-wanted"),
        pytest.param(["--target", "lab-arm64-vhe", "--target", "lab-arm64-nvhe"], "auto", id="two"),
        pytest.param([], "auto", id="default"),
    ],
)
def test_one_lab_host_needs_no_workers(words: list[str], jobs: str) -> None:
    """Workers would collect the claims once more each, and one of them would boot the lab host."""
    arguments = lab._parse(words)

    found = lab.pytest_arguments(arguments, lab.chosen(lab.named(arguments)))

    assert found[found.index("-n") + 1] == jobs


def test_everything_is_every_lab_host() -> None:
    """--everything names all of the table, and gives way to names."""
    assert asked("--everything", "--only") == list(LAB_HOSTS)
    assert asked("--everything", "--target", "lab-arm64-vhe") == ["lab-arm64-vhe"]


def test_matrix_has_every_kernel_for_every_lab_host() -> None:
    """--matrix multiplies lab hosts and kernels."""
    targets = asked("--matrix")

    assert len(targets) == len(set(targets)) == len(MATRIX) * len(STANDARD)
    assert "lab-arm64-protected@newest" in targets


def test_named_kernel_stays_in_a_matrix() -> None:
    """A lab host that is named with its kernel is one row of the matrix, not all of them."""
    assert asked("--matrix", "--target", "lab-arm64-nested@newest") == ["lab-arm64-nested@newest"]


def without(monkeypatch: pytest.MonkeyPatch, *gone: str) -> list[str]:
    """Let the archive have nothing for the lab hosts *gone*; return what pytest is given, once it is."""
    given: list[str] = []

    def fetch(lab_hosts: Sequence[LabHost], *, update: bool = False) -> None:
        del update
        for lab_host in lab_hosts:
            if lab_host.name in gone:
                raise PartsMissing("linux-image-x_1.deb: the archive answers 404")

    def run(words: Sequence[str]) -> int:
        given.extend(words)
        return 0

    monkeypatch.setattr(lab, "fetch", fetch)
    monkeypatch.setattr(lab, "prepare", lambda _lab_hosts: None)
    monkeypatch.setattr(lab, "keep_byte_code", lambda: None)
    monkeypatch.setattr(lab, "run", run)
    return given


def test_matrix_continues_without_what_an_archive_has_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One kernel that cannot be fetched is left out with its reason and status 2; the others run."""
    given = without(monkeypatch, "lab-ppc64le@6.12")
    concluded: list[Mapping[str, str]] = []
    monkeypatch.setattr(lab, "conclude", lambda _arguments, missing: concluded.append(missing))

    status = lab.main(["--matrix", "--target", "lab-ppc64le"])

    assert status == 2
    assert [name for flag, name in itertools.pairwise(given) if flag == "--target"] == ["lab-ppc64le@newest"]
    assert concluded == [{"lab-ppc64le@6.12": "linux-image-x_1.deb: the archive answers 404"}]
    assert (
        "lab-ppc64le@6.12 is left out: linux-image-x_1.deb: the archive answers 404."
        in capsys.readouterr().out
    )


def test_matrix_of_nothing_that_can_be_fetched_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no kernel of the matrix can be fetched nothing runs, with status 2."""
    given = without(monkeypatch, "lab-ppc64le@6.12", "lab-ppc64le@newest")

    assert lab.main(["--matrix", "--target", "lab-ppc64le"]) == 2

    assert given == []
    assert capsys.readouterr().err == "lab: linux-image-x_1.deb: the archive answers 404.\n"


def test_knobs_are_the_defaults_and_each_set() -> None:
    """--knobs boots a lab host with the defaults first, then with each set that concerns it."""
    arguments = lab._parse(["--knobs", "--target", "lab-x86_64-svm"])
    names = [each.name for each in lab.chosen(arguments.target, all_knobs=arguments.knobs)]

    assert names[0] == "lab-x86_64-svm"
    assert {"lab-x86_64-svm+npt-off", "lab-x86_64-svm+kvmclock-sync-off"} <= set(names)
    assert not [name for name in names if "ept-off" in name]


def test_knobs_leave_out_the_near_targets() -> None:
    """A page about parameters of lab hosts has no use for simulated hosts."""
    assert not [name for name in asked("--knobs") if not name.startswith("lab-")]


def test_words_that_are_not_parameters_are_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PARAMS with something else ends before anything is fetched: status 2."""
    monkeypatch.setenv(knobs.VARIABLE, "")

    assert lab.main(["--params", "kvm_amd.npt=0 panic=0"]) == 2
    assert "'panic=0' is not a parameter of KVM" in capsys.readouterr().err


def test_own_kernel_boots_where_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build for arm64 boots on arm64 lab hosts only, and on nothing else."""
    image = tmp_path / "Image"
    image.write_bytes(ARM64_IMAGE)
    monkeypatch.setenv(own_kernel.IMAGE, str(image))

    assert asked() == ["lab-arm64-vhe", "lab-arm64-nvhe", "lab-arm64-protected"]


def test_file_that_is_not_a_kernel_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that no lab host can boot is one sentence and exit status 2."""
    image = tmp_path / "Image"
    image.write_bytes(b"no kernel")

    assert lab.main(["--kernel", str(image)]) == 2
    assert "is not a kernel for any of the lab's architectures" in capsys.readouterr().err


def test_missing_kernel_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that names no file is one sentence and exit status 2."""
    assert lab.main(["--kernel", str(tmp_path / "nowhere")]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("named", [(), ("--target", "lab-arm64-vhe")], ids=["any-target", "one-target"])
@pytest.mark.parametrize(
    "words", [("--kernel", "NOTHING"), ("--kernel", "/dev/null"), ("--modules", "/tmp")], ids=str
)
def test_wrong_build_starts_no_session(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    named: tuple[str, ...],
) -> None:
    """A wrong KERNEL= or MODULES= is one sentence and status 2 with TARGET= too, and pytest never starts."""
    monkeypatch.setattr(lab, "run", lambda _arguments: pytest.fail("pytest was started"))

    assert lab.main([*words, *named]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_missing_emulator_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without QEMU the sentence says what to install."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)

    with pytest.raises(EmulatorMissing, match=r"apt install qemu-system-arm"):
        availability.check(lab.chosen(["lab-arm64-vhe"])[0])


@pytest.mark.parametrize(
    ("words", "quick"), [((), True), (("--all",), False), (("-k", "physical"), False)], ids=str
)
def test_thorough_claims_come_when_called(words: tuple[str, ...], quick: bool) -> None:
    """As in `make check`: claims marked thorough are left out unless all, or some by name, are requested."""
    found = lab.pytest_arguments(lab._parse(words), [])

    assert (("-m", "not thorough") in itertools.pairwise(found)) == quick
