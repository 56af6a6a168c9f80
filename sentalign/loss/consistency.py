"""How far a sentence's map in another view of its image is from its map in the plain view.

In: regions of images in both views, the sentences of their own reports, and which cells correspond. Out: one divergence
for each sentence. The map is the attention that the contrastive loss itself uses, so that nothing else can satisfy the
term (docs/method.md, consistency of maps). No ranks here: means over the batch are `own_pairs.mean_over_ranks`.
"""

# v images that have a view, K units with padding, R = G·G regions, D width

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sentalign.loss import own_pairs
from sentalign.loss.reference import LossConfig

EXCLUDED = -1e9  # as a logit: finite, so that excluded cells add 0 to sums and to gradients


def attention_logits(v_vRD: Tensor, t_vKD: Tensor, present_vK: Tensor, config: LossConfig) -> Tensor:
    """(v, K, R): the logarithm of each image's attention for the units of its own report, but for a constant.

    k = 0 is [CLS]. A learned temperature gets no gradient here: a flat attention agrees with any other.
    """
    sharpness = torch.as_tensor(own_pairs.sharpness(config)).detach()
    return own_pairs.attention_logits(v_vRD, t_vKD, present_vK, config, sharpness)


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
