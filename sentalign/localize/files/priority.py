"""Threads and processes that decode, draw and compress give way to the model, whose threads wait for one another.

In: the thread that calls. Out: its lower priority. On a machine with cores to spare it changes nothing.
"""

import os
import sys
import threading

NICENESS = 10  # about a tenth of the model's share where both want one core


def after_the_model() -> None:
    """Lowers the priority of the calling thread; elsewhere than on Linux, where threads have none, it does nothing."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        # A command that was started with a lower priority still keeps it: nobody but root may raise one.
        os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
