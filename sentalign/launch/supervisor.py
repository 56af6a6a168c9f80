"""Passes stop requests from the user to the ranks: `python -m sentalign.launch.supervisor LAUNCHER ...`.

In: the launcher's command, and signals. Out: its exit code. DeepSpeed's launcher dies of SIGTERM and leaves the ranks
behind, or kills them after 30 seconds. Here a stop request (stop_request.py) reaches only the ranks: they save and
exit, and the launcher ends as after any run, also where Slurm signals every process. On several hosts, signal one rank.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

import psutil

from sentalign.launch.stop_request import SIGNALS

POLL_SECONDS = 0.5


def command(launcher: Sequence[str]) -> list[str]:
    """The command line that runs a launcher under this module."""
    return [sys.executable, "-m", __name__, *launcher]


def main() -> int:
    """Runs the command of `sys.argv`; returns its exit code, 128 + N where signal N ended it."""
    requests: list[int] = []
    # The launcher and its children start with the signals blocked; only the ranks unblock them (stop_request.py).
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    # RANK marks the ranks, so the launcher itself must not have it.
    launcher = subprocess.Popen(sys.argv[1:], env={k: v for k, v in os.environ.items() if k != "RANK"})
    for number in SIGNALS:
        signal.signal(number, lambda received, _: requests.append(received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    signalled: set[int] = set()
    while True:
        try:
            code = launcher.wait(POLL_SECONDS)
            return code if code >= 0 else 128 - code
        except subprocess.TimeoutExpired:
            if requests:  # again and again: a rank may start after the signal
                _send(launcher.pid, requests[-1], signalled)
        except KeyboardInterrupt:
            _send(launcher.pid, signal.SIGINT, set())


def _send(launcher: int, number: int, signalled: set[int]) -> None:
    """Sends the signal to the ranks that did not get it yet."""
    for rank in ranks_of(launcher):
        if rank.pid not in signalled:
            signalled.add(rank.pid)
            rank.send_signal(number)


def ranks_of(launcher: int) -> list[psutil.Process]:
    """The ranks that the launcher started, without the processes that they started in turn."""
    try:
        ranked = {p.pid: p for p in psutil.Process(launcher).children(recursive=True) if _has_rank(p)}
        return [process for process in ranked.values() if process.ppid() not in ranked]
    except psutil.NoSuchProcess:
        return []


def _has_rank(process: psutil.Process) -> bool:
    """Whether the launcher set RANK for the process or for one of its ancestors."""
    try:
        return "RANK" in process.environ()
    except psutil.Error:  # it has ended meanwhile
        return False


if __name__ == "__main__":
    sys.exit(main())
