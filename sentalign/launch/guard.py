"""Runs a command that must not outlive whoever started it: `python -m sentalign.launch.guard COMMAND ...`.

In: a command, and a pipe on standard input whose other end the parent holds. Out: the command's exit code. When the
pipe closes, because the parent died in whatever way, the whole process group is killed; a `T` in it passes SIGTERM on
to the group. The parent starts the guard in a session of its own, so that the group is the command and all it starts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

TERMINATE = b"T"


def main() -> int:
    """Starts a watcher and the command of `sys.argv`, and waits for the command."""
    # Neither this process nor the watcher ends of what it passes on. Not SIG_IGN: the command would inherit that.
    signal.signal(signal.SIGTERM, lambda *_: None)
    # A process, and not a thread of this one: a Ray worker that ends kills its own children first, this one with them.
    if os.fork() == 0:
        os.closerange(1, 3)  # whoever reads the command's output must see its end
        while said := os.read(0, 1):
            if said == TERMINATE:
                os.killpg(0, signal.SIGTERM)
        os.killpg(0, signal.SIGKILL)
    return subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL).wait()


if __name__ == "__main__":
    sys.exit(main())
