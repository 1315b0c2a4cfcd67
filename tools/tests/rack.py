# SPDX-License-Identifier: GPL-2.0-only
"""Two hosts on one computer, each with its own network, host name and SSH server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

NAMES = ("alpha", "beta")
PROGRAMS = ("ip", "ssh", "ssh-keygen", "unshare")
SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
SUBNET = "198.18.213"
"""In the range that RFC 2544 reserves for tests of network devices, so not a real network."""

_BOARD = """\
  {name}:
    resources:
      NetworkService: {{address: {address}, username: root}}
    drivers:
      SSHDriver: {{keyfile: {key}}}
"""

PRIVILEGE_SEPARATION = Path("/run/sshd")


def missing() -> str:
    """Return why there can be no rack on this computer, or ""."""
    if os.geteuid() != 0:
        return "two hosts need root"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if not Path(SSHD).is_file():
        absent.append("sshd")
    if absent:
        return f"no {absent[0]}: install iproute2, util-linux and openssh-server"
    name = f"kvmtests-{os.getpid()}-probe"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "the kernel gives no network namespaces here"
    _run("ip", "netns", "del", name)
    return ""


@contextmanager
def rack(folder: Path) -> Iterator[Path]:
    """Run both hosts; yield labgrid's environment of them."""
    key = folder / "key"
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    PRIVILEGE_SEPARATION.mkdir(exist_ok=True)
    environment = folder / "lab.yaml"
    boards = ["targets:\n"]
    with ExitStack() as stack:
        for number, name in enumerate(NAMES):
            address = stack.enter_context(_network(number, name))
            stack.enter_context(_sshd(folder, name, address, key))
            boards.append(_BOARD.format(name=name, address=address, key=key))
        environment.write_text("".join(boards))
        yield environment


@contextmanager
def _network(number: int, name: str) -> Iterator[str]:
    """Make the namespace of host *number*, connected to this computer; yield its address there."""
    space = _space(name)
    near, far = f"{SUBNET}.{4 * number + 1}", f"{SUBNET}.{4 * number + 2}"
    _run("ip", "netns", "add", space)
    try:
        link = f"kvmt{os.getpid() % 100_000}{number}"
        _run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        _run("ip", "address", "add", f"{near}/30", "dev", link)
        _run("ip", "link", "set", link, "up")
        _run("ip", "-n", space, "address", "add", f"{far}/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            _run("ip", "-n", space, "link", "set", device, "up")
        yield far
    finally:
        _run("ip", "netns", "del", space)  # The pair of devices goes along.


@contextmanager
def _sshd(folder: Path, name: str, address: str, key: Path) -> Iterator[None]:
    settings = folder / f"sshd-{name}"
    settings.write_text(
        f"ListenAddress {address}\nHostKey {key}\nAuthorizedKeysFile {key}.pub\nPidFile none\n"
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\nStrictModes no\nUsePAM no\n"
        "Subsystem sftp internal-sftp\n"
    )
    server = f'hostname {name}; exec "$0" -D -e -f "$1"'
    words = ["ip", "netns", "exec", _space(name), "unshare", "--uts", "sh", "-c", server, SSHD, str(settings)]
    with (folder / f"sshd-{name}.log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)


def _space(name: str) -> str:
    return f"kvmtests-{os.getpid()}-{name}"


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=20)
