"""Threads and processes that decode, draw and compress give way to the model, whose threads wait for one another.

In: the thread that calls. Out: its lower priority. On a machine with cores to spare it changes nothing.
"""

import os
import threading

NICENESS = 10  # about a tenth of the model's share where both want one core


def after_the_model() -> None:
    """Lowers the priority of this thread, on Linux of no other thread of its process."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
