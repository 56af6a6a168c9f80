"""Threads that wait for a store, shared out among the shards that they wait for.

In: calls, each with the shard that it asks for. Out: a future for each. Which bytes are asked for is in `prefetch`.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Lines(Generic[Answer]):
    """At most `count` calls at once, in the order of their submission, but for those of a shard that has its share.

    A shard may take no more lines than it leaves free. One that stalls takes half of them, a second a quarter, and
    what the others need goes on.
    """

    def __init__(self, count: int) -> None:
        self._count, self._pool = count, ThreadPoolExecutor(count)
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Hashable, Future[Answer], Callable[[], Answer]]] = deque()
        self._running: Counter[Hashable] = Counter()

    def submit(self, shard: Hashable, call: Callable[[], Answer]) -> Future[Answer]:
        """The future of a call that asks for a part of `shard`."""
        future: Future[Answer] = Future()
        with self._lock:
            self._waiting.append((shard, future, call))
            self._start()
        return future

    def clear(self) -> None:
        """Forgets the calls that wait for a line."""
        with self._lock:
            self._waiting.clear()

    def _start(self) -> None:
        """Starts what may run, under the lock."""
        left: deque[tuple[Hashable, Future[Answer], Callable[[], Answer]]] = deque()
        for shard, future, call in self._waiting:
            if self._running[shard] < self._count - self._running.total():
                self._running[shard] += 1
                with contextlib.suppress(RuntimeError):  # the process ends
                    self._pool.submit(self._run, shard, future, call)
            else:
                left.append((shard, future, call))
        self._waiting = left

    def _run(self, shard: Hashable, future: Future[Answer], call: Callable[[], Answer]) -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
        finally:
            with self._lock:
                self._running[shard] -= 1
                self._start()
