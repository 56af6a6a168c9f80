"""Sentences with left and right swapped as negatives of their own image.

In: one rank's regions, the units of its reports with swapped sides, and its scores with its own reports. Out: the term
of the whole batch, equal on every rank. Each image is compared with the swapped sentences of its own report alone, so
nothing but two sums is exchanged (docs/method.md, swapped sentences as negatives). The equation is
`reference.swapped_term`.
"""

# b images or reports of one rank, m of a micro-batch, R regions, K units with padding, F swapped reports, D width

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sentalign import dist
from sentalign.loss.reference import EPSILON, LossConfig, Scalar


class SwappedReports(NamedTuple):
    """This rank's reports with swapped sides: which units they have, and which of them are negatives of the image.

    Their units are packed behind those of the reports themselves, in the order of their rows.
    """

    present_bK: Tensor
    negative_bK: Tensor

    def split(self, units_MD: Tensor, report_ND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Packed units and report vectors of the reports themselves, and the units of the swapped ones, (b, K, D)."""
        count = int(self.present_bK.sum())
        own, swapped = units_MD.split([len(units_MD) - count, count])
        empty_bKD = units_MD.new_zeros(*self.present_bK.shape, units_MD.shape[1])
        swapped_bKD = empty_bKD.masked_scatter(self.present_bK[:, :, None], swapped)
        return own, report_ND[: len(self.present_bK)], swapped_bKD


def own_scores(v_mRD: Tensor, t_mKD: Tensor, present_mK: Tensor, config: LossConfig) -> Tensor:
    """cos(c_mk, t_mk) of each image with the units of one report of its own; any number where a unit is absent.

    No unit vectors of regions are formed: they would be a copy of the map.
    """
    e_mKR = t_mKD @ v_mRD.transpose(1, 2)
    if config.attention == "cosine":
        lengths_m1R = v_mRD.norm(dim=2).clamp(min=EPSILON)[:, None]
        cosines_mKR = e_mKR / lengths_m1R / t_mKD.norm(dim=2).clamp(min=EPSILON)[:, :, None]
        c_mKD = ((cosines_mKR / config.tau).softmax(dim=2) / lengths_m1R) @ v_mRD
    else:
        counted_mK = present_mK | ~present_mK.any(dim=1, keepdim=True)  # a report without units must be finite
        p_mKR = e_mKR.masked_fill(~counted_mK[:, :, None], -torch.inf).softmax(dim=1)
        c_mKD = (config.t1 * p_mKR).softmax(dim=2) @ v_mRD
    return (c_mKD * t_mKD).sum(dim=2) / (c_mKD.norm(dim=2) * t_mKD.norm(dim=2)).clamp(min=EPSILON)


def term(margin_bK: Tensor, negative_bK: Tensor, weight_bK: Tensor, scale: Scalar) -> Tensor:
    """Mean of -log sigmoid(scale (s - s')) over the negatives of all ranks, by the units' weights; margin is s - s'."""
    weight_bK = weight_bK.to(margin_bK) * negative_bK
    losses_bK = F.softplus(-scale * margin_bK)
    loss, weight = dist.all_reduce_sum(torch.stack([(losses_bK * weight_bK).sum(), weight_bK.sum()]))
    return loss / weight.clamp(min=EPSILON)
