"""Scores of a validation batch → how well each sentence finds its own image; no loss and no gradient.

In: a rank's rows of scores and the report ids of all ranks. Out: numbers for each unit of the rank's own reports.
"""

# b images or reports of one rank, J reports of all ranks, K units

from __future__ import annotations

from torch import Tensor

from sentalign import dist
from sentalign.loss import targets
from sentalign.loss.objective import GlobalReports


def images_above(local_bJK: Tensor, reports: GlobalReports) -> Tensor:
    """(b, K): how many images of all ranks score at least as high with a unit of an own report as that report's image.

    Images whose stored report has the same sentence are right answers too, so they are not counted. A score that ties
    counts as above, and so does NaN: a model whose scores are all equal finds nothing. Every rank must call it.
    """
    # Each report's own image is on one rank: the sum over ranks has one addend that is not 0.
    own_JK = dist.all_reduce_sum(local_bJK.masked_fill(~reports.own_bJ[:, :, None], 0).sum(dim=0))
    others_bJK = ~targets.shared_sentences(reports.own, reports.gathered) & ~reports.own_bJ[:, :, None]
    above_JK = dist.all_reduce_sum((others_bJK & ~(local_bJK < own_JK)).sum(dim=0))
    return above_JK.chunk(dist.ranks())[dist.rank()]
