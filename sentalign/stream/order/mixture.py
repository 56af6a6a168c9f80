"""Several data sets as one stream: which sample of which data set is in which lane of which batch.

In: opened data sets, their weights, the seed and the options of the order. Out: sample indices. Pure but for a cache of
the last epochs. One data set is a mixture of one. Opening data sets is in `stream/read`.
"""

# N samples, G groups of a sample, B lanes
from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from sentalign.stream.order import plan
from sentalign.stream.order.limit_duplicates import limit_duplicates
from sentalign.stream.order.plan import Epoch, Indices

KEPT = 3  # epochs of each data set that stay in memory: the running one and its neighbours


class DataSet(Protocol):
    """What the order depends on: a fingerprint of the data, the shard of each sample, and groups of duplicates."""

    fingerprint: str
    shard_N: Indices

    def __len__(self) -> int: ...
    def duplicate_groups(self, keys: Sequence[str]) -> Indices:
        """(N, G): equal numbers for samples that share a key; -1 for none."""
        ...


D = TypeVar("D", bound=DataSet)


@dataclass(frozen=True)
class OrderOptions:
    """The settings that the order depends on: those of the same names under `data`."""

    batch: int
    block: int
    max_duplicates: int = 0
    duplicate_keys: tuple[str, ...] = ("text", "patient")


@dataclass(frozen=True)
class SampleRef:
    """One sample of one batch: number of its data set, index in it, and the data set's own epoch."""

    data_set: int
    index: int
    epoch: int


class Mixture(Generic[D]):
    """Data sets by weight. Each has epochs of its own; an epoch of the mixture is as long as the longest of them.

    Steps count global batches from the start of the run; epoch and position of each data set are derived from the step.
    """

    def __init__(self, data_sets: Sequence[D], weights: Sequence[float], seed: int, options: OrderOptions) -> None:
        """Raises UserError where the batch has fewer lanes than there are data sets."""
        self.data_sets, self.weights, self.seed, self.options = list(data_sets), list(weights), seed, options
        self.lanes = plan.lanes_by_weight(weights, options.batch)
        # Whole batches in an epoch of each data set; the last samples of its order that fill none are dropped.
        self.batches = [len(data) // len(lanes) for data, lanes in zip(self.data_sets, self.lanes, strict=True)]
        self.epoch_batches = max(self.batches)
        self._epochs: OrderedDict[tuple[int, int], Epoch] = OrderedDict()

    def with_options(self, **changes: Any) -> Mixture[D]:
        """The same data sets with another batch, block or max_duplicates. Raises UserError as the constructor does."""
        return Mixture(self.data_sets, self.weights, self.seed, replace(self.options, **changes))

    @property
    def fingerprint(self) -> str:
        """That of the data set; of several, a digest of all of them and their lanes."""
        if len(self.data_sets) == 1:
            return self.data_sets[0].fingerprint
        parts = [(data.fingerprint, len(lanes)) for data, lanes in zip(self.data_sets, self.lanes, strict=True)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def fills_batches(self) -> bool:
        """Whether each data set has enough samples for its lanes of one batch."""
        return min(self.batches) > 0

    def batch(self, step: int) -> Indices:
        """The samples of a whole batch, as indices into all data sets end to end: (B,)."""
        first = np.cumsum([0, *map(len, self.data_sets)])
        return np.concatenate([first[number] + self._row(number, step)[0] for number in range(len(self.lanes))])

    def samples(self, step: int, lanes: range) -> list[SampleRef]:
        """The samples of these lanes in global batch number `step`."""
        refs = []
        for number, own in enumerate(self.lanes):
            row, epoch = self._row(number, step)
            inside = range(max(lanes.start, own.start), min(lanes.stop, own.stop))
            refs += [SampleRef(number, int(row[lane - own.start]), epoch) for lane in inside]
        return refs

    def rest_of_block(self, step: int, lane: int) -> tuple[int, list[int]]:
        """The data set of a lane and its samples from this batch on that lie in one block, in the lane's order."""
        number = next(i for i, own in enumerate(self.lanes) if lane in own)
        number_of_epoch, position = divmod(step, self.batches[number])
        order = self.epoch(number, number_of_epoch)
        rest_P = order.lanes_PB[position:, lane - self.lanes[number].start]
        other = np.flatnonzero(order.block_N[rest_P] != order.block_N[rest_P[0]])
        return number, rest_P[: other[0] if len(other) else None].tolist()

    def _row(self, number: int, step: int) -> tuple[Indices, int]:
        """The samples of a data set in a batch, and the data set's epoch."""
        epoch, position = divmod(step, self.batches[number])
        return self.epoch(number, epoch).lanes_PB[position], epoch

    def epoch(self, number: int, epoch: int) -> Epoch:
        """The order of one epoch of one data set."""
        key = (number, epoch)
        if key not in self._epochs:
            self._epochs[key] = self._make_epoch(number, epoch)
            if len(self._epochs) > KEPT * len(self.data_sets):
                self._epochs.popitem(last=False)
        self._epochs.move_to_end(key)
        return self._epochs[key]

    def _make_epoch(self, number: int, epoch: int) -> Epoch:
        data, options = self.data_sets[number], self.options
        name = (data.fingerprint, self.seed, epoch)
        order = plan.epoch_order(*name, data.shard_N, options.block, len(self.lanes[number]))
        if not options.max_duplicates:
            return order
        return limit_duplicates(order, data.duplicate_groups(options.duplicate_keys), options.max_duplicates, name)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_epochs": OrderedDict()}
