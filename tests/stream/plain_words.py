"""The words of a batch's reports by a loop over positions, as the slow twin of `word_units.by_word`."""

from __future__ import annotations

from dataclasses import replace

import torch


def words_of(batch, b):
    """The words of report b in their order, each as (its positions, its sentence from 0)."""
    words = []
    for place, sentence in enumerate(batch.unit_id_BT[b].tolist()):
        if sentence >= 0 and batch.word_start_BT[b, place]:
            words.append(([], sentence))
        if sentence >= 0:
            words[-1][0].append(place)
    return words


def words_batch(batch, units):
    """The batch without swapped reports, its units its words; row by row, word by word."""
    reports, width = len(batch.images_BHH), batch.tokens_BT.shape[1]
    unit_id, counts = torch.full((reports, width), -1), torch.zeros(reports, units)
    hashes, tags = torch.zeros(reports, units, dtype=torch.int64), torch.zeros(reports, units, dtype=torch.uint8)
    for b in range(reports):
        counts[b, 0] = batch.word_counts_BK[b, 0]
        for number, (places, sentence) in enumerate(words_of(batch, b)):
            unit_id[b, places] = number
            counts[b, 1 + number] = 1
            hashes[b, 1 + number] = batch.unit_hash_BK[b, 1 + sentence]
            tags[b, 1 + number] = batch.tags_BK[b, 1 + sentence]
    texts = {name: getattr(batch, name)[:reports] for name in ("tokens_BT", "attention_BT", "word_start_BT")}
    units_of = {"unit_id_BT": unit_id, "word_counts_BK": counts, "unit_hash_BK": hashes, "tags_BK": tags}
    order = {"order_B": torch.arange(reports), "widths": (width,)}
    return replace(batch, **texts, **units_of, **order, swapped_F=None, negative_BK=None)
