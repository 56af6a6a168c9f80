"""Work that is done one piece after another by a thread of its own, while the server answers others.

In: a function and its arguments. Out: its result. What a person has left is done all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sentalign.serve.access import RefusedError

MOST_WAITING = 16
Result = TypeVar("Result")


class WorkQueue:
    """One thread, and at most 16 pieces of work that wait for it."""

    def __init__(self, name: str, most: int = MOST_WAITING) -> None:
        self._thread, self._most, self._waiting = ThreadPoolExecutor(1, name), most, 0

    async def run(self, work: Callable[..., Result], *arguments: object) -> Result:
        """What the function returns. Raises RefusedError where too many wait already."""
        if self._waiting >= self._most:
            raise RefusedError(503, "too many others are waiting; try again in a moment")
        self._waiting += 1
        running = asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        running.add_done_callback(self._ended)
        return await asyncio.shield(running)

    def _ended(self, _: object) -> None:
        self._waiting -= 1

    def close(self) -> None:
        """Ends the thread after what it is at."""
        self._thread.shutdown(wait=False, cancel_futures=True)
