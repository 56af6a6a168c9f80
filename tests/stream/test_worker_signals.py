"""Signals to decoding workers, and what becomes of them when their rank is gone."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import time

import psutil
import pytest

from sentalign.config import Data
from sentalign.stream import worker_signals
from sentalign.stream.dataset import Stream

WORKER = """
import os, signal, sys, time
from sentalign.stream.worker_signals import stop_with_parent_only
stop_with_parent_only(0)
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_worker_ends_on_sigterm_of_its_rank_only():
    worker = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True)
    pid = int(worker.stdout.readline())
    for name in ("TERM", "USR1", "TERM"):
        subprocess.run(["kill", f"-{name}", str(pid)], check=True)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(1)
    worker.terminate()
    assert worker.wait(10) == 0


# A rank that takes one batch of many large ones: its workers fill their pipe and wait for it to be read.
RANK = """
import sys, time
from sentalign.config import Data
from sentalign.stream.dataset import Stream
from sentalign.tokenizer import SPECIAL, Tokenizer

tokenizer = Tokenizer([*SPECIAL, "x"], True)
stream = Stream(Data(shards=sys.argv[1], batch=8, image_size=512, workers=2), 0, 0, 1, tokenizer, "train")
batches = stream.batches(stream.start())
next(batches)
print("ready", flush=True)
time.sleep(600)
"""


def test_workers_end_when_their_rank_was_killed(shards):
    rank = subprocess.Popen([sys.executable, "-c", RANK, shards], stdout=subprocess.PIPE, text=True)
    assert rank.stdout.readline() == "ready\n"
    workers = psutil.Process(rank.pid).children()
    time.sleep(1)
    rank.kill()
    rank.wait()
    assert len(workers) == 2
    assert not psutil.wait_procs(workers, timeout=3 * worker_signals.PARENT_POLL)[1]


def test_spawned_workers_ignore_the_signals_of_other_processes_too(shards, tokenizer):
    """As for shards in a store: a new interpreter, whose libraries have threads before the worker is set up."""
    one = Stream(Data(shards=shards, batch=8, image_size=32, max_tokens=24, workers=2), 0, 0, 1, tokenizer, "train")
    one.rows.local = False
    others = set(multiprocessing.active_children())
    batches = one.batches(one.start())
    before = next(batches)
    workers = set(multiprocessing.active_children()) - others
    assert len(workers) == 2
    for signal_name in ("TERM", "USR1"):
        subprocess.run(
            ["kill", f"-{signal_name}", *(str(worker_signals.pid) for worker_signals in workers)], check=True
        )
    assert len([next(batches) for _ in range(12)]) == 12
    assert all(worker_signals.is_alive() for worker_signals in workers)
    assert len(before[0].keys) == 8
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGTERM, signal.SIGUSR1}
