# SPDX-License-Identifier: GPL-2.0-only
"""How many workers `make check` starts where nobody says it."""

from __future__ import annotations

import pytest

from fixtures.targets import Probe, Target
from tools import workers

ALL = {"args": ["kvmtests"], "markexpr": "", "keyword": "", "target": []}
NO_KVM = Probe({}, "there is no /dev/kvm")


class ChosenTests:
    """What a command line chooses, as pytest's configuration says it."""

    def __init__(self, **options: object) -> None:
        self._options = ALL | options
        self.args = self._options["args"]

    def getoption(self, name: str) -> object:
        """Return the value of the option *name*."""
        return self._options[name]


def started(config: object) -> tuple[int, str | None]:
    """Return how many workers *config* gets on four processors, and the line of the header."""
    plugin = workers.WorkersOfClaims()
    manager = pytest.PytestPluginManager()
    manager.add_hookspecs(Specifications)
    manager.register(FourProcessors())
    manager.register(plugin)
    count = manager.hook.pytest_xdist_auto_num_workers(config=config)
    return count, plugin.pytest_report_header()


class Specifications:
    """The hook of pytest-xdist."""

    @pytest.hookspec(firstresult=True)
    def pytest_xdist_auto_num_workers(self, config: object) -> int:
        """Return the number of workers."""
        raise NotImplementedError


class FourProcessors:
    """What pytest-xdist itself says."""

    @pytest.hookimpl
    def pytest_xdist_auto_num_workers(self) -> int:
        """Return the number of processors."""
        return 4


@pytest.fixture(autouse=True)
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """This host's KVM: usable unless the test is given another probe."""
    found = getattr(request, "param", Probe({}))

    def look(target: Target) -> Probe:
        assert target.name == "host"
        return found

    monkeypatch.setattr(workers, "probe", look)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="all"),
        pytest.param({"target": ["sim-x86_64,host"]}, id="named"),
    ],
)
def test_sleeping_run_gets_one_more(options: dict[str, object]) -> None:
    """All thorough claims on a real host take one worker's time, and little of a processor's."""
    assert started(ChosenTests(**options)) == (5, workers.ONE_MORE)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"markexpr": "not thorough"}, id="quick"),
        pytest.param({"keyword": "tsc"}, id="expression"),
        pytest.param({"args": ["kvmtests/x86/test_age.py"]}, id="module"),
        pytest.param({"target": ["sim-x86_64", "sim-arm64-vhe"]}, id="simulated"),
    ],
)
def test_run_that_does_not_sleep_gets_one_for_each_processor(options: dict[str, object]) -> None:
    """More workers than processors only collect the claims once more."""
    assert started(ChosenTests(**options)) == (4, None)


@pytest.mark.parametrize("host", [pytest.param(NO_KVM, id="no-kvm")], indirect=True)
def test_host_without_kvm_does_not_sleep() -> None:
    """Where no claim runs on the host, none sleeps."""
    assert started(ChosenTests()) == (4, None)
