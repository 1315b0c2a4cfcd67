# SPDX-License-Identifier: GPL-2.0-only
"""The pytest plug-in of the reporter: its options, its hook, and who records.

Only one process writes: the plain pytest process, or pytest-xdist's controller.
"""

from __future__ import annotations

import pytest

from . import clean_reports, hookspecs, options, packed
from .hosts import INPUT, HostDescription, host_facts
from .late_warnings import LateWarnings
from .recorder import SessionRecorder
from .signals import leave_to_controller

_LOOKS_ONLY = ("collectonly", "promises", "showfixtures", "show_fixtures_per_test", "setupplan")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the reporter."""
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hook pytest_kvm_targets."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Start the recorder where this process is the one that writes."""
    looks_only = any(getattr(config.option, name, False) for name in _LOOKS_ONLY)
    if INPUT in getattr(config, "workerinput", {}):
        config.pluginmanager.register(HostDescription(config, host_facts()), "kvm-host")
    config.pluginmanager.register(LateWarnings(), "kvm-late-warnings")
    config.pluginmanager.register(clean_reports, "kvm-clean-reports")
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(packed.Packer(), "kvm-packed-reports")
        leave_to_controller()
        return
    config.pluginmanager.register(packed.Unpacker(config), "kvm-packed-reports")
    if not looks_only:
        recorder = SessionRecorder(config, options.ReportOptions.of(config))
        config.pluginmanager.register(recorder, "kvm-recorder")
