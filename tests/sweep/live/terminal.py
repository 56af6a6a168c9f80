"""A program on a real pseudo-terminal of a given size, and what its screen shows while it runs."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pyte

ROOT = Path(__file__).resolve().parents[3]


def screens(code, columns, lines, **environment):
    """Runs Python `code` with the terminal as its stderr. Out: the screens after each write, and stdout."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    env |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave, env=env) as process:
        os.close(slave)
        screen = pyte.HistoryScreen(columns, lines, history=10_000)
        stream, found = pyte.ByteStream(screen), []
        while written := _read(master):
            stream.feed(written)
            history = ["".join(row[x].data for x in range(columns)) for row in screen.history.top]
            found.append([line.rstrip() for line in [*history, *screen.display]])
        os.close(master)
        assert process.stdout
        return found, process.stdout.read().decode()


def _read(master):
    try:
        return os.read(master, 65536)
    except OSError:  # the other end is closed
        return b""
