"""Mirrored samples: the square picture flipped left-right, left and right exchanged in every sentence.

In: decoded samples, and shards for the count before a run. Out: mirrored samples, as if they had been stored so: texts,
hashes and study are those of the mirrored image (docs/method.md, augmentation). The exchange of words is `sides.swap`.
"""

# N samples
from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from sentalign.sides import swap
from sentalign.stream.batch import without_tags
from sentalign.stream.order.plan import short_draws
from sentalign.stream.read.byte_ranges import DamagedError
from sentalign.stream.read.fetch import THREADS, DecodedSample, Shards
from sharding.contract import text_hash

LOOKED_AT = 1000  # reports of a data set that are read before a run, to say how many cannot be mirrored


def is_drawn(share: float, seed: int, epoch: int, key: str) -> bool:
    """Whether a sample is among the `share` that is mirrored in this epoch: of (seed, epoch, key) alone."""
    return short_draws(1, "mirror", seed, epoch, key)[0] < share * 2**64


def mirrored(sample: DecodedSample, trained_on: Sequence[int]) -> DecodedSample | None:
    """The sample of the mirrored image; None where one of the sentences numbered in `trained_on` cannot be swapped.

    Another sentence that cannot be swapped keeps its words and its hash. The study has another name: a mirrored and an
    unmirrored image of one study have two reports, unless their words are the same.
    """
    if any(swap(sample.sentences[n]) is None for n in trained_on):
        return None
    sentences = tuple(swap(text) or text for text in sample.sentences)
    stored = zip(sentences, sample.sentences, sample.hashes, strict=True)
    hashes = tuple(digest if text == before else text_hash(text) for text, before, digest in stored)
    return replace(
        sample,
        grey_HW=np.fliplr(sample.grey_HW),
        sentences=sentences,
        hashes=hashes,
        study=f"{sample.study} mirrored",
    )


def cannot_be_mirrored(shards: Shards, dropped: frozenset[str]) -> tuple[int, int]:
    """How many reports cannot be mirrored, and of how many: all, or LOOKED_AT at even distances.

    `dropped` are the tags of sentences that are not trained on. A report that cannot be read is not counted.
    """
    count = min(len(shards), LOOKED_AT)
    indices = [len(shards) * i // count for i in range(count)]

    def refused(index: int) -> bool | None:
        try:
            texts, tags, _ = shards.report(index)
        except DamagedError:
            return None  # the training says so when it comes to it
        return any(swap(texts[n]) is None for n in without_tags(tags, dropped))

    with ThreadPoolExecutor(1 if shards.local else THREADS) as pool:
        found = [answer for answer in pool.map(refused, indices) if answer is not None]
    return sum(found), len(found)
