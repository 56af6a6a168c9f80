"""Prefetching: the bytes of a worker's lanes, read from a remote store before they are needed.

In: a mixture, and the lanes of a worker batch by batch. Out: bytes of samples. A block is fetched at once when the
first of its samples is near; after a resume within it only the rest is fetched. Decoding is in `fetch`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from sentalign.stream.order.mixture import Mixture
from sentalign.stream.read.fetch import Shards
from sentalign.stream.read.per_shard_limit import PerShardLimit
from sharding.contract import UserError

THREADS = 16  # concurrent requests: a store answers each of them slowly, and many at once

Content = Callable[[], bytes]
Block = list[bytes | None]  # the bytes of each of its samples, None once they are taken


@dataclass(frozen=True)
class _Pending:
    """The fetch of a sample's block, its index in that block, and the bytes that it adds to the budget until taken."""

    job: Future[Block]
    index: int
    size: int
    shard: str


class Prefetcher:
    """Reads ahead for one worker: up to `budget` bytes and a block, at least the blocks that the next batch begins.

    Bytes count from the start of their fetch until their sample is taken, and are then released. Where whole shards are
    cached, a shard that is not there yet counts in full until the first of its samples is taken.
    """

    def __init__(self, mixture: Mixture[Shards], budget: float, timeout: float) -> None:
        self._mixture, self._budget, self._timeout = mixture, budget, timeout
        self._threads: PerShardLimit[Block] = PerShardLimit(THREADS)
        self._pending: dict[tuple[int, int], _Pending] = {}  # by lane and step
        self._next_step: dict[int, int] = {}  # of each lane: the first step that no fetch covers
        self._whole: set[tuple[int, str]] = set()  # shards that were counted in full
        self._used = 0  # bytes of the budget
        self._step = -1

    def take(self, step: int, lanes: range) -> list[Content]:
        """For each lane a call that waits for the bytes of its sample in batch `step`, and raises if they do not come.

        Each may be called once. A step that is not the next one starts over: what was prefetched is dropped.
        """
        if step != self._step + 1:
            self._threads.clear()
            self._pending, self._next_step, self._whole, self._used = {}, {}, set(), 0
        self._step = step
        for lane in lanes:
            while self._next_step.setdefault(lane, step) <= step:
                self._fetch(lane)
        # No further than an epoch: a small data set would fit into the budget many times.
        last = step + self._mixture.epoch_batches
        while self._used < self._budget and min((self._next_step[lane] for lane in lanes), default=last) < last:
            self._fetch(min(lanes, key=self._next_step.__getitem__))
        return [self._content(lane, step) for lane in lanes]

    def _fetch(self, lane: int) -> None:
        """Starts to fetch the rest of the block of the lane's next sample that no fetch covers."""
        step = self._next_step[lane]
        number, samples = self._mixture.rest_of_block(step, lane)
        shards = self._mixture.data_sets[number]
        name = shards.row(samples[0])["shard"]
        whole = 0 if (number, name) in self._whole else shards.missing(samples[0])
        self._whole.add((number, name))
        job = self._threads.submit((number, name), lambda: list(shards.fetch(samples)))
        for index, sample in enumerate(samples):
            size = shards.size(sample) + (whole if index == 0 else 0)
            self._pending[lane, step + index] = _Pending(job, index, size, name)
            self._used += size
        self._next_step[lane] = step + len(samples)

    def _content(self, lane: int, step: int) -> Content:
        pending = self._pending.pop((lane, step))
        self._used -= pending.size
        return partial(_take, pending, self._timeout)


def _take(pending: _Pending, timeout: float) -> bytes:
    """The bytes, which are released here. Raises UserError where they take more than `timeout` seconds."""
    try:
        block = pending.job.result(timeout)
    except TimeoutError:
        raise UserError(
            f"{pending.shard} takes more than {timeout:g} s; check that the store answers, or raise data.timeout"
        ) from None
    content, block[pending.index] = block[pending.index], None
    assert content is not None, "a sample is taken once"
    return content
