"""`python -m sentalign.launch.hosts SCRIPT HOSTFILE CONFIG [key=value ...]`: one training over many hosts.

In: launchers/train.py, a hostfile as DeepSpeed reads it, a configuration, the settings in .deepspeed_env (launchers/
env.sh writes it). Out: the exit code of the run. Whatever would fail or hang on some host is reported before anything
starts, with the host's name.
LAUNCHER=pdsh (default) is DeepSpeed's own; LAUNCHER=ssh needs no pdsh, and ends all hosts as soon as one fails.
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
from sentalign.launch import process_group_guard, supervisor
from sharding.contract import UserError

SETTINGS = ".deepspeed_env"
PROBE_SECONDS, EXIT_SECONDS = 20, 10


def read_hostfile(hostfile: str) -> dict[str, int]:
    """Slots by host, in order. Raises UserError where DeepSpeed would train on this host alone or show a traceback."""
    try:
        lines = Path(hostfile).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"cannot read the hostfile {hostfile}; give a file of lines such as `node-a slots=8`") from None
    slots: dict[str, int] = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"(\S+)\s+slots=(\d+)", line)
        if not match or not int(match[2]):
            raise UserError(f"{hostfile}, line {number}: {line!r} is not of the form `node-a slots=8`")
        if match[1] in slots:
            raise UserError(f"{hostfile}, line {number}: {match[1]} is listed twice; add up its slots")
        slots[match[1]] = int(match[2])
    if not slots:
        raise UserError(f"the hostfile {hostfile} names no host; give lines such as `node-a slots=8`")
    return slots


def check_hosts(hosts: Sequence[str], script: str, environ: Mapping[str, str]) -> str:
    """Connects to all hosts at once, checks that they can train, and returns the first one's address. UserError."""
    with ThreadPoolExecutor(max_workers=64) as threads:
        probes = list(threads.map(lambda host: _probe(host, script, environ), hosts))
    if problems := [problem for _, problem in probes if problem]:
        more = f" (and {len(problems) - 1} more hosts)" if problems[1:] else ""
        raise UserError(problems[0] + more)
    return probes[0][0]


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
        return "", f"host {host} did not answer ssh within {PROBE_SECONDS} s; try `ssh {host} true`, or leave it out"
    if done.returncode == 3:
        return "", f"host {host} lacks {script} or {sys.executable}; share the folder among all hosts"
    if done.returncode == 255:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1].strip()
        return "", f"host {host} cannot be reached by ssh ({reason}); try `ssh {host} true`, or leave it out"
    address = re.search(r"\d+\.\d+\.\d+\.\d+", done.stdout)
    if not address:
        return "", f"host {host} has no IPv4 address on {interface or 'any interface'}; set INTERFACE"
    return address[0], None


def ssh(host: str, command: str, environ: Mapping[str, str]) -> list[str]:
    """The command line that runs a command on a host, with the same options as under pdsh."""
    options = shlex.split(environ.get("PDSH_SSH_ARGS_APPEND", "-o BatchMode=yes -o ConnectTimeout=10"))
    return ["ssh", *options, host, command]


def pdsh_command(hostfile: str, master: Sequence[str], training: Sequence[str]) -> list[str]:
    """DeepSpeed's launcher over pdsh; also for a single host, which may be another one than this."""
    return [*_launcher(hostfile, master), "--force_multi", "--no_ssh_check", *training]


def host_command(
    hostfile: str, node: int, master: Sequence[str], training: Sequence[str], settings: Sequence[str]
) -> str:
    """The shell command of one host. When its standard input closes, because this side died, the whole group dies."""
    # The guard signals the whole group; the supervisor keeps the signal from DeepSpeed's launcher.
    launcher = supervisor.command([*_launcher(hostfile, master), "--no_ssh", "--node_rank", str(node), *training])
    command = ["env", *settings, *process_group_guard.command(launcher)]
    return f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(command)}"


def _launcher(hostfile: str, master: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "deepspeed.launcher.runner", "--quiet", "--hostfile", hostfile, *master]


def run_on_all(commands: Mapping[str, Sequence[str]]) -> int:
    """Runs one command per host until all have ended or one has failed, then ends the others. Returns the exit code.

    SIGTERM is passed on, so that the ranks can save and exit.
    """
    running = {host: subprocess.Popen(command, stdin=subprocess.PIPE) for host, command in commands.items()}
    signal.signal(signal.SIGTERM, lambda *_: list(map(process_group_guard.terminate, running.values())))
    try:
        while True:
            codes = {host: process.poll() for host, process in running.items()}
            for host, code in codes.items():
                if code:
                    print(f"error: host {host} ended with {code}; the others are ended too", file=sys.stderr)
                    return code
            if None not in codes.values():
                return 0
            time.sleep(0.5)
    finally:
        for process in running.values():
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process_group_guard.close(process)
    try:
        process.wait(EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # ssh to a host that is gone


def main(words: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Checks the hosts, then becomes DeepSpeed's launcher (pdsh) or starts one on each host (ssh)."""
    parser = argparse.ArgumentParser("sentalign.launch.hosts")
    parser.add_argument("script", type=os.path.abspath)
    parser.add_argument("hostfile")
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args(words)
    try:
        slots = read_hostfile(args.hostfile)
        batch = configuration.load(args.config, args.overrides).data.batch
        configuration.rank_share(batch, sum(slots.values()))
        address = check_hosts(list(slots), args.script, environ)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    master = ["--master_addr", address, "--master_port", environ.get("MASTER_PORT", "29500")]
    training = [args.script, args.config, *args.overrides]
    if environ.get("LAUNCHER", "pdsh") == "pdsh":
        command = pdsh_command(args.hostfile, master, training)
        os.execvp(command[0], command)
    settings = read_settings()
    return run_on_all(
        {
            host: ssh(host, host_command(args.hostfile, node, master, training, settings), environ)
            for node, host in enumerate(slots)
        }
    )


def read_settings() -> list[str]:
    """The `KEY=VALUE` lines of .deepspeed_env; none where launchers/env.sh did not write it."""
    file = Path(SETTINGS)
    return [line for line in file.read_text().splitlines() if "=" in line] if file.is_file() else []


if __name__ == "__main__":
    sys.exit(main())
