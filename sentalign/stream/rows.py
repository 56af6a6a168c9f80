"""A part of a batch → its rows: read, decoded, squared, tokenised. The work of one worker process.

In: which lanes of which batch. Out: `Rows`, or the error as a value. Any worker may make any part: what it keeps are
bytes that it fetched ahead.
"""

# H side of the square image
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from torch.utils.data import Dataset

from sentalign.config import Data
from sentalign.stream.batch import subset, without
from sentalign.stream.order import plan
from sentalign.stream.order.mixture import Mixture, Slot
from sentalign.stream.read.byte_ranges import DamagedError, LostError
from sentalign.stream.read.fetch import Sample, Shards
from sentalign.stream.read.prefetch import Ahead
from sentalign.text import Row, Tokenizer
from sharding.contract import UserError
from sharding.pixels import letterbox

SUBSTITUTES = 8  # samples that are tried for one slot


@dataclass(frozen=True)
class Part:
    """The lanes of one worker in global batch `step`; step None: the samples of `chosen`, whole reports, no chance."""

    step: int | None
    lanes: range
    chosen: tuple[tuple[int, int], ...] = ()


@dataclass
class Rows:
    """The rows of a part in the order of its lanes, and a line for each sample that another one stands for."""

    samples: list[Sample] = field(default_factory=list)
    encoded: list[Row] = field(default_factory=list)
    chosen: list[list[int]] = field(default_factory=list)  # the sentences of each row, by their number in the report
    epochs: list[int] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)


class Samples(Dataset[Rows | UserError]):
    """Makes the rows of a part."""

    def __init__(self, mixture: Mixture, data: Data, seed: int, tokenizer: Tokenizer) -> None:
        self.mixture, self.data, self.seed, self.tokenizer = mixture, data, seed, tokenizer
        self._dropped = frozenset(data.drop_tags)
        self._ahead: Ahead | None = None
        most = max(part.most_sentences for part in mixture.parts)
        # Units are gathered over ranks, so each rank must have as many: a sentence takes a token at least.
        self.max_sentences = min(most, data.max_tokens - 2)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_ahead": None}

    def __getitem__(self, part: Part) -> Rows | UserError:
        """A user's error comes back as a value: raised in a worker, it would grow a traceback on its way."""
        try:
            return self._rows(part)
        except UserError as error:
            return error

    def shards_of(self, part: Part) -> list[str]:
        """Names of the shards that a part reads."""
        return sorted({self.mixture.parts[slot.part].row(slot.sample)["shard"] for slot in self._slots(part)})

    def _slots(self, part: Part) -> list[Slot]:
        if part.step is None:
            return [Slot(number, sample, 0) for number, sample in part.chosen]
        return self.mixture.slots(part.step, part.lanes)

    def _rows(self, part: Part) -> Rows:
        slots, rows = self._slots(part), Rows()
        for slot, content in zip(slots, self._contents(part, slots), strict=True):
            sample = self._sample(slot, content, rows)
            image_HH, _ = letterbox(sample.grey_HW, self.data.image_size, self.data.long_side)
            said = without(sample, self._dropped)
            if part.step is not None and self.data.sentence_subset:
                said = subset(said, self.seed, slot.epoch, sample.key)
            rows.chosen.append(said[: self.max_sentences])
            texts = [sample.sentences[n] for n in rows.chosen[-1]]
            rows.encoded.append(self.tokenizer.encode(texts, self.data.max_tokens))
            # The decoded picture is let go here: a batch of them would be many times the batch.
            rows.samples.append(replace(sample, grey_HW=image_HH))
            rows.epochs.append(slot.epoch)
        return rows

    def _contents(self, part: Part, slots: list[Slot]) -> list[Callable[[], bytes]]:
        """For each slot what brings its bytes: from the disk when it is called, from a store ahead of that."""
        if self.mixture.local or part.step is None:
            return [partial(self._fetched, slot) for slot in slots]
        self._ahead = self._ahead or Ahead(self.mixture, self.data.prefetch_mb * 2**20)
        return list(self._ahead.take(part.step, part.lanes))

    def _fetched(self, slot: Slot) -> bytes:
        return self.mixture.parts[slot.part].fetch([slot.sample])[0]

    def _sample(self, slot: Slot, content: Callable[[], bytes], rows: Rows) -> Sample:
        shards = self.mixture.parts[slot.part]
        try:
            return self._decoded(shards, slot, content)
        except DamagedError as error:
            if self.data.on_damage == "fail":
                raise
            rows.replaced.append(str(error))
            return self._substitute(shards, slot, error)

    def _decoded(self, shards: Shards, slot: Slot, content: Callable[[], bytes]) -> Sample:
        """The sample; bytes that came over a network are fetched once more where they are not the manifest's."""
        try:
            return shards.decode(slot.sample, content())
        except LostError:
            raise  # it was asked for until patience ended
        except DamagedError:
            if shards.local:
                raise
            return shards.read_again(slot.sample)

    def _substitute(self, shards: Shards, slot: Slot, error: DamagedError) -> Sample:
        """Another sample for the slot, the same on every run."""
        for attempt in range(SUBSTITUTES):
            try:
                return shards.read(plan.substitute(shards.fingerprint, slot.sample, attempt, len(shards)))
            except DamagedError:
                continue
        raise error
