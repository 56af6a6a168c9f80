"""Duplicate rates: how often samples with something in common are in one batch, as false negatives of the contrast.

In: the codes of what samples have in common, and batches. Out: rates. Which batches are sampled, and which orders are
compared, is in `epoch_preview`.

A sample has a duplicate of a kind in its batch if another sample of the batch has the same study, patient, report
(text: all its sentences in their order) or shard, or a sentence in common, word for word (sentence). Two images of one
study are two samples with one report, so they are duplicates of all of these kinds.
"""

# N samples, M sentences of all samples end to end, S batches, B samples of a batch, C sentences of a batch
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array

from sentalign.stream.order.mixture import Mixture
from sentalign.stream.order.plan import Indices
from sentalign.stream.read import duplicate_keys
from sentalign.stream.read.fetch import KEY_COLUMNS, Shards


@dataclass(frozen=True)
class Rate:
    """Of one kind, a mean over batches.

    `share` is the share of a batch's samples with at least one duplicate in the batch, `error` its standard error (0
    for one batch), `pairs` the number of pairs of duplicates in a batch, each counted once.
    """

    share: float
    pairs: float
    error: float


@dataclass(frozen=True)
class DuplicateKeys:
    """What samples have in common: codes of each kind (N,), -1 for none, and their sentences.

    The sentences of sample n are `sentences_M[begins[n] : begins[n + 1]]`.
    """

    kinds: Mapping[str, Indices]
    sentences_M: Indices
    begins: Indices

    @classmethod
    def of(cls, mixture: Mixture[Shards]) -> DuplicateKeys:
        """All samples, indexed as by `Mixture.batch`. Equal names are one patient in all data sets."""
        columns = {
            kind: pa.concat_arrays([data.column(name) for data in mixture.data_sets])
            for kind, name in KEY_COLUMNS.items()
        }
        kinds = {kind: duplicate_keys.codes(column) for kind, column in columns.items()}
        shards, first = [], 0
        for data in mixture.data_sets:
            shards.append(first + data.shard_N)
            first += int(data.shard_N.max()) + 1
        return cls({**kinds, "shard": np.concatenate(shards)}, *duplicate_keys.sentences(columns["text"]))


def rates(keys: DuplicateKeys, batches_SB: Indices) -> dict[str, Rate]:
    """The rates of every kind over these batches, and `sentence` for reports that share a sentence.

    `sentences` is of the sentences themselves: the share of a batch's sentences that another sample of it has too.
    """
    by_kind = {kind: _group_rate(codes_N[batches_SB]) for kind, codes_N in keys.kinds.items()}
    counts_S3 = np.array([_shared(*_sentences(keys, batch_B), len(batch_B)) for batch_B in batches_SB])
    samples_S, sentences_S, pairs_S = counts_S3.T
    none_S = np.zeros(len(sentences_S))
    return by_kind | {"sentence": _mean(samples_S, pairs_S), "sentences": _mean(sentences_S, none_S)}


def _mean(share_S: np.ndarray, pairs_S: np.ndarray) -> Rate:
    error = share_S.std(ddof=1) / np.sqrt(len(share_S)) if len(share_S) > 1 else 0.0
    return Rate(float(share_S.mean()), float(pairs_S.mean()), float(error))


def _group_rate(groups_SB: Indices) -> Rate:
    """The rate of samples whose code another sample of their row has."""
    batches, width = groups_SB.shape
    numbers = int(groups_SB.max()) + 1
    keys_SB = np.arange(batches)[:, None] * numbers + groups_SB
    keys, counts = np.unique(keys_SB[groups_SB >= 0], return_counts=True)
    in_batch = keys // max(1, numbers)
    share_S = np.bincount(in_batch, counts * (counts > 1), batches) / width
    return _mean(share_S, np.bincount(in_batch, counts * (counts - 1) / 2, batches))


def _sentences(keys: DuplicateKeys, batch_B: Indices) -> tuple[Indices, Indices]:
    """The sentences of a batch, (C,), and the sample of the batch that each is of."""
    lengths_B = keys.begins[batch_B + 1] - keys.begins[batch_B]
    owner_C = np.repeat(np.arange(len(batch_B)), lengths_B)
    place_C = np.arange(len(owner_C)) - np.repeat(np.cumsum(lengths_B) - lengths_B, lengths_B)
    return keys.sentences_M[keys.begins[batch_B][owner_C] + place_C], owner_C


def _shared(sentences_C: Indices, owner_C: Indices, width: int) -> tuple[float, float, float]:
    """Share of the samples that share a sentence, share of the sentences that are shared, pairs of such samples."""
    _, which_C = np.unique(sentences_C, return_inverse=True)
    has = csr_array((np.ones(len(which_C), bool), (owner_C, which_C)), (width, int(which_C.max(initial=0)) + 1))
    owners = has.sum(axis=0)  # samples of each sentence, each once even if it repeats the sentence
    shared_C = owners[which_C] > 1
    samples = len(np.unique(owner_C[shared_C]))
    shared = has[:, owners > 1]
    pairs = ((shared @ shared.T).nnz - samples) // 2  # without each sample with itself
    return samples / width, float(shared_C.mean()) if len(shared_C) else 0.0, pairs
