# SPDX-License-Identifier: GPL-2.0-only
"""The lab's cache, damaged file by file: what can be made again is, and the rest is one sentence."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from fixtures.lab import cache, image, packages, parts
from fixtures.lab.distribution import ImagePython
from fixtures.lab.errors import CacheTrouble, LabError, PartsMissing
from fixtures.lab.hosts import LabHost, find
from fixtures.tests.lab_packages import deb, entry, link
from tools import lab, lab_damage, lab_mirror

PVH_NOTE = struct.pack("<III4sQ", 4, 8, 18, b"Xen\0", 0x1000000)
VMLINUX = struct.pack("<4sBBB9xHH", b"\x7fELF", 2, 1, 1, 2, 62) + bytes(200) + PVH_NOTE
MODULES = "./lib/modules/6.12/kernel"
KERNEL = [
    entry("./boot/vmlinuz-6.12", VMLINUX),
    entry(f"{MODULES}/kvm-amd.ko", b"\x7fELF\0depends=kvm\0"),
    entry(f"{MODULES}/kvm-intel.ko", b"\x7fELF\0depends=kvm\0"),
    entry(f"{MODULES}/kvm.ko", b"\x7fELF\0depends=\0"),
    entry(f"{MODULES}/unneeded.ko", b"\x7fELF\0depends=\0"),
    entry("./lib/modules/6.12/modules.builtin", b"kernel/virtio-pci.ko\nkernel/virtio-console.ko\n"),
]
BOCHS = [
    entry("./usr/bin/bochs-bin", b"\x7fELF", 0o755),
    entry("./usr/share/bochs/keymaps/x11.map", b"XK_0 0"),
    entry("./usr/lib/libbochs.so.1", b"\x7fELF"),
    link("./usr/lib/libbochs.so", "libbochs.so.1"),
]
PYTHON = [
    entry("./usr/bin/python3.11", b"\x7fELF", 0o755),
    entry("./usr/lib/python3.11/json.py", b"VALUE = 1\n"),
]


@pytest.fixture(scope="module")
def lab_host() -> LabHost:
    """A lab host whose parts, its emulator too, are all made for these tests."""
    found = find("lab-x86_64-vmx")
    assert found is not None
    return found


@pytest.fixture
def pristine(tmp_path: Path, lab_host: LabHost, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole cache, with everything built."""
    root = tmp_path / "pristine"
    monkeypatch.setenv(cache.VARIABLE, str(root))
    kernel_set, python_set = parts.kernel_set("x86_64", lab_host.kernel), parts.python_set("x86_64")
    name = "linux-image-6.12.1-cloud-amd64"
    shelve(kernel_set, {name: deb(KERNEL)})
    monkeypatch.setattr(ImagePython, "packages", ("python3.11-minimal", "libc6"))
    monkeypatch.setattr(image, "DISTRIBUTIONS", ("iniconfig",))  # compiling pytest takes seconds
    shelve(python_set, {"python3.11-minimal": deb(PYTHON), "libc6": deb([entry("./lib/libc.so.6")])})
    emulator_set = parts.emulator_set(lab_host)
    assert emulator_set is not None
    newer = deb([entry("./lib/libc.so.6", b"newer")])
    shelve(emulator_set, {"bochs-term": deb(BOCHS), "libc6": newer}, version="2")
    lab_damage.products([lab_host])
    cache.take_notes()
    return root


def shelve(part_set: parts.PartSet, content: dict[str, bytes], version: str = "1") -> None:
    """Put packages into the cache, and keep their list."""
    found = []
    for name, data in content.items():
        package = packages.Package(
            f"{name}_{version}_amd64.deb", "http://mirror/x", len(data), cache.digest(data)
        )
        cache.write(parts.folder() / package.name, data)
        found.append(package)
    parts.keep(part_set, found)


@pytest.mark.thorough
def test_every_damaged_file_is_mended_or_reported(pristine: Path, tmp_path: Path, lab_host: LabHost) -> None:
    """Flipped, cut, emptied or removed: each file of the cache, in turn."""
    files = [path for name in lab_damage.FOLDERS for path in lab_damage.files_below(pristine / name)]
    before = {path: path.read_bytes() for path in files}
    links = [path for path in files if path.is_symlink()]

    found = lab_damage.try_all(pristine, tmp_path, [lab_host])

    assert found.wrong == []
    assert found.cases == 4 * len(files) - 2 * len(links) > 60
    assert len(links) == 1
    # A removed archive is just absent; all else was noticed.
    assert (found.mended["base"], found.harmless["base"]) == (7, 1)
    assert found.harmless["kernels"] == found.harmless["emulators"] == 0
    assert {path: path.read_bytes() for path in files} == before


def test_only_modules_that_are_loaded_are_kept(pristine: Path) -> None:
    """A kernel is unpacked with the modules that lab hosts load and what those depend on."""
    assert sorted(path.name for path in pristine.rglob("*.ko")) == ["kvm-amd.ko", "kvm-intel.ko", "kvm.ko"]


@pytest.mark.parametrize("folder", lab_damage.FOLDERS)
def test_folder_that_is_a_file_is_mended_or_reported(pristine: Path, lab_host: LabHost, folder: str) -> None:
    """A folder that is a file now ends no command in a traceback."""
    good = lab_damage.products([lab_host])
    (pristine / folder).rename(pristine.parent / "gone")
    (pristine / folder).write_bytes(b"")
    try:
        assert lab_damage.products([lab_host]) == good
    except (PartsMissing, CacheTrouble) as trouble:
        words = ("--fetch", f"${cache.VARIABLE}")
        assert any(word in str(trouble) for word in words)  # noqa: PT017  # one of two good endings


RESHAPED = (
    "", "{", "[]", "{}", "7", "null", '"x"', "[1]", '[{"name": "x"}]', "[" * 100_000, "\0", "\ufeff[]",
    '[{"name": "../../x_1_amd64.deb", "uri": "", "size": 1, "sha256": "' + "0" * 64 + '"}]',
    '[{"name": "x_1_amd64.deb", "uri": "", "size": "1", "sha256": "' + "0" * 64 + '"}]',
)  # fmt: skip
"""Lists of packages that are none."""


@pytest.mark.parametrize("recorded", [False, True], ids=["older-cache", "recorded"])
def test_reshaped_list_counts_as_absent(pristine: Path, lab_host: LabHost, recorded: bool) -> None:
    """A list of packages that is none is one sentence with its remedy, and is made again by that."""
    part_set = parts.kernel_set("x86_64", lab_host.kernel)
    good = lab_damage.products([lab_host])
    with lab_mirror.mirror(pristine):
        for text in RESHAPED:
            if recorded:
                cache.write_recorded(part_set.list_file, text.encode())
            else:
                cache.discard(part_set.list_file)
                part_set.list_file.write_text(text)

            with pytest.raises(PartsMissing, match="--fetch"):
                lab_damage.products([lab_host])
            lab.fetch([lab_host])

            assert lab_damage.products([lab_host]) == good, text[:12]


def test_list_of_an_older_cache_is_recorded(pristine: Path, lab_host: LabHost) -> None:
    """A list without a record is taken, and gets one once all its packages fit."""
    part_set = parts.kernel_set("x86_64", lab_host.kernel)
    record = part_set.list_file.with_name(part_set.list_file.name + ".sha256")
    before = record.read_bytes()
    record.unlink()

    lab.fetch([lab_host])

    assert record.read_bytes() == before
    assert (pristine / "sets").is_dir()


@pytest.mark.parametrize(
    "place", ["/dev/null/cache", "/proc/1/cache", "/" + "x" * 300], ids=["file", "proc", "long"]
)
def test_cache_that_cannot_be_made_is_reported(
    lab_host: LabHost, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """A cache folder that nothing can be written to is one sentence, status 2, and names the variable."""
    monkeypatch.setenv(cache.VARIABLE, place)

    assert lab.main(["--fetch", "--target", lab_host.name]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"${cache.VARIABLE} names another folder" in error


@pytest.mark.usefixtures("pristine")
def test_full_disk_is_reported_and_leaves_nothing(lab_host: LabHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full while the lab is set up is one sentence; half a file is not left."""
    base = cache.root() / "base"
    for path in base.iterdir():
        path.unlink()

    def full(_path: Path, _new: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)

    with pytest.raises(CacheTrouble, match="No space left on device"):
        lab_damage.products([lab_host])
    assert list(base.iterdir()) == []


def test_user_without_a_home_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no home folder is known, the sentence says how to name the cache."""

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)

    with pytest.raises(CacheTrouble, match="name one in"):
        cache.root()


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_real_cache(tmp_path: Path) -> None:
    """The same with the packages that the lab boots; skipped where they were not fetched."""
    lab_hosts = [lab_host for name in ("lab-arm64-vhe", "lab-x86_64-svm") if (lab_host := find(name))]
    found = real(tmp_path, lab_hosts)

    assert found.wrong == []
    assert found.cases > 100


def real(scratch: Path, lab_hosts: Sequence[LabHost]) -> lab_damage.Damage:
    """Damage a copy of the user's cache."""
    try:
        pristine = lab_damage.copied(cache.root(), scratch / "pristine", lab_hosts)
    except LabError as error:
        pytest.skip(str(error))
    return lab_damage.try_all(pristine, scratch, lab_hosts)
