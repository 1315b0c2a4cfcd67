# SPDX-License-Identifier: GPL-2.0-only
"""The harness fails while it runs: the fault is named, all other results stay (docs/faults.md)."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from reports.model import ResultEnding
from tools.tests.fault_suite import Suite, in_namespace, wait_for

pytestmark = pytest.mark.timeout(300)

SIGNALS_ITS_PID = """
def test_victim(vcpu, tmp_path_factory):
    "Waits for what happens to its process."
    import os, pathlib, time
    here = pathlib.Path(__file__).parent
    (here / "pid.new").write_text(str(os.getpid()))
    (here / "pid.new").rename(here / "pid")
    deadline = time.monotonic() + 100
    while not (here / "go").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
"""
VICTIM = "test_victim"


def victim(folder: Path) -> int:
    """Return the process of the test that waits, once it does."""
    wait_for((folder / "pid").exists)
    return int((folder / "pid").read_text())


@pytest.mark.thorough
def test_killed_worker(tmp_path: Path) -> None:
    """kill -9 of a worker: its test is a crash that names the worker, the others are judged."""
    suite = Suite(tmp_path, SIGNALS_ITS_PID)
    process = suite.start(suite.command("-n", "2"))
    os.kill(victim(tmp_path), signal.SIGKILL)

    ended = suite.end(process)

    assert ended.status == 1
    assert ended.verdicts() == {"test_first": "pass", VICTIM: "error", "test_last": "pass"}
    crashed = ended.results[VICTIM]
    assert crashed.ending is ResultEnding.CRASHED
    assert "crashed while running" in crashed.message
    assert ended.has_reports()


BETWEEN_TESTS = """
def pytest_runtest_logfinish(nodeid):
    import os, signal
    if "PYTEST_XDIST_WORKER" in os.environ and "test_victim" in nodeid:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.thorough
def test_worker_killed_between_two_tests(tmp_path: Path) -> None:
    """A worker that dies with its test's result delivered takes nothing back: the result stays."""
    victim_passes = 'def test_victim(vcpu):\n    "Passes."\n'

    ended = Suite(tmp_path, victim_passes, BETWEEN_TESTS).run("-n", "1")

    assert ended.verdicts() == {"test_first": "pass", VICTIM: "pass", "test_last": "pass"}
    journal = (tmp_path / "out" / "journal.jsonl").read_text()
    assert journal.count('"type":"result"') == 3


@pytest.mark.thorough
@pytest.mark.parametrize("workers", ["0", "2"])
def test_suspended_process(tmp_path: Path, workers: str) -> None:
    """A process that stood still for seconds continues: nothing is lost, nothing fails."""
    suite = Suite(tmp_path, SIGNALS_ITS_PID)
    process = suite.start(suite.command("-n", workers))
    stopped = victim(tmp_path)
    os.kill(stopped, signal.SIGSTOP)
    time.sleep(2)
    os.kill(stopped, signal.SIGCONT)
    (tmp_path / "go").touch()

    ended = suite.end(process)

    assert ended.status == 0, ended.output
    assert set(ended.verdicts().values()) == {"pass"}
    assert ended.has_reports()


OUTLASTS = """
import pytest

@pytest.mark.timeout(3)
""" + SIGNALS_ITS_PID.lstrip("\n")


@pytest.mark.thorough
@pytest.mark.parametrize("workers", ["0", "2"])
def test_process_stopped_for_longer_than_the_limit_of_its_test(tmp_path: Path, workers: str) -> None:
    """A test that stood still for longer than its own time limit is not a timeout: it continues."""
    suite = Suite(tmp_path, OUTLASTS)
    process = suite.start(suite.command("-n", workers))
    stopped = victim(tmp_path)
    os.kill(stopped, signal.SIGSTOP)
    time.sleep(5)
    (tmp_path / "go").touch()
    os.kill(stopped, signal.SIGCONT)

    ended = suite.end(process)

    assert ended.status == 0, ended.output
    assert ended.verdicts() == {"test_first": "pass", VICTIM: "pass", "test_last": "pass"}


@pytest.mark.thorough
def test_starved_process_is_not_hung(tmp_path: Path) -> None:
    """A test whose process gets a fraction of a processor has as much time of its own as any other."""
    suite = Suite(tmp_path, OUTLASTS)
    process = suite.start(suite.command())
    starved = victim(tmp_path)
    for _ in range(6):
        os.kill(starved, signal.SIGSTOP)
        time.sleep(1)
        os.kill(starved, signal.SIGCONT)
        time.sleep(0.02)
    (tmp_path / "go").touch()

    ended = suite.end(process)

    assert ended.verdicts()[VICTIM] == "pass", ended.output


HANGS = """
import time, pytest

@pytest.mark.timeout(1)
def test_victim(vcpu):
    "Never ends."
    while True:
        {work}
"""


@pytest.mark.thorough
@pytest.mark.parametrize("work", ["time.sleep(0.01)", "time.sleep(100)", "pass", "sum(range(10**6))"])
def test_hung_test_is_a_timeout(tmp_path: Path, work: str) -> None:
    """A test that waits or computes for ever ends at its limit, and the next one runs."""
    ended = Suite(tmp_path, HANGS.format(work=work)).run()

    assert ended.verdicts() == {"test_first": "pass", VICTIM: "timeout", "test_last": "pass"}
    assert "Timeout (>1" in ended.results[VICTIM].message


SPINS = """
def test_victim(vcpu):
    "A guest within its limit, if that counts only the time in which the harness ran."
    import os, pathlib, time
    here = pathlib.Path(__file__).parent
    vcpu.run_limit_s = 2
    with vcpu.guest.spinning():
        (here / "pid.new").write_text(str(os.getpid()))
        (here / "pid.new").rename(here / "pid")
        while not (here / "go").exists():
            time.sleep(0.001)
"""


@pytest.mark.thorough
def test_guest_of_a_suspended_process_is_not_hung(tmp_path: Path) -> None:
    """A guest's limit counts the time in which the harness could have seen it leave."""
    suite = Suite(tmp_path, SPINS)
    process = suite.start(suite.command())
    stopped = victim(tmp_path)
    os.kill(stopped, signal.SIGSTOP)
    time.sleep(4)
    (tmp_path / "go").touch()
    os.kill(stopped, signal.SIGCONT)

    ended = suite.end(process)

    assert ended.verdicts()[VICTIM] == "pass", ended.output


STUCK = """
import pytest
from fixtures.kvm.threads import together

@pytest.mark.timeout(2)
def test_victim(stuck_vcpu):
    "KVM_RUN that no signal ends."
    together(stuck_vcpu.run)
"""
STUCK_BACKEND = """
import threading
import pytest
from fixtures.sim import SimBackend
from fixtures.kvm.system import open_kvm

class Stuck(SimBackend):
    def timed_call(self, fd, request, arg):
        return threading.Event().wait

@pytest.fixture
def stuck_vcpu(target):
    with open_kvm(Stuck(target.config), target.arch) as opened:
        yield opened.create_vm().create_vcpu(0)
"""


@pytest.mark.thorough
def test_vcpu_thread_that_nothing_ends(tmp_path: Path) -> None:
    """A KVM_RUN that ignores its kicks is a timeout of its test; the next test runs next to it."""
    ended = Suite(tmp_path, STUCK, STUCK_BACKEND).run()

    assert ended.status == 1
    assert ended.verdicts() == {"test_first": "pass", VICTIM: "timeout", "test_last": "pass"}
    assert "Timeout" in ended.results[VICTIM].message
    assert ended.has_reports()


VANISHES = """
def test_victim(broken_kvm):
    "KVM that was there at the start."
    broken_kvm.create_vm()
"""
VANISHING_BACKEND = """
import errno, os
import pytest
from fixtures.kvm.system import open_kvm
from fixtures.sim import SimBackend
from fixtures.uapi import kvm

class Broken(SimBackend):
    def open(self):
        if {on_open}:
            raise OSError(errno.{number}, os.strerror(errno.{number}))
        return super().open()

    def ioctl(self, fd, request, arg=0):
        if request == kvm.KVM_CREATE_VM:
            raise OSError(errno.{number}, os.strerror(errno.{number}))
        return super().ioctl(fd, request, arg)

@pytest.fixture
def broken_kvm(target):
    with open_kvm(Broken(target.config), target.arch) as opened:
        opened.create_vm()
        yield opened
"""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("on_open", "number", "sentence"),
    [
        (
            True,
            "ENOENT",
            "opening /dev/kvm failed with ENOENT (No such file or directory): load the kvm modules",
        ),
        (True, "EBUSY", "opening /dev/kvm failed with EBUSY (Device or resource busy): another hypervisor"),
        (False, "EBUSY", "KVM_CREATE_VM(default machine type) failed with EBUSY (Device or resource busy)"),
        (False, "ENOMEM", "KVM_CREATE_VM(default machine type) failed with ENOMEM (Cannot allocate memory)"),
    ],
)
def test_kvm_that_vanishes_or_is_busy(tmp_path: Path, on_open: bool, number: str, sentence: str) -> None:
    """A device that cannot be opened any more, or gives no VM, is an error with its errno in words."""
    conftest = VANISHING_BACKEND.format(on_open=on_open, number=number)

    ended = Suite(tmp_path, VANISHES, conftest).run()

    assert ended.status == 1
    assert ended.verdicts() == {"test_first": "pass", VICTIM: "error", "test_last": "pass"}
    assert ended.results[VICTIM].message.startswith(sentence)
    assert "Traceback" not in ended.output


HIDES_DEVICE = """
def test_victim(target):
    "The device's name is taken away while tests run."
    import os
    from fixtures.kvm.system import open_kvm
    with open_kvm(target.make_backend(), target.arch):
        os.rename("/dev/kvm-of-this-test/kvm", "/dev/kvm-of-this-test/gone")
    open_kvm(target.make_backend(), target.arch)
"""


@pytest.mark.thorough
@in_namespace
@pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="no usable /dev/kvm")
def test_real_device_that_vanishes(tmp_path: Path) -> None:
    """/dev/kvm gone between two tests: the later one is an error that says so, the earlier ones stay."""
    tests = HIDES_DEVICE.replace("/dev/kvm-of-this-test", str(tmp_path / "dev"))
    conftest = (
        "\nimport fixtures.host_backend as _host\n"
        "from fixtures.backends.dev_kvm import DevKvm\n"
        "import fixtures.targets as _targets\n"
        "def _moved():\n"
        "    counter, timed, _ = _host._counter()\n"
        f"    return DevKvm(counter, timed, {str(tmp_path / 'dev' / 'kvm')!r})\n"
        "_targets.host_backend = _moved\n"
    )
    suite = Suite(tmp_path, tests, conftest, target="host")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "kvm").symlink_to("/dev/kvm")

    ended = suite.run()

    assert ended.status == 1
    assert ended.verdicts() == {"test_first": "pass", VICTIM: "error", "test_last": "error"}
    assert "opening /dev/kvm failed with ENOENT" in ended.results["test_last"].message
    assert ended.has_reports()


NEEDS_MEMORY = """
import resource, pytest

@pytest.fixture
def little_memory():
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)

def test_victim(kvm, little_memory):
    "A guest that is larger than the limit."
    kvm.create_vm(memory_size=1 << 30)
"""


@pytest.mark.thorough
def test_memory_limit(tmp_path: Path) -> None:
    """Memory that is not available is an error with the errno in words, of the test that wanted it."""
    ended = Suite(tmp_path, NEEDS_MEMORY).run()

    assert ended.status == 1
    assert ended.verdicts() == {"test_first": "pass", VICTIM: "error", "test_last": "pass"}
    assert "Cannot allocate memory" in ended.results[VICTIM].message


STEPS_CLOCK = """
import time, pytest

_time, _time_ns = time.time, time.time_ns

@pytest.fixture
def stepped_clock():
    time.time = lambda: _time() + ({hours}) * 3600
    time.time_ns = lambda: _time_ns() + ({hours}) * 3600 * 10**9

def test_victim(stepped_clock, vcpu):
    "The wall clock is set while the claim runs; it stays so."
    assert vcpu.guest.read_tsc().value
"""


@pytest.mark.thorough
@pytest.mark.parametrize("hours", [-1, 1])
def test_wall_clock_of_the_harness_is_stepped(tmp_path: Path, hours: int) -> None:
    """A clock set by an hour changes no verdict and makes no negative or hour-long duration."""
    ended = Suite(tmp_path, STEPS_CLOCK.format(hours=hours)).run()

    assert ended.status == 0, ended.output
    assert set(ended.verdicts().values()) == {"pass"}
    assert all(0 <= result.duration_ns < 100 * 10**9 for result in ended.results.values())
    assert ended.has_reports()


STEPS_HOST = """
def test_victim(vcpu):
    "CLOCK_REALTIME of the host is set between two readings of the guest's clock."
    host, guest = vcpu.vm.time, vcpu.guest
    guest.enable_kvmclock()
    before = guest.read_kvmclock().kvmclock_ns
    host.step_realtime_ns({hours} * 3600 * 10**9)
    after = guest.read_kvmclock().kvmclock_ns
    assert 0 < after - before < 10**9
"""


@pytest.mark.thorough
@pytest.mark.parametrize("hours", [-1, 1])
def test_clock_of_the_host_is_stepped(tmp_path: Path, hours: int) -> None:
    """A realtime clock of the host that is set changes no claim on guests' monotonic clocks."""
    ended = Suite(tmp_path, STEPS_HOST.format(hours=hours)).run()

    assert ended.verdicts() == {"test_first": "pass", VICTIM: "pass", "test_last": "pass"}, ended.output


REMOVES_FOLDER = """
def test_victim(vcpu):
    "Somebody cleans up."
    import pathlib, shutil
    shutil.rmtree(pathlib.Path(__file__).parent / "out")
"""


@pytest.mark.thorough
def test_removed_folder(tmp_path: Path) -> None:
    """A journal whose folder is removed during the run is there again at its end, whole."""
    ended = Suite(tmp_path, REMOVES_FOLDER).run()

    assert ended.status == 0, ended.output
    assert ended.verdicts() == {"test_first": "pass", VICTIM: "pass", "test_last": "pass"}
    assert ended.has_reports()


@pytest.mark.thorough
@in_namespace
@pytest.mark.parametrize("size", ["8k", "16k"])
def test_full_disk(tmp_path: Path, size: str) -> None:
    """A disk without room for journal or reports: every result is shown, one sentence says why, status 1."""
    suite = Suite(tmp_path, "".join(FILLER.format(number=number) for number in range(30)))
    suite.out.mkdir()
    script = f'mount -t tmpfs -o size={size} none "$0" && "$@"'

    ended = suite.run(before=["unshare", "-m", "sh", "-c", script, str(suite.out)])

    assert ended.status == 1, ended.output
    assert "No space left on device" in ended.output
    assert "sim-x86_64 (simulated)" in ended.output
    assert "Traceback" not in ended.output
    (row,) = (line for line in ended.output.splitlines() if line.startswith("sim-x86_64 ("))
    assert row.split()[2] == "32"


FILLER = """
def test_{number}(vcpu):
    "Prints a little."
    print("x" * 1000)
"""


@pytest.mark.thorough
@in_namespace
def test_read_only_folder(tmp_path: Path) -> None:
    """A folder on a read-only file system ends the session before its first test, status 2."""
    suite = Suite(tmp_path, "")
    suite.out.mkdir()
    script = 'mount -t tmpfs -o ro none "$0" && "$@"'

    ended = suite.run(before=["unshare", "-m", "sh", "-c", script, str(suite.out)])

    assert ended.status == 2
    assert "cannot write the journal" in ended.output
    assert "Read-only file system" in ended.output
    assert "Traceback" not in ended.output
