"""`python -m sentalign.launch.hosts SCRIPT HOSTFILE CONFIG [key=value ...]`: one training over many hosts.

In: launchers/train.py, a hostfile as DeepSpeed reads it, a configuration, the settings in .deepspeed_env (launchers/
env.sh writes it). Out: the exit code of the run. What would end or hang on some host is said here before anything
starts, with the host's name.
LAUNCHER=pdsh (default) is DeepSpeed's own; LAUNCHER=ssh needs no pdsh, and ends all hosts as soon as one ends.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sentalign import config as configuration
from sentalign.launch import supervisor
from sentalign.stream.order import plan
from sharding.contract import UserError

TERMINATE = b"T"  # to sentalign.launch.guard
SETTINGS = ".deepspeed_env"
PROBE_SECONDS, LEAVE_SECONDS = 20, 10


def read(hostfile: str) -> dict[str, int]:
    """Slots by host, in order. Raises UserError where DeepSpeed would go on alone or end in a traceback."""
    try:
        lines = Path(hostfile).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"cannot read the hostfile {hostfile}; give a file of lines such as `node-a slots=8`") from None
    slots: dict[str, int] = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        said = re.fullmatch(r"(\S+)\s+slots=(\d+)", line)
        if not said or not int(said[2]):
            raise UserError(f"{hostfile}, line {number}: {line!r} is not of the form `node-a slots=8`")
        if said[1] in slots:
            raise UserError(f"{hostfile}, line {number}: {said[1]} stands there twice; add up its slots")
        slots[said[1]] = int(said[2])
    if not slots:
        raise UserError(f"the hostfile {hostfile} names no host; give lines such as `node-a slots=8`")
    return slots


def check(hosts: Sequence[str], script: str, environ: Mapping[str, str]) -> str:
    """Reaches every host at once, sees that it has what it needs, and returns the first one's address. UserError."""
    with ThreadPoolExecutor(max_workers=64) as threads:
        said = list(threads.map(lambda host: _probe(host, script, environ), hosts))
    if complaints := [complaint for _, complaint in said if complaint]:
        more = f" (and {len(complaints) - 1} more hosts)" if complaints[1:] else ""
        raise UserError(complaints[0] + more)
    return said[0][0]


def _probe(host: str, script: str, environ: Mapping[str, str]) -> tuple[str, str | None]:
    """The host's address, or what is wrong with it."""
    interface = environ.get("INTERFACE")
    addresses = f"ip -4 -o addr show dev {shlex.quote(interface)}" if interface else "hostname -I"
    needed = f"test -x {shlex.quote(sys.executable)} && test -f {shlex.quote(script)}"
    try:
        done = subprocess.run(
            ssh(host, f"{needed} || exit 3; {addresses}", environ),
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PROBE_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "", f"host {host} did not answer ssh within {PROBE_SECONDS} s; see `ssh {host} true`, or leave it out"
    if done.returncode == 3:
        return "", f"host {host} lacks {script} or {sys.executable}; share the folder among all hosts"
    if done.returncode == 255:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1].strip()
        return "", f"host {host} cannot be reached by ssh ({reason}); see `ssh {host} true`, or leave it out"
    found = re.search(r"\d+\.\d+\.\d+\.\d+", done.stdout)
    if not found:
        return "", f"host {host} has no IPv4 address on {interface or 'any interface'}; set INTERFACE"
    return found[0], None


def ssh(host: str, command: str, environ: Mapping[str, str]) -> list[str]:
    """The words that run a command on a host, with the options that pdsh is given too."""
    return [
        "ssh",
        *shlex.split(environ.get("PDSH_SSH_ARGS_APPEND", "-o BatchMode=yes -o ConnectTimeout=10")),
        host,
        command,
    ]


def by_pdsh(hostfile: str, meeting: Sequence[str], words: Sequence[str]) -> list[str]:
    """DeepSpeed's launcher over pdsh; also for a single host, which may be another one than this."""
    return [*_launcher(hostfile, meeting), "--force_multi", "--no_ssh_check", *words]


def by_ssh(hostfile: str, node: int, meeting: Sequence[str], words: Sequence[str], settings: Sequence[str]) -> str:
    """The shell command of one host. When its standard input closes, because this side died, all it started dies."""
    guard = [sys.executable, "-m", "sentalign.launch.guard"]
    # Of the wish to stop, which the guard passes on to all, DeepSpeed's launcher must not hear.
    launcher = supervisor.command([*_launcher(hostfile, meeting), "--no_ssh", "--node_rank", str(node), *words])
    return f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(['env', *settings, *guard, *launcher])}"


def _launcher(hostfile: str, meeting: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "deepspeed.launcher.runner", "--quiet", "--hostfile", hostfile, *meeting]


def together(commands: Mapping[str, Sequence[str]]) -> int:
    """Runs a command for each host until all have ended, or one has failed: then the others are ended. Its code.

    SIGTERM is passed on, so that the ranks can save and leave.
    """
    running = {host: subprocess.Popen(command, stdin=subprocess.PIPE) for host, command in commands.items()}

    def terminate(*_: object) -> None:
        for process in running.values():
            _tell(process, TERMINATE)

    signal.signal(signal.SIGTERM, terminate)
    try:
        while True:
            codes = {host: process.poll() for host, process in running.items()}
            if failed := {host: code for host, code in codes.items() if code}:
                host, code = next(iter(failed.items()))
                print(f"error: host {host} ended with {code}; the others are ended too", file=sys.stderr)
                return code
            if not any(code is None for code in codes.values()):
                return 0
            time.sleep(0.5)
    finally:
        for process in running.values():
            _end(process)


def _tell(process: subprocess.Popen[bytes], word: bytes) -> None:
    assert process.stdin
    try:
        process.stdin.write(word)
        process.stdin.flush()
    except (BrokenPipeError, ValueError):
        return


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    try:
        process.stdin.close()
        process.wait(LEAVE_SECONDS)
    except (BrokenPipeError, subprocess.TimeoutExpired):
        process.kill()  # ssh to a host that is gone


def main(words: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Checks, then becomes DeepSpeed's launcher, or starts one a host."""
    parser = argparse.ArgumentParser("sentalign.launch.hosts")
    parser.add_argument("script", type=os.path.abspath)
    parser.add_argument("hostfile")
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args(words)
    try:
        slots = read(args.hostfile)
        config = configuration.load(args.config, args.overrides)
        plan.check_shares(config.data.batch, sum(slots.values()))
        address = check(list(slots), args.script, environ)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    meeting = ["--master_addr", address, "--master_port", environ.get("MASTER_PORT", "29500")]
    told = [args.script, args.config, *args.overrides]
    if environ.get("LAUNCHER", "pdsh") == "pdsh":
        command = by_pdsh(args.hostfile, meeting, told)
        os.execvp(command[0], command)
    settings = [line for line in Path(SETTINGS).read_text().splitlines() if "=" in line]
    nodes = enumerate(slots)
    return together({h: ssh(h, by_ssh(args.hostfile, n, meeting, told, settings), environ) for n, h in nodes})


if __name__ == "__main__":
    sys.exit(main())
