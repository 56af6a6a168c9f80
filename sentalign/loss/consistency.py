"""How far a sentence's map in another view of its image is from its map in the plain view.

In: regions of images in both views, the sentences of their own reports, and which cells correspond. Out: one divergence
for each sentence. The map is the attention that the contrastive loss itself uses, so that nothing else can satisfy the
term (docs/method.md, consistency of maps). No ranks here: means over the batch of all ranks are `mean_over_ranks`.
"""

# v images that have a view, K units with padding, R = G·G regions, D width

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sentalign import dist
from sentalign.loss.reference import EPSILON, LossConfig

EXCLUDED = -1e9  # as a logit: finite, so that excluded cells add 0 to sums and to gradients


def attention_logits(v_vRD: Tensor, t_vKD: Tensor, present_vK: Tensor, config: LossConfig) -> Tensor:
    """(v, K, R): the logarithm of each image's attention for the units of its own report, but for a constant.

    <u, s> / tau of unit vectors under cosine attention, T1 p under the paper's; k = 0 is [CLS]. A learned temperature
    gets no gradient here: a flat attention agrees with any other.
    """
    sharpness = torch.as_tensor(config.t1 if config.attention == "paper" else 1 / config.tau).detach()
    if config.attention == "cosine":
        v_vRD, t_vKD = F.normalize(v_vRD, dim=-1, eps=EPSILON), F.normalize(t_vKD, dim=-1, eps=EPSILON)
        return sharpness * (t_vKD @ v_vRD.transpose(1, 2))
    e_vKR = t_vKD @ v_vRD.transpose(1, 2)
    return sharpness * e_vKR.masked_fill(~present_vK[:, :, None], -torch.inf).softmax(dim=1)


def resampled(logits_vKR: Tensor, places_vGG2: Tensor) -> Tensor:
    """The map at other places, bilinear, constant beyond its outermost cells; places in grid_sample's coordinates."""
    images, units, regions = logits_vKR.shape
    side = math.isqrt(regions)
    # (v, K, R) -> (v, K, G, G)
    maps = logits_vKR.reshape(images, units, side, side)
    return F.grid_sample(maps, places_vGG2, padding_mode="border", align_corners=False).flatten(2)


def divergence(logits_vKR: Tensor, others_vKR: Tensor, compared_vR: Tensor) -> Tensor:
    """(v, K): Jensen-Shannon divergence of two attentions over the compared cells, 0 to log 2.

    a = softmax over the compared cells, m = (a + a') / 2, JS = sum_r (a log(a / m) + a' log(a' / m)) / 2.
    Both maps get a gradient: with that of one alone, a displaced map is pulled back or pushed on, by the zoom's sign.
    """
    log_vKR, other_vKR = (
        x.masked_fill(~compared_vR[:, None], EXCLUDED).log_softmax(dim=2) for x in (logits_vKR, others_vKR)
    )
    mean_vKR = torch.logaddexp(log_vKR, other_vKR) - math.log(2)
    return sum((x.exp() * (x - mean_vKR)).sum(dim=2) for x in (log_vKR, other_vKR)) / 2  # type: ignore[return-value]


def mean_over_ranks(divergence_bK: Tensor, weight_bK: Tensor, total: Tensor) -> Tensor:
    """sum w JS / sum w over the sentences of all ranks, equal on every rank; `total` is the sum of all ranks' w."""
    return dist.all_reduce_sum((weight_bK * divergence_bK).sum()) / total.clamp(min=EPSILON)
