"""Runs a command that must not outlive whoever started it: `python -m sentalign.sweep.guard COMMAND ...`.

In: a command, and a pipe on standard input whose other end the parent holds. Out: the command's exit code. When the
pipe closes, because the parent died in whatever way, the whole process group is killed. The parent starts the guard
in a session of its own, so that the group is the command and all that it starts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys


def main() -> int:
    """Starts a watcher and the command of `sys.argv`, and waits for the command."""
    # A process, and not a thread of this one: a Ray worker that ends kills its own children first, this one with them.
    if os.fork() == 0:
        while os.read(0, 1):
            continue
        os.killpg(0, signal.SIGKILL)
    return subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL).wait()


if __name__ == "__main__":
    sys.exit(main())
