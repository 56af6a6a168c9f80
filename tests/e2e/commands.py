"""Runs `sentalign` as a user does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).with_name("sentalign")


def command(*words, folder):
    """One command; its exit code, stdout and stderr as text."""
    return subprocess.run([COMMAND, *map(str, words)], cwd=folder, capture_output=True, text=True)


def good(*words, folder):
    """A command that must succeed; its stdout."""
    done = command(*words, folder=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
