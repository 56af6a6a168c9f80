"""Stands before DeepSpeed's launcher: `python -m sentalign.launch.supervisor LAUNCHER ...`.

In: the launcher's command, and signals. Out: its exit code. DeepSpeed's launcher dies of SIGTERM and leaves the ranks
behind, or kills them after 30 seconds. Here the wish to stop (stop_request.py) goes to the ranks alone: they save and
leave, and the launcher ends as after any run, also where Slurm told every process. On several hosts tell one rank.
"""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

import psutil

from sentalign.launch.ranks import MODULE, SCRIPT
from sentalign.launch.stop_request import SIGNALS

POLL_SECONDS = 0.5


def command(launcher: Sequence[str]) -> list[str]:
    """The words that start a launcher under this module's eyes."""
    return [sys.executable, "-m", __name__, *launcher]


def main() -> int:
    """Runs the command of `sys.argv`; returns its exit code, 128 + N where signal N ended it."""
    wished: list[int] = []

    def wish(number: int, _: FrameType | None) -> None:
        wished.append(number)

    # The launcher and its children start deaf to the signals; of them the ranks alone open their ears (stop.hear).
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    launcher = subprocess.Popen(sys.argv[1:])
    for number in SIGNALS:
        signal.signal(number, wish)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    told: set[int] = set()
    while True:
        try:
            code = launcher.wait(POLL_SECONDS)
            return code if code >= 0 else 128 - code
        except subprocess.TimeoutExpired:
            if wished:  # also of ranks that were not there yet when the signal came
                _tell(launcher.pid, wished[-1], told)
        except KeyboardInterrupt:
            _tell(launcher.pid, signal.SIGINT, set())


def _tell(launcher: int, number: int, told: set[int]) -> None:
    """Sends the signal to the ranks that have not had it."""
    for rank in ranks_of(launcher):
        if rank.pid not in told:
            told.add(rank.pid)
            rank.send_signal(number)


def ranks_of(launcher: int) -> list[psutil.Process]:
    """The training processes below the launcher, without those that they have started in turn."""
    found = []
    try:
        below = psutil.Process(launcher).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    for process in below:
        try:
            if _is_rank(process) and not _is_rank(process.parent()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def _is_rank(process: psutil.Process | None) -> bool:
    """Whether the interpreter runs the training itself; a launcher has the same words among its arguments."""
    words = process.cmdline()[1:] if process else []
    options = itertools.takewhile(lambda word: word.startswith("-") and word != "-m", words)
    program = words[len(list(options)) :]
    return program[:2] == ["-m", MODULE] or (program[:1] != [] and program[0].endswith(SCRIPT))


if __name__ == "__main__":
    sys.exit(main())
