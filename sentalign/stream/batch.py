"""Samples → a batch: square pictures, tokens with their sentence numbers, and the words by which sums become means.

In: decoded samples and encoded reports. Out: `Batch`. Reading is in `fetch`, the order in `plan`, random changes of the
pictures in `augment`.
"""

# B images, H side of the square image, S long side of the picture in it, T tokens (padded), K = 1 + most sentences
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sentalign.stream.fetch import Sample
from sentalign.stream.plan import few
from sentalign.text import Row

TOKEN_MULTIPLE = 8  # widths of a few sizes only: allocators and tensor cores like that


@dataclass
class Batch:
    """One rank's share of a global batch.

    images_BHH uint8; tokens_BT int64; attention_BT bool, the real positions; unit_BT int64, the sentence number of each
    position, -1 at [CLS], [SEP] and padding; words_BK float32, column 0 the words of the whole row with [CLS] and
    [SEP], column k the words of sentence k - 1 (0: absent). order_B int64, the rows from the shortest text to the
    longest: its equal pieces (torch.tensor_split) are length buckets, of which piece i needs `widths[i]` positions.
    `hashes` are those of the full stored report, `epochs` those of the data sets that the rows come from, `replaced`
    counts rows that stand for one that cannot be read.
    """

    images_BHH: Tensor
    tokens_BT: Tensor
    attention_BT: Tensor
    unit_BT: Tensor
    words_BK: Tensor
    order_B: Tensor
    widths: tuple[int, ...]
    keys: list[str]
    patients: list[str]
    studies: list[str]
    hashes: list[list[str]]
    epochs: list[int]
    replaced: int = 0

    def to(self, device: torch.device | str) -> Batch:
        """The batch with its tensors on `device`, copied without waiting."""
        return replace(self, **{name: value.to(device, non_blocking=True) for name, value in self._tensors().items()})

    def pin(self) -> Batch:
        """The batch with its tensors in page-locked memory, from which copies to a GPU overlap with work."""
        return replace(self, **{name: value.pin_memory() for name, value in self._tensors().items()})

    def _tensors(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def subset(sentences: Sequence[str], seed: int, epoch: int, key: str) -> list[str]:
    """A random number 1..n of the sentences in random order, fixed by (seed, epoch, key) (METHOD: paper mode)."""
    first, *numbers = few(1 + len(sentences), "subset", seed, epoch, key)
    kept = 1 + first % len(sentences)
    return [sentences[i] for i in sorted(range(len(sentences)), key=numbers.__getitem__)[:kept]]


def without(sample: Sample, dropped: frozenset[str]) -> list[str]:
    """The sentences that carry none of the dropped tags; all of them where that leaves nothing.

    Normal and negated sentences have no region (METHOD: where a larger true batch leads, 7).
    """
    said = list(sample.sentences)
    return [text for text, tags in zip(said, sample.tags, strict=True) if not tags & dropped] or said


def collate(
    samples: Sequence[Sample],
    rows: Sequence[Row],
    max_tokens: int,
    units: int,
    pad: int,
    epochs: list[int],
    replaced: int = 0,
    buckets: int = 1,
) -> Batch:
    """One rank's batch of samples whose pictures are square already; T is the longest row's, a multiple of eight.

    `units` = K is the caller's: units are gathered over ranks, which must all have as many. Rows keep their places:
    `buckets` of similar length are told beside them. There are as many on every rank, so that ranks go in step.
    """
    lengths_B = np.array([len(row.tokens) for row in rows])
    order_B = np.argsort(lengths_B, kind="stable")
    widths = tuple(
        min(-(-int(lengths_B[piece[-1]]) // TOKEN_MULTIPLE) * TOKEN_MULTIPLE, max_tokens)
        for piece in np.array_split(order_B, min(buckets, len(rows)))
    )
    width = widths[-1]
    tokens_BT = np.full((len(rows), width), pad, np.int64)
    unit_BT = np.full((len(rows), width), -1, np.int64)
    words_BK = np.zeros((len(rows), units), np.float32)
    for b, row in enumerate(rows):
        tokens_BT[b, : len(row.tokens)] = row.tokens
        unit_BT[b, : len(row.unit)] = row.unit
        words_BK[b, 0] = row.all_words
        said = row.words[: units - 1]
        words_BK[b, 1 : 1 + len(said)] = said
    return Batch(
        torch.from_numpy(np.stack([sample.grey_HW for sample in samples])),
        torch.from_numpy(tokens_BT),
        torch.from_numpy(np.arange(width) < lengths_B[:, None]),
        torch.from_numpy(unit_BT),
        torch.from_numpy(words_BK),
        torch.from_numpy(order_B),
        widths,
        [sample.key for sample in samples],
        [sample.patient for sample in samples],
        [sample.study for sample in samples],
        [list(sample.hashes) for sample in samples],
        epochs,
        replaced,
    )
