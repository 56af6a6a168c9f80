"""Threads that wait for a store, with a limit for each shard.

In: calls, each with its shard. Out: a future for each. Which bytes are read is in `prefetch`.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class PerShardLimit(Generic[T]):
    """At most `count` calls at once, in the order of submission, except for shards that are at their limit.

    A shard may use no more threads than it leaves free. One that stalls takes half of them, a second a quarter, and the
    calls for other shards continue.
    """

    def __init__(self, count: int) -> None:
        self._count, self._pool = count, ThreadPoolExecutor(count)
        self._lock = threading.Lock()
        self._queue: deque[tuple[Hashable, Future[T], Callable[[], T]]] = deque()
        self._running: Counter[Hashable] = Counter()

    def submit(self, shard: Hashable, call: Callable[[], T]) -> Future[T]:
        """The future of a call that reads from `shard`."""
        future: Future[T] = Future()
        with self._lock:
            self._queue.append((shard, future, call))
            self._start()
        return future

    def clear(self) -> None:
        """Drops the calls that have not started."""
        with self._lock:
            self._queue.clear()

    def _start(self) -> None:
        """Starts the calls that the limits allow; the lock is held."""
        queue, self._queue = self._queue, deque()
        for shard, future, call in queue:
            if self._running[shard] < self._count - self._running.total():
                self._running[shard] += 1
                with contextlib.suppress(RuntimeError):  # the process ends
                    self._pool.submit(self._run, shard, future, call)
            else:
                self._queue.append((shard, future, call))

    def _run(self, shard: Hashable, future: Future[T], call: Callable[[], T]) -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
        finally:
            with self._lock:
                self._running[shard] -= 1
                self._start()
