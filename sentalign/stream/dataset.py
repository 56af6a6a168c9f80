"""The batches of one rank, from any state on: the plan's indices, decoded in worker processes.

In: the data settings, the seed, this rank and the tokenizer. Out: batches, each with the stream's state after it.
Workers are told sample indices and keep nothing, so their number changes nothing but the speed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
from torch import Generator
from torch.utils.data import DataLoader, Dataset

from sentalign.config import Data
from sentalign.stream import plan
from sentalign.stream.batch import Batch, collate, subset, without
from sentalign.stream.fetch import Shards
from sentalign.stream.plan import Indices, StreamState
from sentalign.text import Tokenizer
from sharding.contract import UserError
from sharding.pixels import letterbox

# An epoch and the sample indices of one rank's share; epoch None: whole reports, nothing random.
Request = tuple[int | None, Indices]


class Samples(Dataset[Batch | UserError]):
    """Makes the batch of a request. It holds no state, so any worker may make any batch."""

    def __init__(self, shards: Shards, data: Data, seed: int, tokenizer: Tokenizer) -> None:
        self.shards, self.data, self.seed, self.tokenizer = shards, data, seed, tokenizer
        self._dropped = frozenset(data.drop_tags)
        # Units are gathered over ranks, so each rank must have as many: a sentence takes a token at least.
        self.max_sentences = min(shards.most_sentences, data.max_tokens - 2)

    def __getitem__(self, request: Request) -> Batch | UserError:
        """A user's error comes back as a value: raised in a worker, it would grow a traceback on its way."""
        try:
            return self._batch(*request)
        except UserError as error:
            return error

    def _batch(self, epoch: int | None, indices: Indices) -> Batch:
        samples, rows = [], []
        for index in indices.tolist():
            sample = self.shards.read(index)
            image_HH, _ = letterbox(sample.grey_HW, self.data.image_size, self.data.long_side)
            said = without(sample, self._dropped)
            if epoch is not None and self.data.sentence_subset:
                said = subset(said, self.seed, epoch, sample.key)
            rows.append(self.tokenizer.encode(said[: self.max_sentences], self.data.max_tokens))
            # The decoded picture is let go here: a batch of them would be many times the batch.
            samples.append(replace(sample, grey_HW=image_HH))
        units = 1 + self.max_sentences
        return collate(samples, rows, self.data.max_tokens, units, self.tokenizer.pad_id, epoch or 0)


class Stream:
    """One rank's share of the global batches of a split.

    The sequence of global batches depends on the manifest, the seed, the split and `data.batch` alone.
    """

    def __init__(self, data: Data, seed: int, rank: int, ranks: int, tokenizer: Tokenizer, split: str) -> None:
        """Reads the manifest. Raises UserError where the batch does not fit the ranks or there is no such data."""
        plan.check_shares(data.batch, ranks)
        self.data, self.seed, self.rank, self.ranks = data, seed, rank, ranks
        self.shards = Shards(data.shards, split)
        self._samples = Samples(self.shards, data, seed, tokenizer)
        self.epoch_batches = plan.batches_per_epoch(len(self.shards), data.batch)

    @property
    def fingerprint(self) -> str:
        return self.shards.fingerprint

    @property
    def max_sentences(self) -> int:
        """Most sentences of a row, the same on every rank: K = 1 + max_sentences."""
        return self._samples.max_sentences

    def start(self) -> StreamState:
        """The state before the first batch."""
        return StreamState(0, 0, self.seed, self.fingerprint)

    def account(self) -> str:
        """One line on what an epoch reads and what it leaves out."""
        samples, silent = len(self.shards), self.shards.without_text
        batch = self.data.batch
        return (
            f"split {self.shards.split}: {samples + silent} samples, {silent} without text left out; an epoch has "
            f"{self.epoch_batches} batches of {batch} and drops the last {samples % batch} of its order"
        )

    def batches(self, state: StreamState) -> Iterator[tuple[Batch, StreamState]]:
        """Batches from `state` on without end, each with the state after it. Raises UserError for another's state."""
        self._check(state)
        afters = islice(self._states(state), 1, None)
        return zip(self._run(self._requests(self._states(state))), afters, strict=False)

    def validation_batches(self) -> Iterator[Batch]:
        """The split in manifest order with whole reports (but for `data.drop_tags`), once.

        An incomplete last batch is left out. A split smaller than `data.batch` is one batch of the largest size that
        the ranks can share. Raises UserError where even that is empty.
        """
        batch = min(self.data.batch, len(self.shards) // self.ranks * self.ranks)
        if not batch:
            split, samples = self.shards.split, len(self.shards)
            raise UserError(
                f"split {split!r} has {samples} samples for {self.ranks} ranks; use at most {samples} ranks"
            )
        everything = np.arange(len(self.shards))
        shares = [self._share(everything, batch, i) for i in range(plan.batches_per_epoch(len(self.shards), batch))]
        return self._run([(None, share) for share in shares])

    def _check(self, state: StreamState) -> None:
        if state.fingerprint != self.fingerprint:
            raise UserError(
                f"the shards in {self.data.shards} are not those of this run; give them back or start a new run"
            )
        if state.seed != self.seed:
            raise UserError(f"seed {self.seed} is not the seed {state.seed} of this run; set seed={state.seed}")
        if not self.epoch_batches:
            split, samples = self.shards.split, len(self.shards)
            raise UserError(
                f"split {split!r} has {samples} samples with text, fewer than data.batch {self.data.batch}; "
                f"set data.batch to at most {samples}"
            )
        if state.position >= self.epoch_batches:
            raise UserError(
                f"this run stands at batch {state.position} of an epoch that has {self.epoch_batches} with "
                f"data.batch {self.data.batch}; set data.batch back to what it was"
            )

    def _share(self, order: Indices, batch: int, position: int) -> Indices:
        return plan.rank_share(plan.batch_indices(order, batch, position), self.rank, self.ranks)

    def _states(self, state: StreamState) -> Iterator[StreamState]:
        while True:
            yield state
            state = state.after(self.epoch_batches)

    def _requests(self, states: Iterator[StreamState]) -> Iterator[Request]:
        epoch, order = -1, np.empty(0, np.int64)
        for state in states:
            if state.epoch != epoch:
                epoch, order = state.epoch, plan.order(self.fingerprint, self.seed, state.epoch, len(self.shards))
            yield epoch, self._share(order, self.data.batch, state.position)

    def _run(self, requests: Iterable[Request]) -> Iterator[Batch]:
        loader = DataLoader(
            self._samples,
            batch_size=None,
            sampler=requests,
            num_workers=self.data.workers,
            # Threads of a remote store's client do not survive a fork.
            multiprocessing_context="spawn" if self.data.workers and self.shards.folder is None else None,
            # Else starting an iterator would draw from the global generator, and a resumed run's dropout would differ.
            generator=Generator(),
        )
        for made in loader:
            if isinstance(made, UserError):
                raise made
            yield made
