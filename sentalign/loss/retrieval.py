"""Scores of a validation batch → how well each sentence finds its own image, and the image its own sentence.

In: a rank's rows of scores and the report ids of all ranks. Out: numbers for each unit of the rank's own reports. No
loss and no gradient.
"""

# b images or reports of one rank, J reports of all ranks, K units

from __future__ import annotations

import torch
from torch import Tensor

from sentalign import dist
from sentalign.loss import targets
from sentalign.loss.objective import GlobalReports

CANDIDATES = 16  # of a query, its own answer among them, whatever the batch


def images_above(local_bJK: Tensor, reports: GlobalReports) -> tuple[Tensor, Tensor]:
    """(b, K) each: how many images of all ranks are wrong answers to a unit of an own report, and how many of them
    score at least as high with it as that report's image: (above, wrong).

    Images whose stored report has the same sentence are right answers too, so they are not counted. A score that ties
    counts as above, and so does NaN: a model whose scores are all equal finds nothing. Every rank must call it.
    """
    # Each report's own image is on one rank: the sum over ranks has one addend that is not 0.
    own_JK = dist.all_reduce_sum(local_bJK.masked_fill(~reports.own_bJ[:, :, None], 0).sum(dim=0))
    others_bJK = _others(reports)
    counts_2JK = torch.stack([(others_bJK & ~(local_bJK < own_JK)).sum(dim=0), others_bJK.sum(dim=0)])
    above_bK, wrong_bK = dist.all_reduce_sum(counts_2JK).chunk(dist.ranks(), dim=1)[dist.rank()]
    return above_bK, wrong_bK


def sentences_above(local_bJK: Tensor, finding_bK: Tensor, reports: GlobalReports) -> tuple[Tensor, Tensor]:
    """(b, K) each, the same of the findings of all ranks as answers to an own image: (above, wrong).

    `finding_bK` marks this rank's findings: other sentences are true of many images. Every rank must call it.
    """
    finding_JK = dist.gather(finding_bK.to(torch.int64)).bool()
    others_bJK = _others(reports) & finding_JK[None]
    own_bK = local_bJK.masked_fill(~reports.own_bJ[:, :, None], 0).sum(dim=1)
    # One unit of every image at a time: no (b, K, J, K) in memory.
    above = [(others_bJK & ~(local_bJK < own_b[:, None, None])).sum(dim=(1, 2)) for own_b in own_bK.unbind(1)]
    return torch.stack(above, dim=1), others_bJK.sum(dim=(1, 2))[:, None].expand_as(own_bK)


def first_of(candidates: int, above: Tensor, wrong: Tensor) -> Tensor:
    """The chance that no one above is drawn where all but one of `candidates` are drawn from the `wrong` ones.

    So it is the recall at 1 of that many candidates, the mean over all draws, and does not depend on how many there
    are to draw from; NaN where there are too few.
    """
    place = torch.arange(candidates - 1, device=wrong.device, dtype=torch.float64)
    left, below = wrong[..., None] - place, (wrong - above)[..., None] - place
    return (below.clamp(min=0) / left).prod(dim=-1).masked_fill(wrong < candidates - 1, torch.nan)


def _others(reports: GlobalReports) -> Tensor:
    """(b, J, K): the units of other reports that the image's own report does not have."""
    return ~targets.shared_sentences(reports.own, reports.gathered) & ~reports.own_bJ[:, :, None]
