"""Signals that only set a flag, and only inside the loop; the supervisor of the launcher."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from sentalign.launch import stop_request, supervisor


@pytest.fixture
def handlers():
    before = {number: signal.getsignal(number) for number in stop_request.SIGNALS}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


def test_without_a_signal_the_handlers_are_restored(handlers):
    with stop_request.on_signals() as requested:
        assert not requested()
    assert {number: signal.getsignal(number) for number in stop_request.SIGNALS} == handlers


@pytest.mark.parametrize("number", stop_request.SIGNALS)
def test_a_signal_sets_the_flag_and_a_second_one_does_not_kill_the_exiting_process(number, handlers):
    with stop_request.on_signals() as requested:
        assert not requested()
        os.kill(os.getpid(), number)
        assert requested()
    for again in stop_request.SIGNALS:
        os.kill(os.getpid(), again)
    with stop_request.on_signals() as requested:
        assert not requested(), "an earlier signal has no effect"


def test_in_another_thread_signals_have_no_effect():
    flags = []

    def run():
        with stop_request.on_signals() as requested:
            flags.append(requested())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert flags == [False]


# A launcher that starts ranks as DeepSpeed's does, from a script of any name; each rank forks a worker.
RANK = """
import os, signal, sys, time
from sentalign.launch.stop_request import unblock_signals
requests = []
signal.signal(signal.SIGTERM, lambda *_: requests.append(1))
unblock_signals()
if os.fork() == 0:
    if not int(sys.argv[1]):
        signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.05)
    os._exit(0)
os.write(1, b"ready\\n")
while not requests:
    time.sleep(0.05)
_, status = os.waitpid(-1, os.WNOHANG)
os.write(1, b"worker killed\\n" if status else b"saved\\n")
"""
LAUNCHER = """
import os, subprocess, sys
assert "RANK" not in os.environ
command = [sys.executable, "-u", *sys.argv[1:]]
ranks = [subprocess.Popen(command, env=os.environ | {"RANK": str(rank)}) for rank in range(2)]
sys.exit(max(rank.wait() for rank in ranks) or 5)
"""


@pytest.mark.parametrize("everyone", [False, True])
@pytest.mark.parametrize("environ", [{}, {"RANK": "0"}])
def test_the_supervisor_signals_the_ranks_and_the_launcher_survives(tmp_path, everyone, environ):
    """Also in a job whose environment has a RANK of its own."""
    script = tmp_path / "my_training.py"
    script.write_text(RANK)
    words = supervisor.command([sys.executable, "-c", LAUNCHER, str(script), str(int(everyone))])
    supervised = subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, start_new_session=True, env=os.environ | environ
    )
    try:
        assert [supervised.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
        time.sleep(0.2)
        (os.killpg if everyone else os.kill)(supervised.pid, signal.SIGTERM)
        assert supervised.communicate(timeout=30)[0] == "saved\nsaved\n"
        assert supervised.returncode == 5, "the launcher's own exit code"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(supervised.pid, signal.SIGKILL)


def test_the_exit_code_of_a_launcher_that_a_signal_ended():
    done = subprocess.run(supervisor.command([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]))
    assert done.returncode == 128 + 9
