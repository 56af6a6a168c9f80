"""A worker's share of a batch → its rows: read, decoded, resized, some mirrored, tokenised.

In: a `WorkItem`. Out: `Rows`, or the error as a value. Any worker may do any item: it keeps prefetched bytes only.
"""

# H side of the square image
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from torch.utils.data import Dataset

from sentalign.config import Data
from sentalign.stream import mirror, side_swap
from sentalign.stream.batch import random_subset, without_tags
from sentalign.stream.order import plan
from sentalign.stream.order.mixture import Mixture, SampleRef
from sentalign.stream.read.byte_ranges import DamagedError, LostError
from sentalign.stream.read.fetch import DecodedSample, Shards
from sentalign.stream.read.prefetch import Prefetcher
from sentalign.stream.side_swap import SwappedReport
from sentalign.tokenizer import Row, Tokenizer
from sharding.contract import UserError
from sharding.pixels import letterbox

SUBSTITUTES = 8  # samples that are tried in place of a damaged one


@dataclass(frozen=True)
class WorkItem:
    """A worker's lanes of global batch `step`. In validation `step` is None: whole reports of the samples `refs`."""

    step: int | None
    lanes: range
    refs: tuple[SampleRef, ...] = ()


@dataclass
class Rows:
    """The rows of a work item in the order of its lanes, and a line for each sample that was replaced."""

    samples: list[DecodedSample] = field(default_factory=list)
    encoded: list[Row] = field(default_factory=list)
    chosen: list[list[int]] = field(default_factory=list)  # the sentences of each row, by their number in the report
    swapped: list[SwappedReport | None] = field(default_factory=list)  # in training only where they are asked for
    epochs: list[int] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)


class RowDataset(Dataset[Rows | UserError]):
    """Work items → rows, in a worker process."""

    def __init__(
        self, mixture: Mixture[Shards], data: Data, seed: int, tokenizer: Tokenizer, swapped: bool = False
    ) -> None:
        """`swapped`: training rows come with their reports' swapped sentences too."""
        self.mixture, self.data, self.seed, self.tokenizer, self.swapped = mixture, data, seed, tokenizer, swapped
        # Prefetching from disks is left to the system.
        self.local = all(shards.local for shards in mixture.data_sets)
        self._dropped = frozenset(data.drop_tags)
        self._prefetcher: Prefetcher | None = None
        longest = max(shards.max_sentences for shards in mixture.data_sets)
        # Units are gathered over ranks, so each rank must have as many: a sentence takes a token at least.
        self.max_sentences = min(longest, data.max_tokens - 2)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_prefetcher": None}

    def __getitem__(self, item: WorkItem) -> Rows | UserError:
        """A user's error is returned as a value: raised in a worker, it would arrive with a traceback in it."""
        try:
            return self._rows(item)
        except UserError as error:
            return error

    def shards_of(self, item: WorkItem) -> list[str]:
        """Names of the shards that an item reads."""
        return sorted({self.mixture.data_sets[ref.data_set].row(ref.index)["shard"] for ref in self._refs(item)})

    def _refs(self, item: WorkItem) -> list[SampleRef]:
        return list(item.refs) if item.step is None else self.mixture.samples(item.step, item.lanes)

    def _rows(self, item: WorkItem) -> Rows:
        refs, rows = self._refs(item), Rows()
        for ref, content in zip(refs, self._contents(item, refs), strict=True):
            sample = self._sample(ref, content, rows)
            image_HH, _ = letterbox(sample.grey_HW, self.data.image_size, self.data.long_side)
            # The full-size picture is released here: a batch of them would be many times the batch.
            sample = replace(sample, grey_HW=image_HH)
            chosen = without_tags(sample.tags, self._dropped)
            if item.step is not None and mirror.is_drawn(self.data.mirror, self.seed, ref.epoch, sample.key):
                sample = mirror.mirrored(sample, chosen) or sample
            if item.step is not None and self.data.sentence_subset:
                chosen = random_subset(chosen, self.seed, ref.epoch, sample.key)
            rows.chosen.append(chosen[: self.max_sentences])
            texts = [sample.sentences[n] for n in rows.chosen[-1]]
            rows.encoded.append(self.tokenizer.encode(texts, self.data.max_tokens))
            if item.step is None or self.swapped:
                is_negative = side_swap.is_sided_finding if item.step is None else side_swap.is_false
                arguments = sample, rows.chosen[-1], is_negative, self.tokenizer, self.data.max_tokens
                rows.swapped.append(side_swap.swapped_report(*arguments))
            rows.samples.append(sample)
            rows.epochs.append(ref.epoch)
        return rows

    def _contents(self, item: WorkItem, refs: list[SampleRef]) -> list[Callable[[], bytes]]:
        """For each sample a call that returns its bytes, which a store is asked for ahead of it."""
        if self.local or item.step is None:
            return [partial(self._fetch, ref) for ref in refs]
        budget = self.data.prefetch_mb * 2**20
        self._prefetcher = self._prefetcher or Prefetcher(self.mixture, budget, self.data.timeout)
        return list(self._prefetcher.take(item.step, item.lanes))

    def _fetch(self, ref: SampleRef) -> bytes:
        return self.mixture.data_sets[ref.data_set].fetch([ref.index])[0]

    def _sample(self, ref: SampleRef, content: Callable[[], bytes], rows: Rows) -> DecodedSample:
        shards = self.mixture.data_sets[ref.data_set]
        try:
            return _decode(shards, ref.index, content)
        except DamagedError as error:
            if self.data.on_damage == "fail":
                raise
            rows.replaced.append(str(error))
            return _substitute(shards, ref.index, error)


def _decode(shards: Shards, index: int, content: Callable[[], bytes]) -> DecodedSample:
    """The sample; bytes that came over a network are fetched once more where their checksum is wrong."""
    try:
        return shards.decode(index, content())
    except LostError:
        raise  # the store has had its retries
    except DamagedError:
        if shards.local:
            raise
        return shards.read_again(index)


def _substitute(shards: Shards, index: int, error: DamagedError) -> DecodedSample:
    """Another sample in place of a damaged one, the same on every run."""
    for attempt in range(SUBSTITUTES):
        try:
            return shards.read(plan.substitute(shards.fingerprint, index, attempt, len(shards)))
        except DamagedError:
            continue
    raise error
