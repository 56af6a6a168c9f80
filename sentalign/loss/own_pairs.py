"""Products of each image's regions with the units of its own report, and means of their values over the batch.

In: regions of some images, and for each image the units of one report (its own, or that with swapped sides). Out:
cosines, attention, scores, and the distance of the regions that agree best (docs/method.md, attraction of the best
regions). Nothing of other images or reports; the contrast over the batch is `objective`.
"""

# m images of one rank or micro-batch, b of one rank, R regions, K units with padding, D width

from __future__ import annotations

import math

import torch
from torch import Tensor

from sentalign import dist
from sentalign.loss.reference import EPSILON, LossConfig, Scalar


def cosines(v_mRD: Tensor, t_mKD: Tensor) -> Tensor:
    """cos(v_r, t_k), (m, K, R). No unit vectors of regions are formed: they would be a copy of the map."""
    lengths_mK1 = t_mKD.norm(dim=2).clamp(min=EPSILON)[:, :, None]
    return t_mKD @ v_mRD.transpose(1, 2) / _lengths(v_mRD) / lengths_mK1


def sharpness(config: LossConfig) -> Scalar:
    """The factor in the exponent of the attention: 1 / tau, or T1 under the paper's."""
    return config.t1 if config.attention == "paper" else 1 / config.tau


def attention_logits(v_mRD: Tensor, t_mKD: Tensor, present_mK: Tensor, config: LossConfig, sharpness: Scalar) -> Tensor:
    """The logarithm of the attention of each unit but for a constant, (m, K, R): sharpness times <u, s>, or times p.

    Any number where a unit is absent; a report may be without units.
    """
    if config.attention == "cosine":
        return sharpness * cosines(v_mRD, t_mKD)
    counted_mK = present_mK | ~present_mK.any(dim=1, keepdim=True)  # a report without units must be finite
    e_mKR = t_mKD @ v_mRD.transpose(1, 2)
    return sharpness * e_mKR.masked_fill(~counted_mK[:, :, None], -torch.inf).softmax(dim=1)


def scores(v_mRD: Tensor, t_mKD: Tensor, present_mK: Tensor, config: LossConfig) -> Tensor:
    """cos(c_mk, t_mk), (m, K), as `reference.unit_scores`; any number where a unit is absent."""
    a_mKR = attention_logits(v_mRD, t_mKD, present_mK, config, sharpness(config)).softmax(dim=2)
    c_mKD = (a_mKR / _lengths(v_mRD) if config.attention == "cosine" else a_mKR) @ v_mRD
    return (c_mKD * t_mKD).sum(dim=2) / (c_mKD.norm(dim=2) * t_mKD.norm(dim=2)).clamp(min=EPSILON)


def distances(v_mRD: Tensor, t_mKD: Tensor, share: float) -> Tensor:
    """(m, K): the mean of 1 - cos(v_r, t_k) over the share of the regions, rounded up, with the largest cosines."""
    count = math.ceil(round(share * v_mRD.shape[1], 6))  # 0.07 * 100 is 7.000000000000001
    return 1 - cosines(v_mRD, t_mKD).topk(count, dim=2).values.mean(dim=2)


def mean_over_ranks(values_bK: Tensor, weight_bK: Tensor, total: Tensor) -> Tensor:
    """sum w x / sum w over the units of all ranks, equal on every rank; `total` is the sum of all ranks' w."""
    return dist.all_reduce_sum((weight_bK * values_bK).sum()) / total.clamp(min=EPSILON)


def _lengths(v_mRD: Tensor) -> Tensor:
    """(m, 1, R)."""
    return v_mRD.norm(dim=2).clamp(min=EPSILON)[:, None]
