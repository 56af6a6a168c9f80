"""The progress of a run on stderr: one updated line on a terminal, a plain line now and then in a log file.

In: pairs seen and the newest metrics, on rank 0. Out: text on stderr. Nothing is stored here (journal.py).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Console:
    """Progress in image-report pairs, with speed, remaining time and metrics."""

    def __init__(
        self,
        total_pairs: int,
        done_pairs: int = 0,
        *,
        every_seconds: float = 30.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts at `done_pairs` of `total_pairs`; if stderr is not a terminal, prints a line every `every_seconds`."""
        self._total, self._first, self._pairs = total_pairs, done_pairs, done_pairs
        self._stream, self._clock, self._every = stream or sys.stderr, clock, every_seconds
        self._started = clock()
        self._printed_at, self._printed_pairs, self._metrics = float("-inf"), -1, ""
        self._bar = self._progress_bar() if self._stream.isatty() else None

    def step(self, pairs: int, metrics: dict[str, float]) -> None:
        """Shows that `pairs` were seen; metrics stay until newer ones come."""
        self._pairs = pairs
        if metrics:
            self._metrics = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        if self._bar:
            self._bar.update(self._task, completed=pairs, speed=f"{self._speed():.1f} pairs/s", metrics=self._metrics)
        elif self._clock() - self._printed_at >= self._every:
            self._print()

    def line(self, text: str) -> None:
        """Prints a line of its own."""
        if self._bar:
            self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Ends the progress line, or prints the last line of a log."""
        if self._bar:
            self._bar.stop()
        elif self._pairs != self._printed_pairs:
            self._print()

    def _progress_bar(self) -> Progress:
        columns = (
            BarColumn(),
            TextColumn("{task.completed:,}/{task.total:,} pairs  {task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
        )
        bar = Progress(*columns, console=Terminal(file=self._stream), refresh_per_second=2)
        self._task = bar.add_task("train", total=self._total, completed=self._first, speed="", metrics="")
        bar.start()
        return bar

    def _speed(self) -> float:
        return (self._pairs - self._first) / max(self._clock() - self._started, 1e-9)

    def _print(self) -> None:
        speed = self._speed()
        left = f"{(self._total - self._pairs) / speed:.0f} s left" if speed > 0 else "time left unknown"
        text = f"{self._pairs:,}/{self._total:,} pairs  {speed:.1f} pairs/s  {left}  {self._metrics}"
        print(text.rstrip(), file=self._stream, flush=True)
        self._printed_at, self._printed_pairs = self._clock(), self._pairs
