"""A program on a real pseudo-terminal of a given size, and what its screen shows while it runs."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pyte

ROOT = Path(__file__).resolve().parents[3]
FRAME_START = rb"(?=\r\x1b\[2K)"  # rich's: back to the line's beginning, erase it, then the lines above


def screens(code, columns, lines, **environment):
    """Runs Python `code` with the terminal as its stderr. Out: the screens after each whole frame, and stdout.

    A terminal hands on at most 4 KiB at a time, so that what one read returns may end in the middle of a frame.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    env |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave, env=env) as process:
        os.close(slave)
        screen = pyte.HistoryScreen(columns, lines, history=10_000)
        stream, found = pyte.ByteStream(screen), []
        for frame in re.split(FRAME_START, b"".join(iter(lambda: _read(master), b""))):
            stream.feed(frame)
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
