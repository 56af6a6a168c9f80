"""Contrasts over images of all ranks, from each rank's own rows of scores.

In: logits of one rank's images against the columns (reports or units) of all ranks, and the mask of pairs. Out: the two
terms of the whole batch, equal on every rank. Rows are complete on their rank; of a column a maximum and three sums
are reduced over ranks, so the bytes grow with the number of columns and not with the square of the batch. The equations
are `reference.softmax_contrast` and `reference.sigmoid_contrast`.
"""

# b images of one rank, U columns: reports of all ranks, or their units

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sentalign import dist
from sentalign.loss.reference import EPSILON, LossConfig, Scalar
from sentalign.loss.targets import PairMask


def contrast(scores_bU: Tensor, mask: PairMask, config: LossConfig, bias: Scalar) -> tuple[Tensor, Tensor]:
    """L(t|v) and L(v|t) of scaled scores by the configured objective."""
    weight_U = mask.weight_U.to(scores_bU)
    known_bU = scores_bU.masked_fill(~mask.kept_IU, 0)
    positive_bU = (mask.positive_IU & mask.kept_IU).to(scores_bU)
    if config.objective == "sigmoid":
        losses_bU = F.softplus((1 - 2 * positive_bU) * (known_bU + bias)) * mask.kept_IU
        half = 0.5 * dist.all_reduce_sum((losses_bU * weight_U).sum()) / weight_U.sum().clamp(min=EPSILON)
        return half, half
    logits_bU, counted_b = scores_bU.masked_fill(~mask.kept_IU, -torch.inf), mask.kept_IU.any(dim=1)
    weighted_bU, share_bU = logits_bU + torch.where(weight_U > 0, weight_U, 1).log(), positive_bU * weight_U
    # A row without a kept pair must be finite, for the gradient's sake; it is not counted.
    whole_b = weighted_bU.masked_fill(~counted_b[:, None], 0).logsumexp(dim=1)
    rows_b = whole_b - (share_bU * known_bU).sum(dim=1) / share_bU.sum(dim=1).clamp(min=EPSILON)
    rows = torch.where(counted_b, rows_b, 0).sum()
    # The maximum only shifts the exponents, so it needs no gradient.
    max_U = torch.where(weight_U > 0, dist.all_reduce_max(logits_bU.detach().amax(dim=0)), 0)
    powers_U = (logits_bU - max_U).exp().sum(dim=0)
    sums = [powers_U, (positive_bU * known_bU).sum(0), positive_bU.sum(0), rows[None], counted_b.sum()[None]]
    totals = dist.all_reduce_sum(torch.cat(sums)).split([*[len(weight_U)] * 3, 2])
    powers_U, positive_scores_U, positives_U, (rows, counted) = totals
    columns_U = max_U + torch.where(weight_U > 0, powers_U, 1).log() - positive_scores_U / positives_U.clamp(min=1)
    return rows / counted.clamp(min=1), (weight_U * columns_U).sum() / weight_U.sum().clamp(min=EPSILON)
