"""Sentences with left and right swapped as negatives of their own image.

In: the units of one rank's reports with swapped sides, and the margins of the scores of the true ones. Out: the term
of the whole batch, equal on every rank. Each image is compared with the swapped sentences of its own report alone
(`own_pairs.scores`), so nothing but two sums is exchanged (docs/method.md, swapped sentences as negatives). The
equation is `own_pairs_reference.swapped_term`.
"""

# b images or reports of one rank, N of its texts, swapped ones last, M of their packed units, K units with padding,
# D width

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sentalign import dist
from sentalign.loss.reference import EPSILON, Scalar


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


def term(margin_bK: Tensor, negative_bK: Tensor, weight_bK: Tensor, scale: Scalar) -> Tensor:
    """Mean of -log sigmoid(scale (s - s')) over the negatives of all ranks, by the units' weights; margin is s - s'."""
    weight_bK = weight_bK.to(margin_bK) * negative_bK
    losses_bK = F.softplus(-scale * margin_bK)
    loss, weight = dist.all_reduce_sum(torch.stack([(losses_bK * weight_bK).sum(), weight_bK.sum()]))
    return loss / weight.clamp(min=EPSILON)
