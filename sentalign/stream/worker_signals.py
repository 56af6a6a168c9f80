"""Signals of a worker process: it ends with its rank, and on its rank's SIGTERM only.

In: nothing. Out: the signal handling of this process. What a worker computes is in rows.py.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

PARENT_POLL = 5  # seconds between two checks that the rank is still there


def stop_with_parent_only(worker: int) -> None:
    """Sets up worker number `worker`: SIGTERM counts if the parent sent it, SIGUSR1 is ignored.

    Slurm, Kubernetes and launchers send a stop request to every process of a run. The rank then finishes its step and
    saves, for which it may still need rows.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # Blocked here, SIGTERM is taken by the thread, which learns the sender, even while the main thread hangs.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_wait_for_parent, args=(os.getppid(),), daemon=True).start()


@contextmanager
def signals_blocked(spawn: bool) -> Iterator[None]:
    """Processes that start meanwhile block the signals, in all of their threads, until `stop_with_parent_only`.

    A spawned process has threads of its libraries before it starts its work; if one of them took the signal, the
    process would die.
    """
    if spawn:
        resource_tracker.ensure_running()  # it would start with the first worker, and unblock the signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait_for_parent(parent: int) -> None:
    # torch checks for a dead parent too, but a worker whose rows fill the pipe waits for a reader without end.
    while os.getppid() == parent:
        received = signal.sigtimedwait({signal.SIGTERM}, PARENT_POLL)
        if received and received.si_pid == parent:
            break
    os._exit(0)
