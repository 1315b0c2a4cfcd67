# SPDX-License-Identifier: GPL-2.0-only
"""Kernel names: the same for a test on every target, whatever the target is called."""

from __future__ import annotations

import pytest

from reports import names
from reports.model import LOCAL


@pytest.mark.parametrize(
    ("word", "called"),
    [
        pytest.param("host", "host", id="plain"),
        pytest.param("host", "host@board-3", id="renamed-by-a-merge"),
        pytest.param("lab-arm64-vhe@6.1", "lab-arm64-vhe@6.1", id="of-a-kernel"),
        pytest.param("lab-arm64-vhe@6.1", "lab-arm64-vhe@6.1@board-3", id="of-a-kernel-and-renamed"),
    ],
)
@pytest.mark.parametrize("shape", ["{}", "{}-zero", "zero-{}", "zero-{}-one"])
def test_name_of_a_test_drops_its_target(word: str, called: str, shape: str) -> None:
    """A test has the same name on host, on another host of that name, and on a kernel of the lab."""
    elsewhere = names.kernel_name(
        f"kvmtests/x86/test_clock.py::test_a[{shape.format('sim-x86_64')}]", "sim-x86_64"
    )

    name = names.kernel_name(f"kvmtests/x86/test_clock.py::test_a[{shape.format(word)}]", called)

    assert name == elsewhere


def test_only_a_whole_word_is_the_target() -> None:
    """A parameter that begins like the target stays."""
    assert names.kernel_name("a.py::test_a[host@x-hosted]", "host@x") == "test_a.hosted"


@pytest.mark.parametrize(
    ("called", "name"),
    [
        pytest.param("sim-x86_64", "sim-x86_64", id="plain"),
        pytest.param("lab-arm64-vhe@6.1", "lab-arm64-vhe.6.1", id="kernel"),
        pytest.param("host@board-3", "host.board-3", id="host"),
    ],
)
def test_name_of_a_target_has_the_characters_of_all_readers(called: str, name: str) -> None:
    """The sign before kernel and host becomes a dot, and needs no digest."""
    assert names.target_slug(called) == name


def test_parameter_called_local_is_not_a_target() -> None:
    """A test that names no target keeps a parameter called as such tests are counted."""
    assert names.kernel_name("a.py::test_a[local-1]", LOCAL) == names.slug("test_a.local-1")


def test_host_with_any_name_is_kept_apart() -> None:
    """Other characters of a host's name are folded, and a digest distinguishes such targets."""
    one, two = names.target_slug("host@böard 1"), names.target_slug("host@böard=1")

    assert one != two
    assert names.slug(one) == one
