"""The wish to stop: SIGTERM (Slurm's and Kubernetes' preemption) and SIGUSR1 (Slurm's --signal).

In: signals of this process. Out: a flag that the loop looks at after each step; the ranks tell each other, so that one
signal to one rank stops all of them at the same step. Outside of the loop the signals act as ever, but a process that
has had the wish is leaving, and lets them pass: the launcher's guard and a whole group that is told say it twice.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


def hear() -> None:
    """Takes the signals again that supervisor.py keeps from the launcher and all that it starts."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def listening() -> Iterator[Callable[[], bool]]:
    """While it is open a signal only sets the flag, which the function that is given tells."""
    wish = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield wish.is_set  # signals reach the main thread alone
        return
    before = {number: signal.signal(number, lambda *_: wish.set()) for number in SIGNALS}
    try:
        yield wish.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if wish.is_set() else handler)
