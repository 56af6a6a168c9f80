"""Two hosts on one machine: two network namespaces, a cable between them, an sshd in each.

Everything lies in one folder but the namespaces themselves; `Hosts.close` removes those, whatever happened.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMES, ADDRESSES = ("node-a", "node-b"), ("10.77.0.1", "10.77.0.2")
NEEDED = ("ip", "ssh", "sshd", "ssh-keygen", "pdsh")
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])


def missing() -> str | None:
    """Why two hosts cannot be made here; None where they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [name for name in NEEDED if not shutil.which(name, path=PATH)]
    return f"not installed: {', '.join(absent)}" if absent else None


class Hosts:
    """`node-a` (10.77.0.1) and `node-b` (10.77.0.2); their interface is eth0 on both ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spaces = [f"sentalign-{os.getpid()}-{end}" for end in "ab"]
        self._daemons: list[subprocess.Popen[bytes]] = []

    def open(self) -> None:
        """Raises CalledProcessError where the system allows no namespaces."""
        for space in self.spaces:
            _run("ip", "netns", "add", space)
        a, b = self.spaces
        _run("ip", "link", "add", "eth0", "netns", a, "type", "veth", "peer", "name", "eth0", "netns", b)
        for space, address in zip(self.spaces, ADDRESSES, strict=True):
            _run("ip", "-n", space, "address", "add", f"{address}/24", "dev", "eth0")
            _run("ip", "-n", space, "link", "set", "lo", "up")
        self.connect()
        self._keys()
        for space, address in zip(self.spaces, ADDRESSES, strict=True):
            self._sshd(space, address)
        self._wait_for_sshd()

    def connect(self) -> None:
        for space in self.spaces:
            _run("ip", "-n", space, "link", "set", "eth0", "up")

    def cut(self) -> None:
        """Takes the link down: no packet arrives, and neither end gets an error."""
        _run("ip", "-n", self.spaces[1], "link", "set", "eth0", "down")

    def kill(self, node: int) -> None:
        """Power off: every process of the node, its sshd too."""
        for word in _run("ip", "netns", "pids", self.spaces[node]).split():
            os.kill(int(word), signal.SIGKILL)

    def crossed(self) -> int:
        """Bytes that left node-a and node-b over the cable so far."""
        place = "/sys/class/net/eth0/statistics/tx_bytes"
        return sum(int(_run("ip", "netns", "exec", space, "cat", place)) for space in self.spaces)

    def words(self, node: int, *command: object) -> list[str]:
        return [shutil.which("ip", path=PATH) or "ip", "netns", "exec", self.spaces[node], *map(str, command)]

    def environment(self) -> dict[str, str]:
        """For a command on node-a: ssh finds the nodes, and sees soon that one is gone."""
        own = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "PYTHONDONTWRITEBYTECODE")}
        binaries = [self.folder / "bin", Path(sys.executable).parent]
        return own | {
            "PATH": os.pathsep.join([*map(str, binaries), PATH]),
            "VIRTUAL_ENV": str(Path(sys.executable).parents[1]),
            "INTERFACE": "eth0",
            "DS_ACCELERATOR": "cpu",
            "OMP_NUM_THREADS": "1",
            "PDSH_SSH_ARGS_APPEND": "-o BatchMode=yes -o ConnectTimeout=5 -o ServerAliveInterval=3 "
            "-o ServerAliveCountMax=2",
        }

    def close(self) -> None:
        for space in self.spaces:
            found = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True, env={"PATH": PATH})
            for word in found.stdout.split():
                with _gone():
                    os.kill(int(word), signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, env={"PATH": PATH})
        for daemon in self._daemons:
            daemon.kill()
            daemon.wait()

    def _keys(self) -> None:
        for name in ("host", "user"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name)
        config = "".join(f"Host {n}\n HostName {a}\n" for n, a in zip(NAMES, ADDRESSES, strict=True))
        config += f"Host *\n IdentityFile {self.folder / 'user'}\n StrictHostKeyChecking no\n LogLevel ERROR\n"
        config += " UserKnownHostsFile /dev/null\n"
        (self.folder / "ssh_config").write_text(config)
        # ssh does not look at HOME for its configuration, and deepspeed and pdsh call plain `ssh`.
        wrapper = self.folder / "bin" / "ssh"
        wrapper.parent.mkdir()
        wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh", path=PATH)} -F {self.folder / "ssh_config"} "$@"\n')
        wrapper.chmod(0o755)

    def _sshd(self, space: str, address: str) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd gives up its rights; it does not start without
        options = {
            "ListenAddress": address, "AuthorizedKeysFile": self.folder / "user.pub", "StrictModes": "no",
            "UsePAM": "no", "PidFile": "none", "PermitRootLogin": "yes",
        }  # fmt: skip
        words = [f"-o{name}={value}" for name, value in options.items()]
        command = ["ip", "netns", "exec", space, shutil.which("sshd", path=PATH), "-D", "-f", "/dev/null"]
        command += ["-h", self.folder / "host", *words]
        with open(self.folder / f"{address}.log", "wb") as log:
            self._daemons.append(subprocess.Popen(list(map(str, command)), stderr=log, env={"PATH": PATH}))

    def _wait_for_sshd(self) -> None:
        for name in NAMES:
            deadline = time.monotonic() + 20
            while subprocess.run(self.words(0, "ssh", name, "true"), env=self.environment()).returncode:
                assert time.monotonic() < deadline, f"{name} never answered"
                time.sleep(0.2)


@contextmanager
def _gone() -> Iterator[None]:
    try:
        yield
    except ProcessLookupError:
        return


def _run(*words: object) -> str:
    done = subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True, env={"PATH": PATH})
    return done.stdout
