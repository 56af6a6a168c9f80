"""The batches of one rank, from any state on: the plan's samples, decoded in worker processes.

In: the data settings, the seed, this rank and the tokenizer. Out: batches, each with the stream's state after it. A
worker makes the rows of its own lanes in every batch. It is told which, and what it keeps only saves it reading twice,
so the number of workers changes nothing but the speed.
"""

# B rows of this rank, H side of the square image
from __future__ import annotations

import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from torch import Generator
from torch.utils.data import DataLoader

from sentalign.config import Data, rank_share
from sentalign.stream.batch import Batch, Padding, collate
from sentalign.stream.order import plan
from sentalign.stream.order.mixture import Mixture
from sentalign.stream.order.plan import StreamState
from sentalign.stream.rows import Part, Rows, Samples
from sentalign.stream.worker import obey_parent_alone, unheard
from sentalign.text import Tokenizer
from sharding.contract import UserError

log = logging.getLogger(__name__)
POLL = 1.0  # seconds after which a worker that brings nothing is looked at


class Stream:
    """One rank's share of the global batches of a split.

    The sequence of global batches depends on the manifests, the seed, the split and the settings of the data alone.
    """

    def __init__(self, data: Data, seed: int, rank: int, ranks: int, tokenizer: Tokenizer, split: str) -> None:
        """Reads the manifests. Raises UserError where the batch does not fit the ranks or there is no such data."""
        rank_share(data.batch, ranks)
        self.data, self.seed, self.rank, self.ranks, self.split = data, seed, rank, ranks, split
        self.mixture = Mixture(data, split, seed)
        self.samples = Samples(self.mixture, data, seed, tokenizer)
        self._padding = Padding(data.max_tokens, 1 + self.max_sentences, tokenizer.pad_id, data.length_buckets)
        self.replaced = self.seen = 0

    @property
    def fingerprint(self) -> str:
        return self.mixture.fingerprint

    @property
    def epoch_batches(self) -> int:
        """Batches in an epoch; 0 where a data set cannot fill its lanes once."""
        return self.mixture.epoch_batches if self.mixture.whole() else 0

    @property
    def max_sentences(self) -> int:
        """Most sentences of a row, the same on every rank: K = 1 + max_sentences."""
        return self.samples.max_sentences

    def start(self) -> StreamState:
        """The state before the first batch."""
        return StreamState(0, 0, self.seed, self.fingerprint)

    def account(self) -> str:
        """One line for each data set on what an epoch of it reads and what it leaves out."""
        return "\n".join(self._account(number) for number in range(len(self.mixture.parts)))

    def _account(self, number: int) -> str:
        part, lanes = self.mixture.parts[number], len(self.mixture.lanes[number])
        batches = plan.batches_per_epoch(len(part), lanes)
        mixed = "" if len(self.mixture.parts) == 1 else f"{part.url}, "
        of = f"{self.data.batch}" if not mixed else f"{lanes} of {self.data.batch}"
        return (
            f"{mixed}split {self.split}: {len(part) + part.without_text} samples, {part.without_text} without text "
            f"left out; an epoch has {batches} batches of {of} and drops the last {len(part) % lanes} of its order"
        )

    def batches(self, state: StreamState) -> Iterator[tuple[Batch, StreamState]]:
        """Batches from `state` on without end, each with the state after it. Raises UserError for another's state."""
        self._check(state)
        if self.mixture.local:  # workers are forked then, and find the order made
            self.mixture.batch(state.epoch * self.epoch_batches + state.position)
        afters = islice(self._states(state), 1, None)
        return zip(self._run(self._parts(self._states(state))), afters, strict=False)

    def validation_batches(self) -> Iterator[Batch]:
        """The split in manifest order with whole reports (but for `data.drop_tags`), once.

        An incomplete last batch is left out. A split smaller than `data.batch` is one batch of the largest size that
        the ranks can share. Raises UserError where even that is empty.
        """
        everything = [(number, i) for number, part in enumerate(self.mixture.parts) for i in range(len(part))]
        batch = min(self.data.batch, len(everything) // self.ranks * self.ranks)
        if not batch:
            raise UserError(
                f"split {self.split!r} has {len(everything)} samples for {self.ranks} ranks; "
                f"use at most {len(everything)} ranks"
            )
        shares = [
            plan.share(range(begin, begin + batch), self.rank, self.ranks)
            for begin in range(0, len(everything) - batch + 1, batch)
        ]
        return self._run(
            [
                Part(None, inside, tuple(everything[i] for i in inside))
                for share in shares
                for inside in self._cut(share)
            ]
        )

    def bear(self, replaced: int, advice: str) -> None:
        """Raises UserError where more samples were replaced than `data.damage_budget` allows.

        A rank that counts its own alone never raises too early; whoever knows the sum over all ranks calls it again.
        """
        # A share of the first epoch, then of all that was read: each epoch meets the same damage again.
        allowed = self.data.damage_budget * max(self.epoch_batches * self.data.batch, self.seen * self.ranks)
        if replaced > allowed:
            raise UserError(
                f"{replaced} samples could not be read and data.damage_budget={self.data.damage_budget:g} of an epoch "
                f"is allowed; {advice}"
            )

    def _check(self, state: StreamState) -> None:
        if state.fingerprint != self.fingerprint:
            raise UserError(
                f"the shards in {', '.join(self.data.urls)} are not those of this run; "
                "give them back or start a new run"
            )
        if state.seed != self.seed:
            raise UserError(f"seed {self.seed} is not the seed {state.seed} of this run; set seed={state.seed}")
        if not self.epoch_batches:
            samples = min(len(part) for part in self.mixture.parts)
            raise UserError(
                f"split {self.split!r} has {samples} samples with text, fewer than data.batch {self.data.batch} takes "
                f"of them; set data.batch to at most {samples}"
            )
        if state.position >= self.epoch_batches:
            raise UserError(
                f"this run stands at batch {state.position} of an epoch that has {self.epoch_batches} with "
                f"data.batch {self.data.batch}; set data.batch back to what it was"
            )

    def _states(self, state: StreamState) -> Iterator[StreamState]:
        while True:
            yield state
            state = state.after(self.epoch_batches)

    def _parts(self, states: Iterable[StreamState]) -> Iterator[Part]:
        """The parts of each batch, one for each worker: every worker keeps its lanes, and fetches each block once."""
        lanes = plan.share(range(self.data.batch), self.rank, self.ranks)
        for state in states:
            step = state.epoch * self.epoch_batches + state.position
            yield from (Part(step, inside) for inside in self._cut(lanes))

    def _cut(self, lanes: range) -> list[range]:
        """The lanes of each worker."""
        workers = max(1, self.data.workers)
        return [plan.share(lanes, worker, workers) for worker in range(workers)]

    def _run(self, parts: Iterable[Part]) -> Iterator[Batch]:
        asked: deque[Part] = deque()
        loader = DataLoader(
            self.samples,
            batch_size=None,
            sampler=_Noted(parts, asked),
            num_workers=self.data.workers,
            timeout=min(POLL, self.data.timeout) if self.data.workers else 0,
            # Threads of a remote store's client do not survive a fork.
            multiprocessing_context="spawn" if self.data.workers and not self.mixture.local else None,
            # Else starting an iterator would draw from the global generator, and a resumed run's dropout would differ.
            generator=Generator(),
            worker_init_fn=obey_parent_alone,
        )
        made: list[Rows] = []
        with unheard(afresh=not self.mixture.local):
            started = _quietly(loader)
        for rows in self._patient(started, asked):
            made.append(rows)
            if len(made) == max(1, self.data.workers):
                yield self._joined(made)
                made = []

    def _patient(self, loader: Iterator[Rows | UserError], asked: deque[Part]) -> Iterator[Rows]:
        """What the loader brings; a worker that died or takes too long is named, with the shards it works at."""
        for number in range(1 << 62):
            try:
                rows = self._next(loader, number, asked)
            except StopIteration:
                return
            asked.popleft()
            if isinstance(rows, UserError):
                raise rows
            yield rows

    def _next(self, loader: Iterator[Rows | UserError], number: int, asked: deque[Part]) -> Rows | UserError:
        """Part `number`, waited for in short turns: a turn's end is where the loader sees that a worker is dead."""
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
                raise self._lost(loader, number, asked, late) from None

    def _lost(self, loader: Any, number: int, asked: deque[Part], late: bool) -> UserError:
        """What is said of the worker that brings no part `number`, the first of `asked`, or of one that died."""
        workers = self.data.workers
        dead = [i for i, worker in enumerate(loader._workers) if not worker.is_alive()]
        lost = number % workers if late or not dead else dead[0]
        ahead = (lost - number) % workers
        shards = ", ".join(self.samples.shards_of(asked[ahead])) if ahead < len(asked) else "the end"
        what, mend = (
            (f"takes more than {self.data.timeout:g} s", "see whether the store answers, or raise data.timeout")
            if late
            else ("died", "see whether the memory is enough, or lower data.workers")
        )
        return UserError(f"worker {lost} of rank {self.rank} {what} at {shards}; {mend}")

    def _joined(self, made: list[Rows]) -> Batch:
        """The batch of the workers' rows in the order of the lanes; raises UserError where too many were replaced."""
        lost = [line for rows in made for line in rows.replaced]
        self.replaced += len(lost)
        self.seen += sum(len(rows.samples) for rows in made)
        for line in lost:
            log.warning("replaced: %s", line)
        if lost:
            self.bear(self.replaced, f"the last: {lost[-1]}")
        samples = [sample for rows in made for sample in rows.samples]
        encoded = [row for rows in made for row in rows.encoded]
        chosen = [numbers for rows in made for numbers in rows.chosen]
        epochs = [epoch for rows in made for epoch in rows.epochs]
        return collate(samples, encoded, chosen, epochs, self._padding, len(lost))


def _quietly(loader: DataLoader[Any]) -> Iterator[Any]:
    """The loader's iterator, without the signal handler that torch installs for it.

    That handler raises where the program happens to be when a worker dies, in the middle of a training step say, and
    knows no shard. Here a dead worker is met, and named, when its part is missing.
    """
    if threading.current_thread() is not threading.main_thread():
        return iter(loader)  # torch installs none
    before = signal.getsignal(signal.SIGCHLD)
    made = iter(loader)
    if before is not None:  # None: not of Python
        signal.signal(signal.SIGCHLD, before)
    return made


class _Noted:
    """The parts in their order, noting in `asked` which have gone to a worker."""

    def __init__(self, parts: Iterable[Part], asked: deque[Part]) -> None:
        self._parts, self._asked = parts, asked

    def __iter__(self) -> Iterator[Part]:
        for part in self._parts:
            self._asked.append(part)
            yield part
