# SPDX-License-Identifier: GPL-2.0-only
"""Our reports in the hands of the programs that run us or submit what we found."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from reports import kcidb, ktap, squad
from reports.model import Run, by_target, counts
from reports.names import target_slug
from reports.tests import samples
from reports.tests.clients import INSTALL_S, npm_client, python_client
from reports.tests.test_clients import bad, every_run
from reports.whole_file import write_file

pytestmark = [pytest.mark.clients, pytest.mark.timeout(INSTALL_S + 60)]


class SubmissionServer(ThreadingHTTPServer):
    """A server that accepts every request and keeps it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str, bytes]] = []

    @property
    def url(self) -> str:
        """The address at which it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, SubmissionServer)
        self.server.requests.append((self.path, self.headers.get("Authorization", ""), body))
        answer = b'{"id": "1", "status": "ok"}'
        self.send_response(201 if "submit/" in self.path else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[SubmissionServer]:
    """A local server in place of KernelCI's or SQUAD's."""
    with SubmissionServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def call(*words: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Return what the program *words* did, *home* being its place for settings."""
    environment = {**os.environ, "HOME": str(home), "NO_PROXY": "*", "no_proxy": "*"}
    return subprocess.run(
        words, capture_output=True, text=True, timeout=100, check=False, cwd=home, env=environment
    )


@every_run
def test_kci_dev_would_submit_it(run: Run, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """kci-dev accepts the submission in a dry run, and would send it unchanged."""
    kci_dev = python_client("kci-dev", pytestconfig)
    report = write_file(tmp_path / "kcidb.json", kcidb.submission(run))

    done = call(kci_dev, "submit", "build", "--from-json", report, "--dry-run", home=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == json.loads(report.read_text())


def test_kci_dev_submits_it(listener: SubmissionServer, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """What arrives at KernelCI's server is what we wrote, with the token as bearer."""
    kci_dev = python_client("kci-dev", pytestconfig)
    report = write_file(tmp_path / "kcidb.json", kcidb.submission(samples.run(400)))
    server = ["--kcidb-rest-url", listener.url, "--kcidb-token", "secret"]

    done = call(kci_dev, "submit", "build", "--from-json", report, *server, home=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    ((_, authorization, body),) = listener.requests
    assert authorization == "Bearer secret"
    assert json.loads(body) == json.loads(report.read_text())


@every_run
def test_squad_client_submits_tests_and_metrics(
    run: Run, listener: SubmissionServer, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """squad-client submits each target to its environment; every result and figure arrives."""
    squad_client = python_client("squad-client", pytestconfig)
    server = ["--squad-host", listener.url, "--squad-token", "t"]
    for name, lines in squad.submissions(run):
        write_file(tmp_path / name, lines)

    for target, _ in by_target(run):
        environment = target_slug(target.name)
        stem = tmp_path / environment
        files = ["--results", f"{stem}.tests.json", "--metrics", f"{stem}.metrics.json"]
        place = ["--group", "g", "--project", "p", "--build", "b", "--environment", environment]
        metadata = ["--metadata", f"{stem}.metadata.json"]
        done = call(squad_client, *server, "submit", *place, *files, *metadata, home=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr

    verdicts: Counter[str] = Counter()
    metrics = {}
    for (path, _, body), (target, _) in zip(listener.requests, by_target(run), strict=True):
        sent = {name: json.loads(text) for name, (text,) in parse_qs(body.decode()).items()}
        # A result with a log is sent as a dict, one without as its word.
        verdicts.update(said["result"] if isinstance(said, dict) else said for said in sent["tests"].values())
        metrics[f"{target_slug(target.name)}.metrics.json"] = sent.get("metrics", {})
        assert path == f"/api/submit/g/p/b/{target_slug(target.name)}/"
    assert verdicts["fail"] == len(bad(run))
    assert verdicts.total() == len(run.results)
    written = {name: "".join(lines) for name, lines in squad.submissions(run)}
    assert metrics == {name: json.loads(text) for name, text in written.items() if name in metrics}


@pytest.mark.parametrize("is_good", [True, False], ids=["good", "bad"])
def test_avocado_runs_it_as_a_tap_test(is_good: bool, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Avocado, one verdict for a program, passes the document without failures and fails the other."""
    runner = python_client("avocado-runner-tap", pytestconfig)
    run = samples.run(200)
    kept = tuple(result for result in run.results if not (is_good and result.bad))
    report = write_file(tmp_path / "results.tap", ktap.flat(Run(run.sessions, run.targets, kept)))
    program = tmp_path / "program.sh"
    program.write_text(f"#!/bin/sh\ncat {report}\n")
    program.chmod(0o755)

    done = call(runner, "runnable-run", "-k", "tap", "-u", program, home=tmp_path)

    final = ast.literal_eval(done.stdout.strip().splitlines()[-1])
    assert final["status"] == "finished", done.stderr
    assert final["result"] == ("pass" if is_good else "fail")


@every_run
def test_npm_tap_parser_fails_the_bad_ones(run: Run, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """npm's tap-parser counts the same failures and skips, and no parse failure."""
    tap_parser = npm_client("tap-parser", pytestconfig)
    report = write_file(tmp_path / "results.tap", ktap.flat(run))

    with report.open() as text:
        done = subprocess.run(
            [tap_parser, "--json"], stdin=text, capture_output=True, text=True, timeout=60, check=False
        )

    final = next(event[1] for event in json.loads(done.stdout) if event[0] == "complete")
    seen = counts(run.results)
    assert final["count"] == len(run.results)
    assert final["fail"] == len(bad(run))
    assert final["skip"] == sum(count for verdict, count in seen.items() if verdict == "skip")
