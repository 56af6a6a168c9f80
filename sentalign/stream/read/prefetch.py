"""The bytes of a worker's lanes, fetched from a remote store before they are asked for.

In: a mixture, and the lanes of a worker batch by batch. Out: bytes of samples. A block is fetched at once when the
first of its samples comes near; resuming within it fetches only what is left. What a sample means is in `fetch`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from sentalign.stream.order.mixture import Mixture
from sentalign.stream.read.per_shard_limit import Lines
from sharding.contract import UserError

THREADS = 16  # requests under way: a store answers each of them slowly, and many at once

Content = Callable[[], bytes]
Block = list[bytes | None]  # the bytes of each of its samples, None once they are taken


@dataclass(frozen=True)
class _Coming:
    """The fetch that brings a sample, its place in that, and the bytes that count for it until it is taken."""

    job: Future[Block]
    place: int
    size: int
    shard: str


class Ahead:
    """Reads ahead of one worker: `budget` bytes and a block, or the blocks that the batch at hand begins.

    Bytes count from the start of their fetch until their sample is taken, and are let go then. Where whole shards are
    kept, a shard that is not there yet counts in full until the first of its samples is taken.
    """

    def __init__(self, mixture: Mixture, budget: float) -> None:
        self._mixture, self._budget = mixture, budget
        self._lines: Lines[Block] = Lines(THREADS)
        self._coming: dict[tuple[int, int], _Coming] = {}  # by lane and step
        self._covered: dict[int, int] = {}  # the first step of each lane that no fetch covers
        self._whole: set[tuple[int, str]] = set()  # shards that were counted in full
        self._waiting = 0
        self._step = -1

    def take(self, step: int, lanes: range) -> list[Content]:
        """For each lane what waits for the bytes of its sample in batch `step`, and raises where they cannot be had.

        Each may be called once. Another step than the next one begins anew: what was fetched ahead is let go.
        """
        if step != self._step + 1:
            self._lines.clear()
            self._coming, self._covered, self._whole, self._waiting = {}, {}, set(), 0
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
        name = shards.row(samples[0])["shard"]
        whole = 0 if (part, name) in self._whole else shards.missing(samples[0])
        self._whole.add((part, name))
        job = self._lines.submit((part, name), lambda: list(shards.fetch(samples)))
        for place, sample in enumerate(samples):
            size = shards.size(sample) + (whole if place == 0 else 0)
            self._coming[lane, step + place] = _Coming(job, place, size, name)
            self._waiting += size
        self._covered[lane] = step + len(samples)

    def _content(self, lane: int, step: int) -> Content:
        coming = self._coming.pop((lane, step))
        self._waiting -= coming.size
        return partial(_taken, coming, self._mixture.data.timeout)


def _taken(coming: _Coming, timeout: float) -> bytes:
    """The bytes, which nobody holds here any more. Raises UserError where they take more than `timeout` seconds."""
    try:
        block = coming.job.result(timeout)
    except TimeoutError:
        raise UserError(
            f"{coming.shard} takes more than {timeout:g} s; see whether the store answers, or raise data.timeout"
        ) from None
    content, block[coming.place] = block[coming.place], None
    assert content is not None, "a sample is taken once"
    return content
