"""Signals that only set a flag, and only while the loop listens; the guard of the launcher."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sentalign.launch import stop_request, supervisor


@pytest.fixture
def handlers():
    before = {number: signal.getsignal(number) for number in stop_request.SIGNALS}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


def test_unheard_the_handlers_come_back(handlers):
    with stop_request.listening() as asked:
        assert not asked()
    assert {number: signal.getsignal(number) for number in stop_request.SIGNALS} == handlers


@pytest.mark.parametrize("number", stop_request.SIGNALS)
def test_a_signal_sets_the_flag_and_a_second_one_does_not_kill_the_process_that_leaves(number, handlers):
    with stop_request.listening() as asked:
        assert not asked()
        os.kill(os.getpid(), number)
        assert asked()
    for again in stop_request.SIGNALS:
        os.kill(os.getpid(), again)
    with stop_request.listening() as asked:
        assert not asked(), "of an earlier signal nothing is left"


def test_in_another_thread_nothing_is_heard():
    heard = []

    def listen():
        with stop_request.listening() as asked:
            heard.append(asked())

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert heard == [False]


# A launcher that starts "ranks" as DeepSpeed's does; each rank forks a worker of the same command line.
RANK = """
import os, signal, sys, time
from stop import hear
wish = []
signal.signal(signal.SIGTERM, lambda *_: wish.append(1))
hear()
if os.fork() == 0:
    if not int(sys.argv[2]):
        signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.05)
    os._exit(0)
os.write(1, b"ready\\n")
while not wish:
    time.sleep(0.05)
_, status = os.waitpid(-1, os.WNOHANG)
os.write(1, b"worker killed\\n" if status else b"saved\\n")
"""
LAUNCHER = """
import subprocess, sys
words = [sys.executable, "-u", "-m", "sentalign.train", "c.yaml", sys.argv[2]]
ranks = [subprocess.Popen(words, cwd=sys.argv[1]) for _ in range(2)]
sys.exit(max(rank.wait() for rank in ranks) or 5)
"""


@pytest.mark.parametrize("everyone", [False, True])
def test_the_guard_tells_the_ranks_and_the_launcher_lives_on(tmp_path, everyone):
    (tmp_path / "sentalign").mkdir()
    (tmp_path / "sentalign/__init__.py").write_text("")
    (tmp_path / "sentalign/train.py").write_text(RANK)
    (tmp_path / "stop_request.py").write_text(Path(stop_request.__file__).read_text())
    words = supervisor.command([sys.executable, "-c", LAUNCHER, str(tmp_path), str(int(everyone))])
    guard = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert [guard.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
        time.sleep(0.2)
        (os.killpg if everyone else os.kill)(guard.pid, signal.SIGTERM)
        assert guard.communicate(timeout=30)[0] == "saved\nsaved\n"
        assert guard.returncode == 5, "the launcher's own exit code"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(guard.pid, signal.SIGKILL)


def test_the_guard_of_a_launcher_that_a_signal_ended():
    done = subprocess.run(supervisor.command([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]))
    assert done.returncode == 128 + 9
