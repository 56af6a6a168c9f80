"""A batch whose units are sentences → the same batch with every word as a unit, for `loss.units=word`.

In: a `Batch`. Out: a `Batch` of the same texts, whose units are their words. The local terms read units only, so
nothing else changes for them (docs/method.md, words as units).
"""

# B reports, T positions, K units of sentences with padding, U = 1 + most words of a text
from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sentalign.stream.batch import Batch


def by_word(batch: Batch, max_tokens: int) -> Batch:
    """The reports alone, with U = max_tokens - 1 units, as many on every rank: [CLS], then the words in their order.

    A word has the hash and the tags of its sentence: it is a duplicate where its sentence is. Swapped reports are left
    out, and with them the length buckets.
    """
    reports = len(batch.images_BHH)
    unit_id_BT, start_BT = batch.unit_id_BT[:reports], batch.word_start_BT[:reports]
    word_BT = start_BT.cumsum(dim=1)  # from 1
    sentence_BU = _sentences(word_BT * start_BT, (unit_id_BT + 1) * start_BT, max_tokens - 1)
    word_counts_BU = (sentence_BU > 0).to(batch.word_counts_BK)
    word_counts_BU[:, 0] = batch.word_counts_BK[:reports, 0]
    return replace(
        batch if batch.swapped_F is None else _without_swapped(batch),
        unit_id_BT=(word_BT - 1).masked_fill(unit_id_BT < 0, -1),
        word_counts_BK=word_counts_BU,
        unit_hash_BK=batch.unit_hash_BK.gather(1, sentence_BU),
        tags_BK=batch.tags_BK.gather(1, sentence_BU),
    )


def _sentences(word_BT: Tensor, sentence_BT: Tensor, units: int) -> Tensor:
    """(B, U): the sentence of each unit, from 1; 0 for [CLS] and absent words. Both inputs are 0 but at starts."""
    return word_BT.new_zeros(len(word_BT), units).scatter(1, word_BT, sentence_BT)


def _without_swapped(batch: Batch) -> Batch:
    reports = len(batch.images_BHH)
    names = ("tokens_BT", "attention_BT", "word_start_BT")
    texts = {name: getattr(batch, name)[:reports] for name in names}
    order_B = torch.arange(reports, device=batch.order_B.device)
    widths = (batch.tokens_BT.shape[1],)
    if (spans_E3 := batch.alone_E3) is not None:
        kept_E3 = spans_E3[spans_E3[:, 0] < reports]
        batch = replace(batch, alone_E3=kept_E3, alone_widths=batch.alone_widths[-1:])
    return replace(batch, **texts, order_B=order_B, widths=widths, swapped_F=None, negative_BK=None)
