# SPDX-License-Identifier: GPL-2.0-only
"""Jobs of KernelCI's PULL_LABS protocol: what they may say, what is run, and what goes back."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jinja2
import pytest

from reports.tests import samples
from reports.tests.clients import INSTALL_S, python_client
from tools import pull_lab
from tools.pull_lab_job import BadJob, PullJob, parse
from tools.tests.test_ci_jobs import system_python

CONTRIB = Path(__file__).parents[2] / "contrib/kernelci"

# What the fields of the protocol's jobs are, in a template of our own.
BASE = """{
"artifacts": {"kernel": "{{ node.artifacts.kernel }}", "modules": "{{ node.artifacts.modules }}"},
"tests": [{% for test in test_definitions %}
  {"id": "{{ test.id }}", "type": "{{ test.type }}", "depends": {{ test.depends | tojson }},
   "timeout_s": {{ test.timeout_s }}, "subset": {{ test.subset | tojson }},
   "pre-commands": {{ test.pre_commands | tojson }}, "post-commands": {{ test.post_commands | tojson }}}
{% endfor %}],
"environment": {"platform": "qemu-x86_64", "arch": "x86_64"},
"callback": {"url": "https://api.example.org/node/1", "token_name": "t"}
}"""


def job(**changes: Any) -> dict[str, Any]:
    """Return a job with *changes*."""
    test = {"id": "kvmtests", "type": "kvmtests", "timeout_s": 1800, "subset": ["lab-x86_64-svm"]}
    artifacts = {"kernel": "https://ci/bzImage", "modules": "https://ci/modules.tar.xz"}
    environment = {"platform": "qemu-x86_64", "arch": "x86_64"}
    return {"artifacts": artifacts, "tests": [test], "environment": environment, **changes}


def parsed(**changes: Any) -> PullJob:
    """Return what is read from a job with *changes*."""
    return parse(json.dumps(job(**changes)).encode())


def test_job_of_our_template(tmp_path: Path) -> None:
    """The template in contrib/kernelci makes a job that runs on the lab hosts of the pipeline's job."""
    loader = jinja2.ChoiceLoader(
        [
            jinja2.FileSystemLoader(CONTRIB / "kernelci-pipeline/config/runtime"),
            jinja2.DictLoader({"base/pull_labs.jinja2": BASE}),
        ]
    )
    template = jinja2.Environment(loader=loader).get_template("kvmtests-pull-labs.jinja2")  # noqa: S701  # JSON
    node = {"artifacts": {"kernel": "https://ci/bzImage", "modules": "https://ci/modules.tar.xz"}}

    found = parse(template.render(node=node, lab_hosts=["lab-x86_64-svm"], job_timeout=30).encode())

    assert (found.lab_hosts, found.limit_s) == (("lab-x86_64-svm",), 1800)
    words = pull_lab.words(found, tmp_path, Path("/k"), Path("/m"))[1:]
    assert words == [
        "-m", "tools.lab", "--only", f"--out={tmp_path}", "--kernel=/k", "--modules=/m",
        "--target=lab-x86_64-svm",
    ]  # fmt: skip


def test_without_a_subset_the_standard_lab_hosts_run() -> None:
    """All of the job's architecture."""
    test = {"id": "a", "type": "kvmtests"}

    found = parsed(tests=[test], environment={"arch": "arm64"})

    assert found.lab_hosts == ("lab-arm64-vhe", "lab-arm64-nvhe", "lab-arm64-protected")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"artifacts": None}, "the job has no artifacts"),
        ({"tests": {}}, "the job has no tests"),
        ({"tests": [{"type": "boot"}, 3]}, "0 tests of type kvmtests"),
        ({"artifacts": {"kernel": "file:///etc/hostname"}}, "kernel is not a URL"),
        ({"artifacts": {"kernel": "https://ci/a b"}}, "kernel is not a URL"),
        ({"artifacts": {"kernel": "https://ci/k", "modules": ["x"]}}, "modules is not a URL"),
        ({"tests": [{"type": "kvmtests", "pre-commands": ["rm -rf /"]}]}, "no command of a job is run"),
        ({"tests": [{"type": "kvmtests", "subset": "lab-x86_64-svm"}]}, "names none"),
        ({"tests": [{"type": "kvmtests", "subset": ["--help"]}]}, "'--help' in the test's subset is not"),
        ({"tests": [{"type": "kvmtests", "subset": ["lab-x86_64-svm"], "timeout_s": 1e9}]}, "timeout_s"),
        ({"tests": [{"type": "kvmtests", "subset": ["lab-x86_64-svm"], "timeout_s": True}]}, "timeout_s"),
        ({"tests": [{"type": "kvmtests"}], "environment": []}, "no lab host is of the architecture None"),
        ({"integrity": {"sha256": {"kernel": "abc"}}}, "checksum of kernel is not one of SHA-256"),
    ],
)
def test_job_that_cannot_be_run(changes: dict[str, Any], sentence: str) -> None:
    """Whatever a job says, the answer is one sentence."""
    with pytest.raises(BadJob, match=sentence.replace("(", r"\(")):
        parsed(**changes)


@pytest.mark.parametrize("text", [b"", b"[]", b"3", b'"x"', b"[" * 100_000, b"\xff"])
def test_text_that_is_not_a_job(text: bytes) -> None:
    """Other JSON, and other bytes, are refused."""
    with pytest.raises(BadJob):
        parse(text)


def archive(*members: tuple[str, bytes, bytes]) -> io.BytesIO:
    """Return a tar of *members*: name, type, content or where a link leads."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:xz") as made:
        for name, kind, content in members:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            entry.size = len(content) if kind == tarfile.REGTYPE else 0
            entry.linkname = "" if kind == tarfile.REGTYPE else content.decode()
            made.addfile(entry, io.BytesIO(content))
    output.seek(0)
    return output


def test_modules_and_their_lists_are_unpacked(tmp_path: Path) -> None:
    """Links, devices and other files stay out: a build's links to its sources lead nowhere here."""
    packed = archive(
        ("lib/modules/6.12.0/kernel/kvm-amd.ko.xz", tarfile.REGTYPE, b"module"),
        ("lib/modules/6.12.0/modules.builtin", tarfile.REGTYPE, b"list"),
        ("lib/modules/6.12.0/build", tarfile.SYMTYPE, b"/etc"),
        ("lib/modules/6.12.0/build/evil.ko", tarfile.LNKTYPE, b"/etc/passwd"),
        ("etc/cron.d/job", tarfile.REGTYPE, b"* * * * *"),
        ("lib/modules/pipe.ko", tarfile.FIFOTYPE, b""),
    )

    pull_lab.unpack_modules(packed, tmp_path)

    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "kvm-amd.ko.xz",
        "modules.builtin",
    ]


@pytest.mark.parametrize("name", ["../evil.ko", "/tmp/evil.ko", "lib/../../evil.ko"])
def test_module_outside_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing is written anywhere else."""
    (tmp_path / "inner").mkdir()

    with pytest.raises(BadJob, match="outside of its folder"):
        pull_lab.unpack_modules(archive((name, tarfile.REGTYPE, b"x")), tmp_path / "inner")

    assert list(tmp_path.rglob("*")) == [tmp_path / "inner"]


def test_archive_that_is_none(tmp_path: Path) -> None:
    """Anything but a tar is one sentence."""
    with pytest.raises(BadJob, match="cannot be unpacked"):
        pull_lab.unpack_modules(io.BytesIO(b"<html>404</html>" * 100), tmp_path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Give the URL of a folder `served`."""
    (tmp_path / "served").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("sha256", "name", "sentence"),
    [
        ("0" * 64, "bzImage", "is not what the job's checksum says"),
        ("", "absent", "cannot be fetched: File not found"),
    ],
)
def test_artifact_that_does_not_arrive(
    server: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    sha256: str,
    name: str,
    sentence: str,
) -> None:
    """A wrong checksum and an absent file end the job before anything boots: status 2."""
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "served/bzImage").write_bytes(b"kernel")
    wanted = job(
        artifacts={"kernel": f"{server}/{name}"}, integrity={"sha256": {"kernel": sha256}} if sha256 else {}
    )
    (tmp_path / "job.json").write_text(json.dumps(wanted))

    assert pull_lab.run(tmp_path / "job.json", tmp_path / "out") == 2

    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_fetched_files_reach_the_lab(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernel and modules are what the URLs hold."""
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "served/bzImage").write_bytes(b"kernel")
    packed = archive(("lib/modules/6.12.0/kvm.ko", tarfile.REGTYPE, b"module")).read()
    (tmp_path / "served/modules.tar.xz").write_bytes(packed)
    sums = {"kernel": hashlib.sha256(b"kernel").hexdigest(), "modules": hashlib.sha256(packed).hexdigest()}
    wanted = parsed(
        artifacts={"kernel": f"{server}/bzImage", "modules": f"{server}/modules.tar.xz"},
        integrity={"sha256": sums},
    )

    kernel, modules = pull_lab._fetched(wanted, tmp_path)

    assert kernel.read_bytes() == b"kernel"
    assert modules is not None
    assert [path.name for path in modules.rglob("*.ko")] == ["kvm.ko"]


def test_every_result_goes_back() -> None:
    """The callback's document has each claim once, below lab host and subject; counts are the run's."""
    run = samples.run(4_000)

    document = pull_lab.callback(run)

    leaves = [
        claim["status"]
        for lab_host in document["tests"].values()
        for subject in lab_host["subtests"].values()
        for claim in subject["subtests"].values()
    ]
    assert len(leaves) == document["summary"]["total"] == len(run.results)
    assert document["summary"]["failed"] == sum(result.bad for result in run.results)
    assert set(leaves) == {"pass", "fail", "skip", "error"}


def test_configuration_keeps_the_pipelines_rules() -> None:
    """What the pipeline's validate_yaml.py demands of jobs and scheduler entries holds, references too."""
    program = (
        "import json, sys, yaml; print(json.dumps([yaml.safe_load(text) for text in json.load(sys.stdin)]))"
    )
    texts = [path.read_text() for path in sorted(CONTRIB.rglob("*.yaml"))]
    merged: dict[str, Any] = {}
    for document in json.loads(system_python(program, json.dumps(texts), "python3-yaml")):
        merged |= document

    for entry in merged["jobs"].values():
        assert entry["kind"] == "job"
        assert entry["kcidb_test_suite"]
        if entry["template"] == "generic.jinja2":
            place = f"kernelci-core/config/runtime/tests/{entry['params']['test_method']}.jinja2"
            assert entry["params"]["rootfs_ref"] in merged["rootfs"]
        else:
            place = f"kernelci-pipeline/config/runtime/{entry['template']}"
        assert (CONTRIB / place).is_file()
    assert {entry["job"] for entry in merged["scheduler"]} == merged["jobs"].keys()
    for entry in merged["scheduler"]:
        assert entry["event"].keys() >= {"channel", "kind", "state", "name"}
        assert entry["runtime"]["type"] == "lava" or entry["runtime"]["name"] in merged["runtimes"]
    (script,) = (entry["script"] for entry in merged["rootfs_configs"].values())
    assert (CONTRIB / "kernelci-core/config/rootfs/debos" / script).is_file()


@pytest.mark.clients
@pytest.mark.timeout(INSTALL_S + 60)
def test_kernelci_loads_the_root_file_system(pytestconfig: pytest.Config) -> None:
    """kci_rootfs finds our root file system valid, and would build it for both architectures."""
    program = python_client("kci_rootfs", pytestconfig, "kernel-ci")
    configuration = CONTRIB / "kernelci-core/config/core/rootfs-configs-kvmtests.yaml"

    def said(*words: str) -> str:
        command = [program, f"--yaml-configs={configuration}", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    assert "script: scripts/trixie-kvmtests.sh" in said("validate", "--verbose")
    assert said("list_variants").splitlines() == ["trixie-kvmtests amd64", "trixie-kvmtests arm64"]
