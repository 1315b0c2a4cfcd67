# SPDX-License-Identifier: GPL-2.0-only
"""`make clean`: what our commands wrote goes, and nothing else."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from reports import benchmark_csv, lock, read_journal
from reports.files import WRITERS, write_reports
from reports.tests import samples
from tools import bundle_tar, clean
from tools.precheck import bundle
from tools.vectors import document

SESSION = b'{"type":"session","version":1,"time_ns":1,"host":"m","facts":{}}\n'


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Return a folder with a journal and every report of it, and what a lab leaves."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "journal.jsonl").write_bytes(b"".join(samples.lines(50)))
    run = read_journal.read([folder / "journal.jsonl"])
    write_reports(run, folder)
    assert list(benchmark_csv.csv_files(run))
    (folder / "lab/lab-arm64-vhe").mkdir(parents=True)
    for name in ("console-1.log", "records-12.jsonl", "timing.json"):
        (folder / "lab/lab-arm64-vhe" / name).touch()
    lock.Lock(folder).release()
    return folder


def files(folder: Path) -> set[str]:
    """Return every file in *folder*, links included."""
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or path.is_file()
    }


def test_reports_go_and_their_folder(reports: Path) -> None:
    """A folder that holds nothing but our files is removed whole."""
    assert clean.clean_reports(reports) == ""

    assert not reports.exists()


def test_every_report_of_fixed_name_is_known() -> None:
    """Each report that the reporter writes is in the list of what is removed."""
    assert set(WRITERS) <= set(clean.REPORTS)


def test_files_of_others_stay(reports: Path) -> None:
    """Files with names that we do not give stay where they are, in any folder."""
    others = {"notes.txt", "bench/mine.ods", "lab/lab-arm64-vhe/core", "squad/more.json", "vmlinux"}
    for name in others:
        (reports / name).write_text("mine")

    assert clean.clean_reports(reports) == ""

    assert files(reports) == others


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(None, id="none"),
        pytest.param(b"", id="empty"),
        pytest.param(b'{"type":"start","nodeid":"x"}\n' + SESSION, id="no-session-first"),
        pytest.param(b'["type", "session"]\n', id="another-json"),
        pytest.param(b"\xff\x00\n", id="bytes"),
        pytest.param(b"[" * 100_000, id="deep"),
    ],
)
def test_folder_without_a_journal_of_ours_stays(tmp_path: Path, first: bytes | None) -> None:
    """A kernel build has files of our names, perhaps; its journal, if any, is not ours."""
    build = tmp_path / "build"
    (build / "bench").mkdir(parents=True)
    for name in ("vmlinux", "report.html", "results.csv", "bench/a.csv"):
        (build / name).touch()
    if first is not None:
        (build / "journal.jsonl").write_bytes(first)
    before = files(build)

    assert clean.clean_reports(build) == "it holds no journal of ours"

    assert files(build) == before


def test_links_are_not_followed(reports: Path, tmp_path: Path) -> None:
    """A link of one of our names, to a folder or to a file, removes nothing at its other end."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "a.csv").write_text("mine")
    (kept / "results.txt").write_text("mine")
    for name in ("bench", "lava"):
        for file in (reports / name).iterdir():
            file.unlink()
        (reports / name).rmdir()
        (reports / name).symlink_to(kept)
    (reports / "report.html").unlink()
    (reports / "report.html").symlink_to(kept / "a.csv")
    (tmp_path / "link").symlink_to(reports)

    assert clean.clean_reports(tmp_path / "link") == "it is a link, or not a folder"
    assert clean.clean_reports(reports) == ""

    assert files(kept) == {"a.csv", "results.txt"}
    assert files(reports) == {"bench", "lava", "report.html"}


def test_linked_journal_says_nothing(reports: Path, tmp_path: Path) -> None:
    """A link to a journal does not make a folder ours."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "results.csv").touch()
    (other / "journal.jsonl").symlink_to(reports / "journal.jsonl")

    assert clean.clean_reports(other) == "it holds no journal of ours"

    assert files(other) == {"results.csv", "journal.jsonl"}


def test_what_a_killed_writer_left_goes(reports: Path) -> None:
    """A report half written has a name of its own until it is whole; other hidden files stay."""
    for name in (".report.html.a1b2_c3d", "squad/.tests.json.abcdefgh", ".notes.txt.abcdefgh", ".git"):
        (reports / name).touch()

    clean.clean_reports(reports)

    assert files(reports) == {".notes.txt.abcdefgh", ".git"}


def test_benchmarks_within_a_folder_go(tmp_path: Path) -> None:
    """`make bench` writes into out/benchmarks, whatever else is in out/."""
    (tmp_path / "out/benchmarks").mkdir(parents=True)
    (tmp_path / "out/benchmarks/journal.jsonl").write_bytes(SESSION)
    (tmp_path / "out/notes.txt").touch()

    assert clean.clean_reports(tmp_path / "out") == ""

    assert files(tmp_path / "out") == {"notes.txt"}


@pytest.mark.parametrize(
    ("name", "text", "other"),
    [
        pytest.param("defects.json", '{"version": 1, "defects": []}', "defects.html", id="defects"),
        pytest.param("mutants.json", '{"version": 1, "defects": []}', "mutants.html", id="last-release"),
        pytest.param("vectors.json", "\n".join(document.lines(drawn=0)), None, id="vectors"),
    ],
)
def test_files_written_without_a_journal_go(tmp_path: Path, name: str, text: str, other: str | None) -> None:
    """`make defects` and `make vectors-check` write no journal: their files are known by their content."""
    (tmp_path / name).write_text(text)
    for each in ("results.csv", *([other] if other else [])):
        (tmp_path / each).touch()

    clean.clean_reports(tmp_path)

    assert files(tmp_path) == {"results.csv"}


def test_bundle_goes(tmp_path: Path) -> None:
    """What `make precheck` and `make bundle` wrote is known by what is in it."""
    bundle_tar.write(tmp_path / bundle_tar.FILE, [(bundle_tar.README, bundle_tar.Content(b"# suite\n"))])
    (tmp_path / "kvmtests-precheck").write_bytes(bundle.build(clean.ROOT))

    clean.clean_reports(tmp_path)

    assert not tmp_path.exists()


def test_other_archive_stays(tmp_path: Path) -> None:
    """Another program of that name, archive or not, is not ours."""
    for folder in ("text", "archive"):
        (tmp_path / folder).mkdir()
    (tmp_path / "text/kvmtests-precheck").write_text("#!/bin/sh\n")
    (tmp_path / "text" / bundle_tar.FILE).write_text("kvmtests/")
    with zipfile.ZipFile(tmp_path / "archive/kvmtests-precheck", "w") as archive:
        archive.writestr("__main__.py", "")

    left = [clean.clean_reports(tmp_path / folder) for folder in ("text", "archive")]

    assert left == ["it holds no journal of ours"] * 2
    assert files(tmp_path) == {
        "text/kvmtests-precheck",
        "archive/kvmtests-precheck",
        f"text/{bundle_tar.FILE}",
    }


@pytest.mark.parametrize("name", ["defects.json", "vectors.json"])
def test_files_of_other_content_stay(tmp_path: Path, name: str) -> None:
    """A name alone does not make a file ours where no journal is."""
    (tmp_path / name).write_text('{"version": 1, "format": "mine"}')

    assert clean.clean_reports(tmp_path) == "it holds no journal of ours"

    assert files(tmp_path) == {name}


def test_folder_in_use_stays(reports: Path) -> None:
    """While a run writes there, nothing is removed."""
    before = files(reports)

    with lock.Lock(reports), pytest.raises(lock.Held, match="another run writes into"):
        clean.clean_reports(reports)

    assert files(reports) == before


def test_checkout_keeps_what_is_not_ours(tmp_path: Path) -> None:
    """Programs are known by their text or place, the environment by its content, caches by their names."""
    program = (clean.ROOT / "tools/kselftest_program.sh").read_text(encoding="utf-8")
    for name, text in {"kvm_x86_a.sh": program, "kvm_mine.sh": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(text)
    made = ("tools/__pycache__/a.pyc", "contrib/vectors/build/check-c", ".venv/pyvenv.cfg", ".mypy_cache/x")
    for name in (*made, "linux/__pycache__/a.pyc", "contrib/vectors/build/mine"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    clean.clean_checkout(tmp_path)

    assert files(tmp_path) == {"kvm_mine.sh", "linux/__pycache__/a.pyc", "contrib/vectors/build/mine"}


def test_environment_that_is_a_link_or_another_folder_stays(tmp_path: Path) -> None:
    """A .venv that is a link, or that holds something else, stays."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/pyvenv.cfg").touch()
    (tmp_path / "one").mkdir()
    (tmp_path / "one/.venv").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "two/.venv").mkdir(parents=True)
    (tmp_path / "two/.venv/notes.txt").touch()

    for name in ("one", "two"):
        clean.clean_checkout(tmp_path / name)

    assert files(tmp_path) == {"elsewhere/pyvenv.cfg", "one/.venv", "two/.venv/notes.txt"}


@pytest.mark.parametrize("words", [[], ["--help"], ["--no-such-option"], ["a", "b"]])
def test_words_that_name_no_folder_clean_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    """--help and mistyped arguments remove nothing."""
    monkeypatch.setattr(clean, "ROOT", tmp_path)
    (tmp_path / ".mypy_cache").mkdir()

    with pytest.raises(SystemExit):
        clean.main(words)

    assert (tmp_path / ".mypy_cache").is_dir()
