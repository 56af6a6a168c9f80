"""How a decoding process ends: with its rank, at its rank's word, and at nobody else's.

In: nothing. Out: the signals of this process set up. What a worker does is rows.py.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

LOOK_SECONDS = 5  # between two looks whether the rank is still there


def obey_parent_alone(worker: int) -> None:
    """Sets up worker number `worker`: of SIGTERM only the parent's counts, SIGUSR1 does nothing.

    Slurm, Kubernetes and launchers tell every process of a run that it must stop. The rank then finishes its step and
    saves, for which it may still be waiting for rows.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # Held back here, it is taken by the thread, which learns the sender; and it counts even if this thread hangs.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_wait_for_parent, args=(os.getppid(),), daemon=True).start()


@contextmanager
def unheard(afresh: bool) -> Iterator[None]:
    """What is started meanwhile does not hear the signals, in none of its threads, until it obeys its parent alone.

    A process that starts `afresh`, no fork, has threads of its libraries before it comes to its work; if one of them
    hears, the process dies.
    """
    if afresh:
        resource_tracker.ensure_running()  # else it starts with the first worker, and has the signals heard again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait_for_parent(parent: int) -> None:
    # torch looks for a dead parent too, but a worker whose rows fill the pipe then waits for ever for a reader.
    while os.getppid() == parent:
        told = signal.sigtimedwait({signal.SIGTERM}, LOOK_SECONDS)
        if told and told.si_pid == parent:
            break
    os._exit(0)
