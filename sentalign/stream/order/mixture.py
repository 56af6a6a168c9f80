"""The data sets of a stream as one: which sample of which of them stands in which lane of which batch.

In: the data settings, the shards of a split and the seed. Out: sample indices that count through all data sets, their
places for reading. Pure but for a cache of the last epochs. One data set is a mixture of one.
"""

# B lanes
from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from copy import copy
from dataclasses import dataclass

import numpy as np

from sentalign.config import Data
from sentalign.stream.order import plan
from sentalign.stream.order.limit_duplicates import spread
from sentalign.stream.order.plan import Epoch, Indices
from sentalign.stream.read.cache import cache_of
from sentalign.stream.read.duplicate_keys import groups_of
from sentalign.stream.read.fetch import Shards, with_text

KEPT = 3  # epochs of each data set that stay in memory: the running one and its neighbours
COLUMN_OF = {
    "text": "text_hashes",
    "patient": "patient",
    "study": "study",
}  # of the manifest, by what data.duplicate_keys says


@dataclass(frozen=True)
class Slot:
    """One sample of one batch: data set, sample in it, and the data set's own epoch."""

    part: int
    sample: int
    epoch: int


class Mixture:
    """Data sets by weight. Each runs through epochs of its own; an epoch of the whole ends with the longest of them."""

    def __init__(self, data: Data, split: str, seed: int) -> None:
        """Reads the manifests. Raises UserError where one is missing, or the batch is too small for the data sets."""
        self.seed = seed
        # A data set without validation samples only adds to the training.
        said = [source for source in data.sources if split == data.train_split or with_text([source.url], split)]
        sources = said or data.sources
        cache = cache_of(data)
        self.parts = [Shards(source.url, split, data.patience, cache) for source in sources]
        self._weights = [source.weight for source in sources]
        self._groups: dict[int, Indices] = {}
        self._plan(data)

    def _plan(self, data: Data) -> None:
        self.data = data
        self.lanes = plan.lanes_by_weight(self._weights, data.batch)
        self.epoch_batches = max(
            plan.batches_per_epoch(len(part), len(lanes)) for part, lanes in zip(self.parts, self.lanes, strict=True)
        )
        self._epochs: OrderedDict[tuple[int, int], Epoch] = OrderedDict()

    def under(self, **changes: int) -> Mixture:
        """The same shards under another batch, block or max_duplicates. Raises UserError as the constructor does."""
        other = copy(self)
        other._plan(self.data.model_copy(update=changes))
        return other

    @property
    def fingerprint(self) -> str:
        """The manifest's; of several, a digest of all of them and their lanes."""
        if len(self.parts) == 1:
            return self.parts[0].fingerprint
        said = [(part.fingerprint, len(lanes)) for part, lanes in zip(self.parts, self.lanes, strict=True)]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    @property
    def local(self) -> bool:
        """Whether all shards lie on disks, where reading ahead is the system's."""
        return all(part.local for part in self.parts)

    def whole(self) -> bool:
        """Whether each data set fills its lanes at least once an epoch of its own."""
        return all(len(part) >= len(lanes) for part, lanes in zip(self.parts, self.lanes, strict=True))

    def batch(self, step: int) -> Indices:
        """The samples of a whole batch as numbers that count on through the data sets: (B,)."""
        found, first = [], 0
        for number, (part, own) in enumerate(zip(self.parts, self.lanes, strict=True)):
            epoch, position = divmod(step, plan.batches_per_epoch(len(part), len(own)))
            found.append(first + self.epoch(number, epoch).lanes_PB[position])
            first += len(part)
        return np.concatenate(found)

    def slots(self, step: int, lanes: range) -> list[Slot]:
        """The samples of these lanes in global batch number `step`, counted from the first epoch's start."""
        found = []
        for number, own in enumerate(self.lanes):
            epoch, position = divmod(step, plan.batches_per_epoch(len(self.parts[number]), len(own)))
            row = self.epoch(number, epoch).lanes_PB[position]
            inside = range(max(lanes.start, own.start), min(lanes.stop, own.stop))
            found += [Slot(number, int(row[lane - own.start]), epoch) for lane in inside]
        return found

    def run(self, step: int, lane: int) -> tuple[int, list[int]]:
        """The data set of a lane and its samples from this batch on that lie in one block, in the order of the lane."""
        number = next(i for i, own in enumerate(self.lanes) if lane in own)
        own = self.lanes[number]
        epoch, position = divmod(step, plan.batches_per_epoch(len(self.parts[number]), len(own)))
        said = self.epoch(number, epoch)
        rest_P = said.lanes_PB[position:, lane - own.start]
        other = np.flatnonzero(said.block_N[rest_P] != said.block_N[rest_P[0]])
        return number, rest_P[: other[0] if len(other) else None].tolist()

    def epoch(self, number: int, epoch: int) -> Epoch:
        """The order of one epoch of one data set."""
        key = (number, epoch)
        if key not in self._epochs:
            part, lanes = self.parts[number], self.lanes[number]
            name = (part.fingerprint, self.seed, epoch)
            made = plan.epoch_order(*name, part.shard_N, self.data.block, len(lanes))
            if self.data.max_duplicates:
                made = spread(made, self.groups(number), self.data.max_duplicates, name)
            self._epochs[key] = made
            if len(self._epochs) > KEPT * len(self.parts):
                self._epochs.popitem(last=False)
        self._epochs.move_to_end(key)
        return self._epochs[key]

    def groups(self, number: int) -> Indices:
        """What `data.duplicate_keys` names of each sample of a data set, as numbers: (N, G)."""
        if number not in self._groups:
            part = self.parts[number]
            self._groups[number] = groups_of([part.column(COLUMN_OF[kind]) for kind in self.data.duplicate_keys])
        return self._groups[number]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_epochs": OrderedDict()}
