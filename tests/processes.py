"""The living processes that a test may have left, and waiting for them to go."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import psutil
import pytest


def naming(place: str) -> list[str]:
    """The command lines, of other processes than this one, that name a place."""
    lines = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]) if p.pid != os.getpid()]
    return [line for line in lines if place in line]


def within(seconds: float, condition: Callable[[], object]) -> None:
    """Waits until a condition holds; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s")
        time.sleep(0.05)
