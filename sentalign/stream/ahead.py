"""The bytes of a worker's lanes, fetched from a remote store before they are asked for.

In: a mixture, and the lanes of a worker batch by batch. Out: bytes of samples. A block is fetched at once when the
first of its samples comes near; resuming within it fetches only what is left. What a sample means is in `fetch`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from sentalign.stream.mixture import Mixture

THREADS = 16  # requests under way: a store answers each of them slowly, and many at once

Content = Callable[[], bytes]


class Ahead:
    """Reads ahead of one worker, up to `budget` bytes beside what the batch at hand needs."""

    def __init__(self, mixture: Mixture, budget: int) -> None:
        self._mixture, self._budget = mixture, budget
        self._pool = ThreadPoolExecutor(THREADS)
        # (lane, step) -> the fetch that brings its sample, its place in that, its bytes.
        self._coming: dict[tuple[int, int], tuple[Future[list[bytes]], int, int]] = {}
        self._covered: dict[int, int] = {}  # the first step of each lane that no fetch covers
        self._waiting = 0
        self._step = -1

    def take(self, step: int, lanes: range) -> list[Content]:
        """For each lane what waits for the bytes of its sample in batch `step`, and raises where they cannot be had.

        Another step than the next one begins anew: what was fetched ahead is let go.
        """
        if step != self._step + 1:
            self._coming, self._covered, self._waiting = {}, {}, 0
        self._step = step
        for lane in lanes:
            while self._covered.setdefault(lane, step) <= step:
                self._fetch(lane)
        # No further than an epoch: a small data set would fit many times into the budget.
        last = step + self._mixture.epoch_batches
        while self._waiting < self._budget and min((self._covered[lane] for lane in lanes), default=last) < last:
            self._fetch(min(lanes, key=self._covered.__getitem__))
        return [self._content(lane, step) for lane in lanes]

    def _fetch(self, lane: int) -> None:
        """Starts the fetch of what is left of the block in which the lane's next uncovered sample lies."""
        step = self._covered[lane]
        part, samples = self._mixture.run(step, lane)
        shards = self._mixture.parts[part]
        job = self._pool.submit(shards.fetch, samples)
        for place, sample in enumerate(samples):
            size = shards.size(sample)
            self._coming[lane, step + place] = (job, place, size)
            self._waiting += size
        self._covered[lane] = step + len(samples)

    def _content(self, lane: int, step: int) -> Content:
        job, place, size = self._coming.pop((lane, step))
        self._waiting -= size
        return lambda: job.result()[place]
