# SPDX-License-Identifier: GPL-2.0-only
"""The job that tuxlava renders, and the QEMU command line that LAVA makes of it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONTRIB = ROOT / "contrib"
CLIENT = ROOT / ".venv/kernel-ci"
RENDER_S, INSTALL_S = 120, 400


class CannotRun(Exception):
    """The job cannot be rendered or run; the text is one sentence without a full stop."""


@dataclass(frozen=True, slots=True)
class LavaJob:
    """What tuxlava renders for one device, and the definition that it names."""

    job: Mapping[str, Any]
    device: Mapping[str, Any]
    definition: Mapping[str, Any]

    @property
    def test(self) -> Mapping[str, Any]:
        """The test of our definition: repository, path, name, parameters."""
        found: Mapping[str, Any] = self._action("test")["definitions"][0]
        return found

    @property
    def test_s(self) -> float:
        """How long the test may take, in seconds."""
        return 60.0 * float(self._action("test")["timeout"]["minutes"])

    @property
    def boot_s(self) -> float:
        """How long booting may take, in seconds."""
        return 60.0 * float(self._action("boot")["timeout"]["minutes"])

    @property
    def login_prompt(self) -> str:
        """What the board prints when someone may log in: a regular expression."""
        return str(self._action("boot")["auto_login"]["login_prompt"])

    @property
    def prompts(self) -> Sequence[str]:
        """What its shell prints when it is ready, each a regular expression or plain text."""
        found: Sequence[str] = self._action("boot")["prompts"]
        return found

    def command(self, files: Mapping[str, Path]) -> str:
        """Return the command line, in which *files* are what LAVA downloads.

        It is put together as lava_dispatcher/actions/boot/qemu.py does it: the device's options, then the
        arguments of the images by their labels.
        """
        qemu = self.device["actions"]["boot"]["methods"]["qemu"]["parameters"]
        images = self._action("deploy")["images"]
        words = [qemu["command"], *qemu["options"], *qemu["extra"]]
        for label, image in images.items():
            words.append(image["image_arg"].replace(f"{{{label}}}", shlex.quote(str(files[label]))))
        return " ".join(words)

    def _action(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = next(one[name] for one in self.job["actions"] if name in one)
        return found


def render(device: str, kernel: Path, rootfs: Path, boot_args: str = "") -> LavaJob:
    """Return the job of tuxlava for *device* with these files; `CannotRun` says why there is none."""
    words = ["--device", device, "--tests", "kvmtests"]
    # As they are: tuxlava looks for the file without undoing the quotes of a URI.
    urls = [f"file://{path}" for path in (kernel, rootfs)]
    words += ["--kernel", urls[0], "--rootfs", urls[1], "--test-definitions", urls[0]]
    if boot_args:
        words += ["--boot-args", boot_args]
    script = str(Path(__file__).with_name("render.py"))
    command = [str(_python()), script, str(CONTRIB), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RENDER_S)
    if done.returncode:
        raise CannotRun(f"tuxlava renders no job: {(done.stderr.strip() or 'no output').splitlines()[-1]}")
    return LavaJob(**json.loads(done.stdout))


def _python() -> Path:
    """Return the Python of the environment that has tuxlava, made on first use."""
    python = CLIENT / "bin/python"
    if not (CLIENT / ".kernel-ci").exists():
        command = [sys.executable, "tools/venv.py", "--into", str(CLIENT), "kernel-ci"]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=INSTALL_S
        )
        if done.returncode:
            raise CannotRun("requirements/kernel-ci.txt cannot be installed: " + done.stderr.strip()[-300:])
    return python
