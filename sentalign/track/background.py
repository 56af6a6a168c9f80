"""Tasks on a copy of the weights, one at a time, in a background thread: the loop never waits for them.

In: kinds of task, and weights after some pairs. Out: outcomes. A failure is an outcome, never an exception: the run
continues without its result. What the tasks compute is not here (`samples`).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Outcome:
    """What the task of a kind returned for the weights after `pairs` pairs, or its failure in one line."""

    kind: str
    pairs: int
    result: Any = None
    failure: str = ""


class BackgroundTasks:
    """Runs tasks in the order in which they were asked for. The loop's thread calls all methods; but for `wait` and
    `close` they return at once.
    """

    def __init__(self, tasks: Mapping[str, Callable[[Weights], Any]]) -> None:
        """The task of each kind; only the background thread calls it."""
        self._tasks = tasks
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._running: tuple[str, int]
        self._waiting: dict[str, tuple[Weights, int]] = {}

    def ask(self, kind: str, weights: Weights, pairs: int) -> None:
        """Starts the task; while any runs, the newest weights of each kind wait."""
        self._waiting.pop(kind, None)
        self._waiting[kind] = weights, pairs
        self._start()

    def finished(self) -> list[Outcome]:
        """The outcomes since the last call; starts a task that waits."""
        outcomes = [self._outcomes.get() for _ in range(self._outcomes.qsize())]
        self._start()
        return outcomes

    def wait(self, kind: str, seconds: float) -> list[Outcome]:
        """The outcomes up to that of the kind that was asked for last, or until the time is over."""
        deadline, outcomes = time.monotonic() + seconds, self.finished()
        while self._is_due(kind) and (left := deadline - time.monotonic()) > 0:
            assert self._thread
            self._thread.join(left)
            outcomes += self.finished()
        return outcomes + self.finished()  # of a task that ended between the last two looks

    def close(self, seconds: float) -> list[Outcome]:
        """All that are left; what does not end within the time is abandoned."""
        deadline = time.monotonic() + seconds
        outcomes: list[Outcome] = []
        while self._thread:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            if self._thread.is_alive():
                left = [self._running, *((kind, pairs) for kind, (_, pairs) in self._waiting.items())]
                return outcomes + [Outcome(*one, failure=f"not finished within {seconds:g} s") for one in left]
            self._thread = None
            outcomes += self.finished()
        return outcomes

    def _is_due(self, kind: str) -> bool:
        return kind in self._waiting or bool(self._thread and self._thread.is_alive() and self._running[0] == kind)

    def _start(self) -> None:
        if self._waiting and not (self._thread and self._thread.is_alive()):
            kind = next(iter(self._waiting))
            weights, pairs = self._waiting.pop(kind)
            self._running = kind, pairs
            self._thread = threading.Thread(target=self._run, args=(kind, weights, pairs), name=kind, daemon=True)
            self._thread.start()

    def _run(self, kind: str, weights: Weights, pairs: int) -> None:
        try:
            self._outcomes.put(Outcome(kind, pairs, self._tasks[kind](weights)))
        except Exception as error:  # whatever it is: it never ends a run
            failure = f"{type(error).__name__}: {' '.join(str(error).split())}"
            self._outcomes.put(Outcome(kind, pairs, failure=failure))
