"""The training loss over the batch of ALL ranks, without moving a region map.

In: one rank's features. Out: the four terms of the whole batch, the same on every rank. Regions stay on their rank;
texts are gathered, each rank scores its images against all reports, and only those scores travel
(METHOD: the exact large-batch local loss). The equations are `reference`'s.
"""

# b images or reports of one rank, B of all ranks, R regions, K units, D width

from __future__ import annotations

from torch import Tensor

from sentalign import dist
from sentalign.loss import reference, region_sentence
from sentalign.loss.reference import Terms


def four_terms(
    regions_bRD: Tensor, image_bD: Tensor, units_bKD: Tensor, units_bK: Tensor, report_bD: Tensor, terms: Terms
) -> dict[str, Tensor]:
    """As `reference.four_terms` on the whole batch; every rank must bring equal shapes.

    The gather's backward pass sums over ranks, so the mean over ranks of the parameters' gradients, which DeepSpeed
    takes, is the gradient of the loss that each rank returns.
    """
    units_BKD, units_BK, report_BD = dist.gather(units_bKD), dist.gather(units_bK), dist.gather(report_bD)
    local_bBK = region_sentence.unit_scores(regions_bRD, units_BKD, units_BK, terms)
    global_bB = reference.image_report_scores(image_bD, report_BD)
    return reference.contrast(dist.gather(local_bBK), dist.gather(global_bB), units_BK, terms)
