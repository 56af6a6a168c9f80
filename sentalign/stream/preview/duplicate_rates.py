"""How often samples that are alike meet in one batch: what contrastive learning would take for negatives.

In: what the samples have in common, as numbers, and the batches that hold them. Out: rates. Which batches are looked
at, and what they are held against, is in `epoch_preview`.

A sample of a batch meets a partner of a kind where another sample of the same batch is of the same study, patient,
report (text: all its sentences in their order) or shard, or says one of its sentences word for word (sentence). Two
images of one study are two samples with one report, so they are partners in all of these.
"""

# N samples, M sentences of all samples in a row, S batches, B samples of a batch, C sentences of a batch
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sentalign.stream.order.mixture import COLUMN_OF, Mixture
from sentalign.stream.order.plan import Indices
from sentalign.stream.read import duplicate_keys


@dataclass(frozen=True)
class Rate:
    """Of one kind, a mean over batches.

    `share` is the share of a batch's samples that meet at least one partner, `error` its standard error (0 for one
    batch), `pairs` the number of pairs of partners in a batch, each counted once.
    """

    share: float
    pairs: float
    error: float


@dataclass(frozen=True)
class Alike:
    """What samples have in common: a number of each kind (N,), -1 for none, and the sentences that each one says.

    The sentences of sample n are `sentences_M[begins[n] : begins[n + 1]]`.
    """

    kinds: Mapping[str, Indices]
    sentences_M: Indices
    begins: Indices

    @classmethod
    def of(cls, mixture: Mixture) -> Alike:
        """All samples of a mixture, counted as `Mixture.batch` does. Equal names are one patient in all data sets."""
        columns = {
            kind: pa.concat_arrays([part.column(name) for part in mixture.parts]) for kind, name in COLUMN_OF.items()
        }
        kinds = {kind: duplicate_keys.numbers(column) for kind, column in columns.items()}
        shards, first = [], 0
        for part in mixture.parts:
            shards.append(first + part.shard_N)
            first += int(part.shard_N.max()) + 1
        return cls({**kinds, "shard": np.concatenate(shards)}, *duplicate_keys.sentences(columns["text"]))


def rates(known: Alike, batches_SB: Indices) -> dict[str, Rate]:
    """The rates of every kind over these batches, and `sentence` for reports that share a sentence.

    `said` is of the sentences themselves: the share of a batch's sentences that stand in another sample of it.
    """
    found = {kind: _grouped(groups_N[batches_SB]) for kind, groups_N in known.kinds.items()}
    counted_S3 = np.array([_shared(*_said(known, batch_B), len(batch_B)) for batch_B in batches_SB])
    share_S, said_S, pairs_S = counted_S3.T
    return found | {"sentence": _mean(share_S, pairs_S), "said": _mean(said_S, np.zeros(len(said_S)))}


def _mean(share_S: np.ndarray, pairs_S: np.ndarray) -> Rate:
    error = share_S.std(ddof=1) / np.sqrt(len(share_S)) if len(share_S) > 1 else 0.0
    return Rate(float(share_S.mean()), float(pairs_S.mean()), float(error))


def _grouped(groups_SB: Indices) -> Rate:
    """The rate of samples whose number another sample of their row has."""
    batches, width = groups_SB.shape
    numbers = int(groups_SB.max()) + 1
    keys_SB = np.arange(batches)[:, None] * numbers + groups_SB
    keys, counts = np.unique(keys_SB[groups_SB >= 0], return_counts=True)
    in_batch = keys // max(1, numbers)
    share_S = np.bincount(in_batch, counts * (counts > 1), batches) / width
    return _mean(share_S, np.bincount(in_batch, counts * (counts - 1) / 2, batches))


def _said(known: Alike, batch_B: Indices) -> tuple[Indices, Indices]:
    """The sentences of a batch, (C,), and who of the batch says each."""
    lengths_B = known.begins[batch_B + 1] - known.begins[batch_B]
    who_C = np.repeat(np.arange(len(batch_B)), lengths_B)
    place_C = np.arange(len(who_C)) - np.repeat(np.cumsum(lengths_B) - lengths_B, lengths_B)
    return known.sentences_M[known.begins[batch_B][who_C] + place_C], who_C


def _shared(sentences_C: Indices, who_C: Indices, width: int) -> tuple[float, float, float]:
    """Share of the samples that share a sentence, share of the sentences that are shared, pairs of such samples."""
    _, which_C = np.unique(sentences_C, return_inverse=True)
    # Who says a sentence, each one once even where it is said twice.
    told = np.unique(which_C * width + who_C)
    speakers = np.bincount(told // width, minlength=1)
    shared_C = speakers[which_C] > 1
    partners = len(np.unique(who_C[shared_C]))
    pairs = _pairs(_speakers_of(told, speakers, width), width)
    return partners / width, float(shared_C.mean()) if len(shared_C) else 0.0, pairs


def _speakers_of(told: Indices, speakers: Indices, width: int) -> Iterator[Indices]:
    """The samples that say it, for each sentence that more than one says."""
    ends = np.cumsum(speakers)
    for end, count in zip(ends[speakers > 1].tolist(), speakers[speakers > 1].tolist(), strict=True):
        yield told[end - count : end] % width


def _pairs(groups: Iterator[Indices], width: int) -> int:
    """Pairs that stand together in at least one of the groups; a bit for each pair, since groups overlap."""
    together = np.zeros((width, -(-width // 8)), np.uint8)
    for members in groups:
        row = np.zeros(width, bool)
        row[members] = True
        together[members] |= np.packbits(row)
    itself = int(np.count_nonzero(together.any(axis=1)))
    return (int(np.bitwise_count(together).sum()) - itself) // 2
