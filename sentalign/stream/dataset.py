"""The batches of one rank from any state on: the samples of the plan, decoded in worker processes.

In: the data settings, the seed, this rank and the tokenizer. Out: batches, each with the stream's state after it. A
worker makes the rows of its own lanes in every batch. It is told which, so the number of workers changes nothing but
the speed.
"""

# B rows of this rank, H side of the square image
from __future__ import annotations

import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

from torch import Generator
from torch.utils.data import DataLoader

from sentalign.config import Data, rank_share
from sentalign.stream import mirror
from sentalign.stream.batch import Batch, Padding, collate
from sentalign.stream.order import plan
from sentalign.stream.order.mixture import SampleRef
from sentalign.stream.order.plan import StreamState
from sentalign.stream.read.fetch import Shards
from sentalign.stream.read.open_data import open_mixture
from sentalign.stream.rows import RowDataset, Rows, WorkItem
from sentalign.stream.worker_signals import signals_blocked, stop_with_parent_only
from sentalign.tokenizer import Tokenizer
from sharding.contract import UserError

log = logging.getLogger(__name__)
POLL = 1.0  # seconds after which a worker that delivers nothing is checked


class Stream:
    """One rank's share of the global batches of a split.

    The sequence of global batches depends on the manifests, the seed, the split and the settings of the data alone.
    """

    def __init__(
        self, data: Data, seed: int, rank: int, ranks: int, tokenizer: Tokenizer, split: str, swapped: bool = False
    ) -> None:
        """Reads the manifests; `swapped`: training batches have swapped reports as further texts.

        Raises UserError where the batch does not divide by the ranks or there are no data.
        """
        rank_share(data.batch, ranks)
        self.data, self.seed, self.rank, self.ranks, self.split = data, seed, rank, ranks, split
        self.mixture = open_mixture(data, split, seed)
        self.rows = RowDataset(self.mixture, data, seed, tokenizer, swapped)
        alone = data.context == "sentence"
        self._padding = Padding(data.max_tokens, 1 + self.max_sentences, tokenizer.pad_id, data.length_buckets, alone)
        self.replaced = self.seen = 0

    @property
    def fingerprint(self) -> str:
        return self.mixture.fingerprint

    @property
    def epoch_batches(self) -> int:
        """Batches in an epoch; 0 where a data set cannot fill its lanes once."""
        return self.mixture.epoch_batches if self.mixture.fills_batches() else 0

    @property
    def max_sentences(self) -> int:
        """Most sentences of a row, the same on every rank: K = 1 + max_sentences."""
        return self.rows.max_sentences

    def start(self) -> StreamState:
        """The state before the first batch."""
        return StreamState(0, self.seed, self.fingerprint)

    def account(self) -> str:
        """One line for each data set: what an epoch of it reads and what it leaves out."""
        return "\n".join(self._account(number) for number in range(len(self.mixture.data_sets)))

    def _account(self, number: int) -> str:
        shards, lanes = self.mixture.data_sets[number], len(self.mixture.lanes[number])
        samples, batches = len(shards) + shards.without_text, self.mixture.batches[number]
        name, of = (f"{shards.url}, ", f"{lanes} of ") if len(self.mixture.lanes) > 1 else ("", "")
        return (
            f"{name}split {self.split}: {samples} samples, {shards.without_text} without text left out; an epoch has "
            f"{batches} batches of {of}{self.data.batch} and drops the last {len(shards) % lanes} of its order"
            f"{self._unmirrored(shards)}"
        )

    def _unmirrored(self, shards: Shards) -> str:
        if not self.data.mirror:
            return ""
        refused, reports = mirror.cannot_be_mirrored(shards, frozenset(self.data.drop_tags))
        whole = "" if reports < mirror.LOOKED_AT else " looked at"
        return f"; of {reports} reports{whole}, {refused} have a side that cannot be swapped: never mirrored"

    def batches(self, state: StreamState) -> Iterator[tuple[Batch, StreamState]]:
        """Batches from `state` on without end, each with the state after it. Raises UserError for another's state."""
        self._check(state)
        self.seen = state.step * self.data.batch // self.ranks
        if self.rows.local:  # workers are forked then, and inherit the order
            self.mixture.batch(state.step)
        afters = (replace(state, step=step) for step in count(state.step + 1))
        return zip(self._run(self.work_items(state)), afters, strict=False)

    def work_items(self, state: StreamState) -> Iterator[WorkItem]:
        """One item for each worker in each batch. A worker has the same lanes in every batch: a block is read once."""
        lanes = self._worker_lanes(plan.share(range(self.data.batch), self.rank, self.ranks))
        return (WorkItem(step, own) for step in count(state.step) for own in lanes)

    def validation_batches(self, incomplete: bool = False) -> Iterator[Batch]:
        """The split in manifest order with whole reports (but for `data.drop_tags`), once.

        The last batch is left out if it is incomplete, or is shorter with `incomplete` (for one rank). A split smaller
        than `data.batch` is one batch of the largest size that divides by the ranks. Raises UserError where even that
        is empty.
        """
        sets = self.mixture.data_sets
        refs = [SampleRef(number, i, 0) for number, shards in enumerate(sets) for i in range(len(shards))]
        batch = min(self.data.batch, len(refs) // self.ranks * self.ranks)
        if not batch:
            raise UserError(
                f"split {self.split!r} has {len(refs)} samples for {self.ranks} ranks; use at most {len(refs)} ranks"
            )
        begins = range(0, len(refs) - (0 if incomplete else batch - 1), batch)
        spans = [range(begin, min(begin + batch, len(refs))) for begin in begins]
        shares = [plan.share(span, self.rank, self.ranks) for span in spans]
        lanes = [own for share in shares for own in self._worker_lanes(share)]
        return self._run([WorkItem(None, own, tuple(refs[own.start : own.stop])) for own in lanes])

    def check_damage(self, replaced: int, advice: str) -> None:
        """Raises UserError where more samples were replaced than `data.damage_budget` allows.

        A rank that counts only its own never raises too early; the caller that knows the sum of all ranks checks again.
        """
        # A share of the first epoch, then of all that was read: each epoch has the same damage again.
        allowed = self.data.damage_budget * max(self.epoch_batches * self.data.batch, self.seen * self.ranks)
        if replaced > allowed:
            raise UserError(
                f"{replaced} samples could not be read and data.damage_budget={self.data.damage_budget:g} of an epoch "
                f"is allowed; {advice}"
            )

    def _check(self, state: StreamState) -> None:
        if state.fingerprint != self.fingerprint:
            raise UserError(
                f"the shards in {', '.join(self.data.urls)} are not those of this run; restore them or start a new run"
            )
        if state.seed != self.seed:
            raise UserError(f"seed {self.seed} is not the seed {state.seed} of this run; set seed={state.seed}")
        if not self.epoch_batches:
            samples = min(len(shards) for shards in self.mixture.data_sets)
            raise UserError(
                f"split {self.split!r} has {samples} samples with text, fewer than data.batch {self.data.batch} takes "
                f"of them; set data.batch to at most {samples}"
            )

    def _worker_lanes(self, lanes: range) -> list[range]:
        workers = max(1, self.data.workers)
        return [plan.share(lanes, worker, workers) for worker in range(workers)]

    def _run(self, items: Iterable[WorkItem]) -> Iterator[Batch]:
        in_flight: deque[WorkItem] = deque()
        loader = DataLoader(
            self.rows,
            batch_size=None,
            sampler=_recorded(items, in_flight),
            num_workers=self.data.workers,
            timeout=min(POLL, self.data.timeout) if self.data.workers else 0,
            # Threads of a remote store's client do not survive a fork.
            multiprocessing_context="spawn" if self.data.workers and not self.rows.local else None,
            # Without it an iterator would draw from the global generator, and a resumed run's dropout would differ.
            generator=Generator(),
            worker_init_fn=stop_with_parent_only,
        )
        parts: list[Rows] = []
        with signals_blocked(spawn=not self.rows.local):
            iterator = _without_torch_handler(loader)
        for rows in self._results(iterator, in_flight):
            parts.append(rows)
            if len(parts) == max(1, self.data.workers):
                yield self._collate(parts)
                parts = []

    def _results(self, loader: Iterator[Rows | UserError], in_flight: deque[WorkItem]) -> Iterator[Rows]:
        """The loader's results; for a worker that died or is too slow an error with its shards."""
        for number in count():
            try:
                rows = self._next(loader, number, in_flight)
            except StopIteration:
                return
            in_flight.popleft()
            if isinstance(rows, UserError):
                raise rows
            yield rows

    def _next(self, loader: Iterator[Rows | UserError], number: int, in_flight: deque[WorkItem]) -> Rows | UserError:
        """Result `number`. The loader notices a dead worker only when a wait times out, so the waits are short."""
        deadline = time.monotonic() + self.data.timeout
        while True:
            try:
                return next(loader)
            except RuntimeError as error:
                if not str(error).startswith("DataLoader "):
                    raise  # of the worker's own code
                late = "timed out" in str(error)
                if late and time.monotonic() < deadline:
                    continue
                raise self._worker_error(loader, number, in_flight, late) from None

    def _worker_error(self, loader: Any, number: int, in_flight: deque[WorkItem], late: bool) -> UserError:
        """The error for the worker that does not deliver result `number`, the first in flight, or for a dead one."""
        workers = self.data.workers
        dead = [i for i, worker in enumerate(loader._workers) if not worker.is_alive()]
        failed = number % workers if late or not dead else dead[0]
        place = (failed - number) % workers
        shards = ", ".join(self.rows.shards_of(in_flight[place])) if place < len(in_flight) else "the end"
        what, advice = (
            (f"takes more than {self.data.timeout:g} s", "check that the store answers, or raise data.timeout")
            if late
            else ("died", "check that there is enough memory, or lower data.workers")
        )
        return UserError(f"worker {failed} of rank {self.rank} {what} at {shards}; {advice}")

    def _collate(self, parts: list[Rows]) -> Batch:
        """The batch of the workers' rows in the order of the lanes; raises UserError where too many were replaced."""
        lost = [line for rows in parts for line in rows.replaced]
        self.replaced += len(lost)
        self.seen += sum(len(rows.samples) for rows in parts)
        for line in lost:
            log.warning("replaced: %s", line)
        if lost:
            self.check_damage(self.replaced, f"the last: {lost[-1]}")
        samples = [sample for rows in parts for sample in rows.samples]
        encoded = [row for rows in parts for row in rows.encoded]
        chosen = [numbers for rows in parts for numbers in rows.chosen]
        epochs = [epoch for rows in parts for epoch in rows.epochs]
        swapped = [report for rows in parts for report in rows.swapped]
        return collate(samples, encoded, chosen, epochs, self._padding, len(lost), swapped)


def _without_torch_handler(loader: DataLoader[Any]) -> Iterator[Any]:
    """The loader's iterator, without the SIGCHLD handler that torch installs for it.

    That handler raises wherever the main thread is when a worker dies, for example within a training step, and knows no
    shard. Here a dead worker is reported, with its shards, when its result is missing.
    """
    if threading.current_thread() is not threading.main_thread():
        return iter(loader)  # torch installs none
    before = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    if before is not None:  # None: a handler that is not Python's
        signal.signal(signal.SIGCHLD, before)
    return iterator


def _recorded(items: Iterable[WorkItem], in_flight: deque[WorkItem]) -> Iterator[WorkItem]:
    """The work items in order; those that have gone to a worker are appended to `in_flight`."""
    for item in items:
        in_flight.append(item)
        yield item
