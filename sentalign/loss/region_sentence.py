"""The region-sentence scores without padding: only units that are there are multiplied.

In: one rank's regions, all ranks' units. Out: as `reference.unit_scores`, absent units zero. Reports differ in their
number of sentences, so the padded form does up to three times the work.
"""

# b images, R regions, B reports, K units with padding, M units that are there, D width

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sentalign.loss.reference import EPSILON, Terms, cosine


def unit_scores(v_bRD: Tensor, t_BKD: Tensor, present_BK: Tensor, terms: Terms) -> Tensor:
    """cos(c_ijk, t_jk) as (b, B, K); equations at `reference.unit_scores`."""
    report_M, place_M = present_BK.nonzero(as_tuple=True)
    t_MD = t_BKD[report_M, place_M]
    if terms.attention == "cosine":
        v_bRD, t_MD = F.normalize(v_bRD, dim=-1, eps=EPSILON), F.normalize(t_MD, dim=-1, eps=EPSILON)
    e_bMR = t_MD @ v_bRD.transpose(1, 2)
    if terms.attention == "cosine":
        a_bMR = (e_bMR / terms.tau).softmax(dim=2)
    else:
        a_bMR = (terms.t1 * _softmax_within(e_bMR, report_M, len(present_BK))).softmax(dim=2)
    scores_bM = cosine(a_bMR @ v_bRD, t_MD)
    scores_bBK = scores_bM.new_zeros(len(v_bRD), *present_BK.shape)
    return scores_bBK.index_put((torch.arange(len(v_bRD), device=v_bRD.device)[:, None], report_M, place_M), scores_bM)


def _softmax_within(e_bMR: Tensor, report_M: Tensor, reports: int) -> Tensor:
    """p: the softmax over the units of one report, for each image and region."""
    report_bMR = report_M[None, :, None].expand_as(e_bMR)
    shape = (e_bMR.shape[0], reports, e_bMR.shape[2])
    # The largest only shifts the exponents, so it needs no gradient.
    largest_bBR = e_bMR.new_full(shape, float("-inf")).scatter_reduce(1, report_bMR, e_bMR.detach(), "amax")
    weight_bMR = (e_bMR - largest_bBR.gather(1, report_bMR)).exp()
    total_bBR = e_bMR.new_zeros(shape).index_add(1, report_M, weight_bMR)
    return weight_bMR / total_bBR.index_select(1, report_M)
