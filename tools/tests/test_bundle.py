# SPDX-License-Identifier: GPL-2.0-only
"""The tar for computers without a network: what is in it, and what stands in its way."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from fixtures.architectures import ROWS
from fixtures.lab import cache, packages, parts
from fixtures.lab.hosts import LAB_HOSTS, STANDARD
from tools import bundle, bundle_tar, venv
from tools.bundle_tar import Content

ROOT = Path(__file__).resolve().parents[2]
LAB_HOST = "lab-arm64-vhe"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a lab's cache with the parts of one lab host, of a few bytes each."""
    root = tmp_path / "cache"
    monkeypatch.setenv(cache.VARIABLE, str(root))
    for part_set in parts.sets_of(bundle.chosen([LAB_HOST])[0]):
        data = part_set.name.encode()
        package = packages.Package(
            f"{part_set.name.replace('_', '-')}_1_all.deb", "file:", len(data), cache.digest(data)
        )
        cache.write(parts.folder() / package.name, data)
        parts.keep(part_set, [package])
    return root


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one package of a few bytes stand in for what pip downloads."""

    def download(folder: Path) -> Sequence[Path]:
        (folder / "pytest-9-py3-none-any.whl").write_bytes(b"wheel")
        return sorted(folder.iterdir())

    monkeypatch.setattr(bundle, "download", download)


def names(path: Path) -> set[str]:
    """Return the names of the files in the tar at *path*."""
    with tarfile.open(path) as archive:
        return {name.removeprefix("kvmtests/") for name in archive.getnames()}


def test_every_file_of_the_repository_is_sent() -> None:
    """What git keeps is in the bundle, apart from what serves the repository itself."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git repository")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    kept = {name for name in listed.stdout.splitlines() if not name.startswith(".")}

    assert kept <= {name for name, _ in bundle.suite(ROOT)}


@pytest.mark.usefixtures("no_download", "lab")
def test_bundle_holds_suite_packages_and_lab(tmp_path: Path) -> None:
    """One folder, with what says how to use it, and all that the lab host named needs."""
    assert bundle.main([f"--out={tmp_path}", f"--target={LAB_HOST}"]) == 0

    found = names(tmp_path / bundle_tar.FILE)
    assert {"BUNDLE.md", "Makefile", "tools/venv.py", "offline/wheels/pytest-9-py3-none-any.whl"} <= found
    assert found >= {
        "offline/lab/debs/python-arm64_1_all.deb",
        "offline/lab/debs/kernel-arm64-6.12_1_all.deb",
        "offline/lab/sets/python-arm64.json",
        "offline/lab/sets/python-arm64.json.sha256",
        "offline/lab/sets/kernel-arm64-6.12.json",
        "offline/lab/sets/kernel-arm64-6.12.json.sha256",
    }


@pytest.mark.usefixtures("no_download")
def test_bundle_without_the_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--without-lab` needs no cache, and sends none."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "empty"))

    assert bundle.main([f"--out={tmp_path}", "--without-lab"]) == 0

    assert not [name for name in names(tmp_path / bundle_tar.FILE) if name.startswith("offline/lab")]


@pytest.mark.usefixtures("no_download")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (LAB_HOST, f"bundle: {LAB_HOST} cannot be included: its parts (python-arm64) are not in the lab's"),
        ("sim-x86_64", "bundle: sim-x86_64 is not a lab host; "),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    sentence: str,
) -> None:
    """A part that was never fetched, and a name of nothing in the lab: one sentence, and no file."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "empty"))

    assert bundle.main([f"--out={tmp_path}", f"--target={name}"]) == 2

    assert capsys.readouterr().err.startswith(sentence)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_download")
def test_damaged_package_is_not_sent(tmp_path: Path, lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Packages are compared with their checksums before they are sent."""
    (lab / "debs/kernel-arm64-6.12_1_all.deb").write_bytes(b"KERNEL-arm64-6.12")

    assert bundle.main([f"--out={tmp_path}", f"--target={LAB_HOST}"]) == 2

    assert "kernel-arm64-6.12_1_all.deb was damaged" in capsys.readouterr().err


def test_same_bytes_whatever_the_order_and_the_umask(tmp_path: Path) -> None:
    """The tar depends on names, contents, times and on who may execute, and on nothing else."""
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "one").chmod(0o600)
    members = [("BUNDLE.md", Content(b"")), ("a", Content.of(tmp_path / "one")), ("b", Content(b"2"))]
    bundle_tar.write(tmp_path / "first.tar", members)
    (tmp_path / "one").chmod(0o664)

    bundle_tar.write(tmp_path / "second.tar", [members[0], members[2], members[1]])

    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()


def test_nothing_is_left_of_a_bundle_that_failed(tmp_path: Path) -> None:
    """A file that goes away meanwhile leaves neither a bundle nor a part of one."""
    members = [("BUNDLE.md", Content(b"")), ("gone", Content(tmp_path / "gone"))]

    with pytest.raises(FileNotFoundError):
        bundle_tar.write(tmp_path / "out" / bundle_tar.FILE, members)

    assert not list((tmp_path / "out").iterdir())


def test_environment_is_installed_from_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tree carries packages, pip looks at no index, and a sentence names their folder."""
    words: list[str] = []

    def refuse(command: list[str]) -> subprocess.CompletedProcess[str]:
        words.extend(command)
        return subprocess.CompletedProcess(command, 1, "")

    monkeypatch.setattr(venv, "_run", refuse)
    monkeypatch.setattr(venv, "PACKAGES", tmp_path)

    with pytest.raises(venv.Failed, match=f"{tmp_path} lacks one for this Python"):
        venv._install(tmp_path, tmp_path / "check.txt")

    assert words[words.index("--no-index") :][:3] == ["--no-index", "--find-links", str(tmp_path)]


def test_container_has_what_the_bundle_needs() -> None:
    """The Containerfile adds the bundle by its name, and installs what BUNDLE.md names as well."""
    text = (ROOT / "contrib/container/Containerfile").read_text(encoding="utf-8")
    needed = re.search(
        r"Also needed: (.+)\.$", bundle.readme([LAB_HOSTS[name] for name in STANDARD]), re.MULTILINE
    )
    packages_of = {row.emulator_program: row.emulator_package for row in ROWS}

    assert needed
    assert {packages_of.get(name, name) for name in needed[1].split(", ")} <= set(text.split())
    assert f"ADD {bundle_tar.FILE} /\n" in text


def test_lab_finds_what_the_tree_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree's own packages come before the user's cache, and a named folder before both."""
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.setattr(cache, "CARRIED", tmp_path)
    carried = cache.root()
    monkeypatch.setenv(cache.VARIABLE, "/named")

    assert (carried, cache.root()) == (tmp_path, Path("/named"))
