# SPDX-License-Identifier: MIT
"""kvmtests as a test of tuxlava: copy into tuxlava/tests and import it in tuxlava/tests/__init__.py."""

from __future__ import annotations

from typing import Any, ClassVar

from tuxlava.tests import Test


class KvmTests(Test):
    """The suite on the board's KVM; parameter KVMTESTS is the address of its tar."""

    devices: ClassVar[list[str]] = ["qemu-arm64", "qemu-x86_64", "fvp-aemva", "nfs-*", "fastboot-*"]
    name = "kvmtests"
    timeout = 15
    need_test_definition = True

    def render(self, **kwargs: Any) -> str:
        """Return the job's action."""
        kwargs["name"] = self.name
        kwargs["timeout"] = self.timeout
        return self._render("kvmtests.yaml.jinja2", **kwargs)
