"""`python -m sharding` as a process: Ctrl-C ends it with one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest


def opened(pipe):
    """The pipe's writing end, once somebody reads it."""
    for _ in range(6000):
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.01)
    raise AssertionError("no worker reads the image")


def default_interrupts():
    """A shell starts its background jobs with SIGINT ignored, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.timeout(120)
def test_ctrl_c_ends_the_command_with_one_line(folder, tmp_path):
    pipe = folder / "images" / "broken.png"
    pipe.unlink()
    os.mkfifo(pipe)  # the worker that reads it waits
    command = ["build", "folder", folder, "--out", tmp_path / "out", "--processes", "2", "--allow-no-text"]
    build = subprocess.Popen(
        [sys.executable, "-m", "sharding", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=default_interrupts,
    )
    writer = opened(pipe)
    os.killpg(build.pid, signal.SIGINT)  # as a terminal does it, to the workers too
    os.close(writer)
    shown, errors = build.communicate(timeout=60)
    assert (build.returncode, shown, errors) == (130, "", "interrupted\n")
