"""Runs a command that must not outlive its parent: `python -m sentalign.launch.process_group_guard COMMAND ...`.

In: a command, and a pipe on standard input whose other end the parent holds. Out: the command's exit code. When the
pipe closes, because the parent died in whatever way, the whole process group is killed; a `T` in it passes SIGTERM on
to the group. The parent starts the guard in a session of its own, so that the group is the command and its children.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

TERMINATE = b"T"


def command(guarded: Sequence[str]) -> list[str]:
    """The command line that runs `guarded` under this module."""
    return [sys.executable, "-m", __name__, *guarded]


def terminate(guard: subprocess.Popen[bytes]) -> None:
    """Passes SIGTERM on to the command's group; nothing where it has ended."""
    assert guard.stdin
    with suppress(BrokenPipeError, ValueError):
        guard.stdin.write(TERMINATE)
        guard.stdin.flush()


def close(guard: subprocess.Popen[bytes]) -> None:
    """Kills what is left of the group by closing the pipe; does not wait."""
    assert guard.stdin
    with suppress(BrokenPipeError):
        guard.stdin.close()


def main() -> int:
    """Starts a watcher and the command of `sys.argv`, and waits for the command."""
    # Neither this process nor the watcher ends by the SIGTERM it passes on. Not SIG_IGN: the command would inherit it.
    signal.signal(signal.SIGTERM, lambda *_: None)
    # A process, not a thread of this one: a Ray worker that ends kills its own children first, this one included.
    if os.fork() == 0:
        os.closerange(1, 3)  # the reader of the command's output must see its end
        while message := os.read(0, 1):
            if message == TERMINATE:
                os.killpg(0, signal.SIGTERM)
        os.killpg(0, signal.SIGKILL)
    return subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL).wait()


if __name__ == "__main__":
    sys.exit(main())
