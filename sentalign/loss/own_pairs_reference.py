"""The terms of own pairs of docs/method.md, equation by equation, in one process: the specification of `own_pairs`.

In: features of B images and their B reports. Out: the terms as scalars: swapped sentences as negatives, and attraction
of the best regions. The four terms are `reference`.
"""

# B images or reports, R regions, K units (k = 0 is [CLS]), D width

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from sentalign.loss.reference import LossConfig, cosine, unit_scale, unit_scores


def swapped_term(
    v_BRD: Tensor,
    t_BKD: Tensor,
    present_BK: Tensor,
    swapped_BKD: Tensor,
    swapped_present_BK: Tensor,
    weight_BK: Tensor,
    config: LossConfig,
) -> Tensor:
    """sum w_ik log(1 + exp(-(s_ik - s'_ik) scale)) / sum w_ik over units k of report i with a weight.

    s_ik is the score of image i with unit k of its own report, s'_ik with that of the report with swapped sides.
    """
    rows = (weight_BK > 0).any(dim=1).nonzero()[:, 0]
    if not len(rows):
        return v_BRD.sum() * 0
    both = ((t_BKD, present_BK), (swapped_BKD, swapped_present_BK))
    own, swapped = (
        unit_scores(v_BRD[rows], t_JKD[rows], present_JK[rows], config).diagonal().T for t_JKD, present_JK in both
    )
    losses, weights = F.softplus(-(own - swapped) * unit_scale(config)), weight_BK[rows].to(own)
    return (losses * weights).sum() / weights.sum()


def attraction_term(v_BRD: Tensor, t_BKD: Tensor, weight_BK: Tensor, share: float) -> Tensor:
    """sum w_ik d_ik / sum w_ik over the sentences k >= 1 with a weight; 0 without any.

    d_ik is the mean of 1 - cos(v_ir, t_ik) over the ceil(share R) regions r of the largest cosine.
    """
    weight_BK = weight_BK[:, 1:].to(v_BRD)
    if not weight_BK.any():
        return v_BRD.sum() * 0
    cosines_BKR = cosine(t_BKD[:, 1:, None], v_BRD[:, None])
    best_BKR = cosines_BKR.detach().argsort(dim=2, descending=True)
    regions = v_BRD.shape[1]
    count = next(n for n in range(1, regions + 1) if n / regions > share - 1e-9)
    distance_BK = (1 - cosines_BKR.gather(2, best_BKR[:, :, :count])).mean(dim=2)
    return (weight_BK * distance_BK).sum() / weight_BK.sum()
