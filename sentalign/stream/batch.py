"""Samples → a batch: square pictures, tokens with the sentence of each, and word counts, which turn sums into means.

In: decoded samples and encoded reports. Out: `Batch`. Reading is in `read/fetch`, the order in `order`, random changes
of the pictures in `augment`.
"""

# B images, H side of the square image, S long side of the picture in it, T tokens (padded), K = 1 + most sentences
# of a row, S most sentences of a stored report, N texts: B reports, then F reports with swapped sides (F = 0 without),
# E sentences of the texts that are rows of their own
from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sentalign.config import Tag
from sentalign.stream import sentences_alone
from sentalign.stream.order.plan import Indices, short_draws
from sentalign.stream.read.fetch import DecodedSample
from sentalign.stream.side_swap import SwappedReport
from sentalign.tokenizer import Row

TAGS: tuple[str, ...] = get_args(Tag)
TOKEN_MULTIPLE = 8  # widths of a few sizes only: allocators and tensor cores like that


@dataclass
class Batch:
    """One rank's share of a global batch.

    images_BHH uint8; tokens_BT int64; attention_BT bool, the real positions; unit_id_BT int64, the sentence of
    each position, -1 at [CLS], [SEP] and padding; word_start_BT bool, the first piece of each word of a sentence;
    word_counts_BK float32, column 0 the words of the whole row with [CLS] and [SEP], column k the words of sentence
    k - 1 (0: absent). order_B int64, the rows from the shortest text to the longest: its equal pieces
    (torch.tensor_split) are length buckets, of which piece i needs `widths[i]` positions. `epochs` are those of the
    data sets of the rows, `replaced` counts rows in place of one that cannot be read. Equal things have equal hashes,
    64 bits of a sha256 (int64): study_B; report_B, of the ordered sentences of the full stored report;
    sentence_hash_BS, of each of them, 0 after the last; unit_hash_BK, of each unit's sentence, 0 at [CLS] and where it
    is absent. tags_BK uint8 are the tags of each unit, bit n for TAGS[n].

    The units are sentences as the stream makes batches, words after `word_units.by_word`.

    `sentences` are the chosen ones of each row. Validation batches have reports with swapped sides as further texts,
    and training batches may: the tensors of texts (tokens, attention, unit ids, word starts, word counts, order) then
    have N rows, the reports and F swapped ones. swapped_F int64 is the row that each of these is of, in rising order;
    negative_BK bool marks units that are compared with their swapped form (`side_swap`).

    Under `data.context=sentence` each sentence of the texts is a row of the text tower too: alone_E3 int64 are its
    text, its first position there and its number of positions, from the shortest to the longest. Its equal pieces are
    further length buckets, of `alone_widths` positions.
    """

    images_BHH: Tensor
    tokens_BT: Tensor
    attention_BT: Tensor
    unit_id_BT: Tensor
    word_start_BT: Tensor
    word_counts_BK: Tensor
    order_B: Tensor
    study_B: Tensor
    report_B: Tensor
    sentence_hash_BS: Tensor
    unit_hash_BK: Tensor
    tags_BK: Tensor
    widths: tuple[int, ...]
    keys: list[str]
    epochs: list[int]
    sentences: list[list[str]]
    replaced: int = 0
    swapped_F: Tensor | None = None
    negative_BK: Tensor | None = None
    alone_E3: Tensor | None = None
    alone_widths: tuple[int, ...] = ()

    def to(self, device: torch.device | str) -> Batch:
        """The batch with its tensors on `device`, copied without waiting."""
        tensors: dict[str, Any] = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        moved: dict[str, Any] = {name: value.to(device, non_blocking=True) for name, value in tensors.items()}
        return replace(self, **moved)


def random_subset(sentences: Sequence[int], seed: int, epoch: int, key: str) -> list[int]:
    """A random number 1..n of the sentences in random order, fixed by (seed, epoch, key) (docs/method.md)."""
    first, *numbers = short_draws(1 + len(sentences), "subset", seed, epoch, key)
    kept = 1 + first % len(sentences)
    return [sentences[i] for i in sorted(range(len(sentences)), key=numbers.__getitem__)[:kept]]


def without_tags(tags: Sequence[frozenset[str]], dropped: frozenset[str]) -> list[int]:
    """Numbers of the sentences, of which `tags` are given, without a dropped tag; all where that leaves nothing.

    Normal and negated sentences have no region (docs/method.md).
    """
    return [n for n, own in enumerate(tags) if not own & dropped] or list(range(len(tags)))


@dataclass(frozen=True)
class Padding:
    """How texts are padded: at most `max_tokens` positions, `units` = K, token `pad`, in `buckets` by length.

    `alone`: sentences are rows of their own too.
    K and the number of buckets are the same on all ranks, which gather units and run the buckets in step.
    """

    max_tokens: int
    units: int
    pad: int
    buckets: int = 1
    alone: bool = False


def collate(
    samples: Sequence[DecodedSample],
    rows: Sequence[Row],
    chosen: Sequence[Sequence[int]],
    epochs: list[int],
    padding: Padding,
    replaced: int = 0,
    swapped: Sequence[SwappedReport | None] = (),
) -> Batch:
    """One rank's batch of samples whose pictures are square already, each with the numbers of its row's sentences.

    T is the longest row's, a multiple of eight. Rows keep their order; `order_B` and `widths` are the length buckets.
    `swapped` are the reports with swapped sides, None for a row without; empty for a batch without them.
    """
    # As many buckets on every rank, however many swapped reports it has.
    padding = replace(padding, buckets=min(padding.buckets, len(rows)))
    text_rows = [*rows, *(report.row for report in swapped if report)]
    texts, widths = _text_arrays(text_rows, padding)
    ids = _hashes_and_tags(samples, chosen, texts["word_counts_BK"][: len(rows)])
    if swapped:
        ids |= _negatives(swapped, texts["word_counts_BK"])
    alone, alone_widths = _alone_rows(text_rows, padding) if padding.alone else ({}, ())
    arrays = {"images_BHH": np.stack([sample.grey_HW for sample in samples]), **texts, **ids, **alone}
    keys = [sample.key for sample in samples]
    sentences = [[sample.sentences[n] for n in numbers] for sample, numbers in zip(samples, chosen, strict=True)]
    tensors: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Batch(
        **tensors,
        widths=widths,
        alone_widths=alone_widths,
        keys=keys,
        epochs=epochs,
        sentences=sentences,
        replaced=replaced,
    )


def _text_arrays(rows: Sequence[Row], padding: Padding) -> tuple[dict[str, NDArray[Any]], tuple[int, ...]]:
    """Tokens, sentences, words and length buckets of a batch, by their names in `Batch`, and `widths`."""
    order_B, widths = _buckets([len(row.tokens) for row in rows], padding)
    tokens_BT = np.full((len(rows), widths[-1]), padding.pad, np.int64)
    unit_id_BT = np.full((len(rows), widths[-1]), -1, np.int64)
    word_start_BT = np.zeros((len(rows), widths[-1]), bool)
    word_counts_BK = np.zeros((len(rows), padding.units), np.float32)
    for b, row in enumerate(rows):
        tokens_BT[b, : len(row.tokens)] = row.tokens
        unit_id_BT[b, : len(row.sentence_ids)] = row.sentence_ids
        word_start_BT[b, : len(row.word_starts)] = row.word_starts
        word_counts_BK[b, 0] = row.total_words
        counts = row.word_counts[: padding.units - 1]
        word_counts_BK[b, 1 : 1 + len(counts)] = counts
    lengths_B = np.array([len(row.tokens) for row in rows])
    arrays = {
        "tokens_BT": tokens_BT,
        "attention_BT": np.arange(widths[-1]) < lengths_B[:, None],
        "unit_id_BT": unit_id_BT,
        "word_start_BT": word_start_BT,
        "word_counts_BK": word_counts_BK,
        "order_B": order_B,
    }
    return arrays, widths


def _alone_rows(rows: Sequence[Row], padding: Padding) -> tuple[dict[str, NDArray[Any]], tuple[int, ...]]:
    """The sentences of the texts as rows of their own, and `alone_widths`."""
    spans_E3 = np.array(sentences_alone.spans(rows, padding.units), np.int64)
    order_E, widths = _buckets([pieces + 2 for pieces in spans_E3[:, 2].tolist()], padding)
    return {"alone_E3": spans_E3[order_E]}, widths


def _negatives(reports: Sequence[SwappedReport | None], word_counts_NK: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Which row each swapped report is of, and its negatives that are there as they are and swapped."""
    of_F = np.array([b for b, report in enumerate(reports) if report], np.int64)
    negative_BK = np.zeros((len(reports), word_counts_NK.shape[1]), bool)
    for b, report in enumerate(reports):
        negative_BK[b, [1 + place for place in report.negatives] if report else []] = True
    negative_BK &= word_counts_NK[: len(reports)] > 0
    negative_BK[of_F] &= word_counts_NK[len(reports) :] > 0
    return {"swapped_F": of_F, "negative_BK": negative_BK}


def _buckets(lengths: list[int], padding: Padding) -> tuple[Indices, tuple[int, ...]]:
    """Rows from the shortest to the longest, and the width of each equal piece of them."""
    order_B = np.argsort(lengths, kind="stable")
    longest = [lengths[piece[-1]] for piece in np.array_split(order_B, min(padding.buckets, len(lengths)))]
    rounded = (-(-length // TOKEN_MULTIPLE) * TOKEN_MULTIPLE for length in longest)
    return order_B, tuple(min(width, padding.max_tokens) for width in rounded)


def _hashes_and_tags(
    samples: Sequence[DecodedSample], chosen: Sequence[Sequence[int]], word_counts_BK: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    sentence_hash_BS = np.zeros((len(samples), max(len(sample.hashes) for sample in samples)), np.int64)
    unit_hash_BK, tags_BK = np.zeros(word_counts_BK.shape, np.int64), np.zeros(word_counts_BK.shape, np.uint8)
    for b, (sample, numbers) in enumerate(zip(samples, chosen, strict=True)):
        sentence_hash_BS[b, : len(sample.hashes)] = hashes = [_int64(digest) for digest in sample.hashes]
        for k, n in enumerate(numbers[: word_counts_BK.shape[1] - 1], start=1):
            unit_hash_BK[b, k] = hashes[n]
            tags_BK[b, k] = sum(1 << TAGS.index(tag) for tag in sample.tags[n])
    unit_hash_BK[word_counts_BK == 0] = 0
    tags_BK[word_counts_BK == 0] = 0
    return {
        "study_B": np.array([_int64(_sha256(sample.study)) for sample in samples]),
        "report_B": np.array([_int64(_sha256(*sample.hashes)) if sample.hashes else 0 for sample in samples]),
        "sentence_hash_BS": sentence_hash_BS,
        "unit_hash_BK": unit_hash_BK,
        "tags_BK": tags_BK,
    }


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _int64(digest: str) -> int:
    """The first 64 bits of a hexadecimal digest, as a signed integer."""
    return int.from_bytes(bytes.fromhex(digest[:16]), "big", signed=True)
