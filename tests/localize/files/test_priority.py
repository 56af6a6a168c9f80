"""Priorities of the threads and processes beside the model."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sentalign.localize.files.priority import NICENESS, after_the_model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities on Linux alone")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_the_thread_alone_gives_way():
    before = niceness()
    with ThreadPoolExecutor(1, initializer=after_the_model) as pool:
        assert pool.submit(niceness).result() == max(NICENESS, before)
    assert niceness() == before


def test_a_lower_priority_is_kept():
    """Raising it would be refused, and a pool whose threads cannot start is broken."""
    code = (
        "import os; os.nice(19); from sentalign.localize.files.priority import after_the_model as a; a(); "
        "print(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "19"
