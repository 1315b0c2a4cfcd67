# SPDX-License-Identifier: GPL-2.0-only
"""A board without a network: a stock kernel in QEMU with a shell on its console, driven by labgrid."""

from __future__ import annotations

import shutil
from pathlib import Path

from fixtures.lab import availability, cpio, image, kernel, parts
from fixtures.lab.errors import LabError
from fixtures.lab.hosts import LAB_HOSTS

NAME = "gamma"
LAB_HOST = LAB_HOSTS["lab-x86_64-svm"]
PROMPT = "kvmtests-board:~ # "

_INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
for module in /lab/modules/*; do insmod $module; done
ln -s /usr/bin/python3.11 /bin/python3
export PS1='{prompt}' PATH=/bin:/usr/bin HOME=/ TERM=dumb
{watch}
exec setsid cttyhack sh
"""

_PANIC = "(until dmesg | grep -q 'kvmtests: test'; do usleep 50000; done; echo c >/proc/sysrq-trigger) &"

_ENVIRONMENT = """\
targets:
  {name}:
    drivers:
      QEMUDriver:
        qemu_bin: qemu
        machine: {board}
        cpu: {cpu}
        memory: 1G
        kernel: kernel
        extra_args: "-initrd {initrd} -no-reboot -nic none"
        boot_args: "{command_line}"
      ShellDriver:
        prompt: '{prompt}'
        login_prompt: 'no login here'
        username: root
        login_timeout: 240
      ShellStrategy: {{}}
tools:
  qemu: {qemu}
images:
  kernel: {kernel}
"""


def missing() -> str:
    """Return why there can be no such board on this computer, or ""."""
    for program, package in (("busybox", "busybox-static"), ("rz", "lrzsz")):
        if shutil.which(program) is None:
            return f"no {program}: install Debian's {package}"
    try:
        availability.check(LAB_HOST)
    except LabError as error:
        return str(error)
    return ""


def environment(folder: Path, *, receiver: bool = True, dies: bool = False) -> Path:
    """Write kernel, file system and labgrid's environment into *folder*; return the environment.

    Without *receiver* nothing there takes a file over the console. One that *dies* panics during the tests.
    """
    chosen = kernel.from_packages(parts.kernel_set(LAB_HOST.arch, LAB_HOST.kernel))
    init = _INIT.format(prompt=PROMPT, watch=_PANIC if dies else "")
    entries = [cpio.file("init", init.encode(), executable=True), _program("busybox")]
    entries += [_program("rz")] if receiver else []
    for number, data in enumerate(chosen.module_files(LAB_HOST.all_modules)):
        entries.append(cpio.file(f"lab/modules/{number:03}.ko", data))
    initrd = image.join(folder / "initrd", [image.base(LAB_HOST.arch), cpio.archive(entries)])
    text = _ENVIRONMENT.format(
        name=NAME,
        board=LAB_HOST.board,
        cpu=LAB_HOST.cpu,
        command_line=LAB_HOST.command_line,
        prompt=PROMPT,
        initrd=initrd,
        qemu=shutil.which(LAB_HOST.program.name),
        kernel=chosen.image,
    )
    path = folder / "lab.yaml"
    path.write_text(text)
    return path


def _program(name: str) -> cpio.Entry:
    return cpio.file(f"bin/{name}", Path(str(shutil.which(name))).read_bytes(), executable=True)
