"""The terms of own pairs over a whole batch, as loops over single sentences in plain PyTorch."""

from __future__ import annotations

import math

import torch

from sentalign.stream.augment import normalize
from tests.loss import oracle
from tests.multiproc.test_engine import BATCH, batch, text_vectors


def swapped_loss(model, config, step, ids):
    """The weighted term of the whole batch: two calls of the text tower, then one sentence at a time."""
    from sentalign.engine import loss_scalars

    current = loss_scalars.loss_config(config.loss, model.loss_scalars)
    whole = batch(step, slice(None), swapped=True, alone=config.data.context == "sentence")
    regions = model(normalize(whole.images_BHH).to(next(model.parameters()).dtype)).regions_BRD
    rows = slice(0, BATCH), slice(BATCH, None)
    own, swapped = (sentences(model, whole, part) for part in rows)
    swapped = dict(zip(whole.swapped_F.tolist(), swapped, strict=True))
    scale = 1 / current.tau if current.aggregate == "sentence" else current.t2 * current.t3
    terms, weights = 0, 0
    for i, k in whole.negative_BK.nonzero().tolist():
        both = [score(regions[i], units, k, current) for units in (own[i], swapped[i])]
        terms = terms - ids.weight_JK[i, k] * torch.log(torch.sigmoid(scale * (both[0] - both[1])))
        weights = weights + ids.weight_JK[i, k]
    assert weights > 0
    return config.loss.weight_swapped * (terms / weights).sum()


def attraction_loss(model, config, step, ids):
    """The weighted term of the whole batch: of a sentence, the part of the regions that is nearest to it."""
    whole = batch(step, slice(None), alone=config.data.context == "sentence")
    regions = model(normalize(whole.images_BHH).to(next(model.parameters()).dtype)).regions_BRD
    units = sentences(model, whole, slice(0, BATCH))
    weights = {
        (i, k): ids.weight_JK[i, k] for i in range(BATCH) for k in range(1, len(units[i])) if ids.weight_JK[i, k]
    }
    count = math.ceil(config.loss.attraction_share * regions.shape[1])
    return config.loss.weight_attraction * oracle.attraction_term(regions, units, weights, count)


def sentences(model, whole, rows):
    """Units of each of these texts, of which the first ones are present."""
    units_NKD, _ = text_vectors(model, whole, rows)
    counts = (whole.word_counts_BK[rows] > 0).sum(1).tolist()
    return [list(own[:count]) for own, count in zip(units_NKD, counts, strict=True)]


def score(regions_RD, units, k, config):
    if config.attention == "paper":
        return oracle.paper_cosine(list(regions_RD), units, k, config)
    return oracle.cosine_cosine(list(regions_RD), units[k], config)
