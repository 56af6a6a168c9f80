"""Contrasts over images of all ranks, from each rank's own rows of scores.

In: logits of one rank's images against the columns (reports or units) of all ranks, and what each pair is. Out: the two
terms of the whole batch, equal on every rank. Rows are complete on their rank; of a column a maximum and three sums
travel, so the bytes grow with the number of columns and not with the square of the batch. The equations are
`reference.softmax_both_ways` and `reference.sigmoid_both_ways`.
"""

# b images of one rank, U columns: reports of all ranks, or their units

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sentalign import dist
from sentalign.loss.reference import EPSILON, LossConfig, Number, PairMask


def both_ways(scores_bU: Tensor, of: PairMask, terms: LossConfig, bias: Number) -> tuple[Tensor, Tensor]:
    """L(t|v) and L(v|t) of scaled scores by the objective that is asked for."""
    kept_bU = of.kept_IU & of.counted_I[:, None] & (of.weight_U > 0)
    of = of._replace(kept_IU=kept_bU, positive_IU=of.positive_IU & kept_bU, weight_U=of.weight_U.to(scores_bU.dtype))
    if terms.objective == "sigmoid":
        return _sigmoid(scores_bU, of, bias)
    return _softmax(scores_bU, of)


def _softmax(scores_bU: Tensor, of: PairMask) -> tuple[Tensor, Tensor]:
    positive_bU, weight_U = of.positive_IU.to(scores_bU.dtype), of.weight_U
    known_bU = scores_bU.masked_fill(~of.kept_IU, 0)
    logits_bU = scores_bU.masked_fill(~of.kept_IU, float("-inf"))
    rows = torch.where(of.counted_I, _rows(logits_bU, known_bU, positive_bU, of), 0).sum()
    there_U = weight_U > 0
    # The largest only shifts the exponents, so it needs no gradient.
    largest_U = torch.where(there_U, dist.largest(logits_bU.detach().amax(dim=0)), 0)
    powers_U = (logits_bU - largest_U).exp().sum(dim=0)
    sums = dist.total(
        torch.cat([powers_U, (positive_bU * known_bU).sum(0), positive_bU.sum(0), rows[None], of.counted_I.sum()[None]])
    )
    powers_U, wanted_U, partners_U, (rows, counted) = sums.split([*[len(weight_U)] * 3, 2])
    columns_U = largest_U + torch.where(there_U, powers_U, 1).log() - wanted_U / partners_U.clamp(min=1)
    return rows / counted.clamp(min=1), (weight_U * columns_U).sum() / weight_U.sum().clamp(min=EPSILON)


def _rows(logits_bU: Tensor, known_bU: Tensor, positive_bU: Tensor, of: PairMask) -> Tensor:
    """row_b; of a row that does not count any finite number."""
    weighted_bU = logits_bU + torch.where(of.weight_U > 0, of.weight_U, 1).log()
    share_bU = positive_bU * of.weight_U
    whole_b = weighted_bU.masked_fill(~of.counted_I[:, None], 0).logsumexp(dim=1)
    return whole_b - (share_bU * known_bU).sum(dim=1) / share_bU.sum(dim=1).clamp(min=EPSILON)


def _sigmoid(scores_bU: Tensor, of: PairMask, bias: Number) -> tuple[Tensor, Tensor]:
    sign_bU = 2 * of.positive_IU.to(scores_bU.dtype) - 1
    each_bU = F.softplus(-sign_bU * (scores_bU.masked_fill(~of.kept_IU, 0) + bias)) * of.kept_IU
    half = 0.5 * dist.total((each_bU * of.weight_U).sum()[None])[0] / of.weight_U.sum().clamp(min=EPSILON)
    return half, half
