"""A stop request: SIGTERM (Slurm's and Kubernetes' preemption) or SIGUSR1 (Slurm's --signal).

In: signals of this process. Out: a flag that the loop reads after each step; the ranks exchange it, so that one signal
to one rank stops all of them at the same step. Outside of the loop the signals have their usual effect, but a process
that got a stop request ignores further ones while it leaves: launchers and schedulers send them twice.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


def unblock_signals() -> None:
    """Receives the signals again that supervisor.py blocks for the launcher and all its children."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def on_signals() -> Iterator[Callable[[], bool]]:
    """Inside, a signal only sets a flag; the yielded function returns it."""
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set  # signals reach the main thread only
        return
    handlers = {number: signal.signal(number, lambda *_: requested.set()) for number in SIGNALS}
    try:
        yield requested.is_set
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_IGN if requested.is_set() else handler)
