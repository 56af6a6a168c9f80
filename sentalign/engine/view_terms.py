"""The terms that compare a sentence's map in two views of its image: the image tower runs once more on the views.

In: the engine, the regions of some images and the units of all ranks. Out: a divergence for each own sentence and kind
of view, then the terms over the batch of all ranks. Batch norm normalises each kind of view by its own statistics, and
its running statistics are those of the plain images alone.
"""

# m images of a micro-batch, v of them that have a view, b of this rank, V kinds of view, J reports of all ranks,
# K units with padding, M packed units of all ranks, R = G·G regions, D width

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sentalign import dist
from sentalign.engine.inputs import StepInputs
from sentalign.loss import consistency, own_pairs, targets
from sentalign.loss.reference import LossConfig
from sentalign.model import norm
from sentalign.stream.views import CellGrid


def divergences(
    engine: Any, regions_mRD: Tensor, units_MD: Tensor, rows: slice, inputs: StepInputs, config: LossConfig
) -> Tensor:
    """(m, V, K): how far each own sentence's map in a view is from its map in the image; 0 without a view.

    `rows` are those of the micro-batch in this rank's batch. V = 0 without view terms, and in validation.
    """
    kinds = inputs.config.loss.views if inputs.views else {}
    divergence_mVK = regions_mRD.new_zeros(len(regions_mRD), len(kinds), inputs.reports.present_bK.shape[1])
    chosen = inputs.views.rows(rows) if inputs.views else []
    if not chosen:  # the same on all ranks, so that they use the tower equally often
        return divergence_mVK
    places = torch.tensor(chosen, device=regions_mRD.device) - rows.start
    own = regions_mRD[places], inputs.reports.own_units(units_MD, chosen), inputs.reports.present_bK[chosen]
    found = [_divergence(engine, kind, chosen, own, inputs, config) for kind in kinds]
    return divergence_mVK.index_copy(0, places, torch.stack(found, dim=1))


def _divergence(
    engine: Any,
    kind: str,
    chosen: list[int],
    own: tuple[Tensor, Tensor, Tensor],
    inputs: StepInputs,
    config: LossConfig,
) -> Tensor:
    """(v, K), of one kind of view of the chosen rows, given their regions, units and which units are present."""
    assert inputs.views is not None
    regions_vRD, units_vKD, present_vK = own
    stride, offset = engine.region_grid
    grid = CellGrid(stride, offset, math.isqrt(regions_vRD.shape[1]))
    view = inputs.views.make(kind, chosen, grid)
    with norm.frozen_running_stats(engine.module):
        view_vRD = engine(view.images_v1HH).regions_BRD.float()
    with inputs.in_float32():
        plain_vKR, other_vKR = (
            consistency.attention_logits(v_vRD, units_vKD, present_vK, config) for v_vRD in (regions_vRD, view_vRD)
        )
        resampled_vKR = consistency.resampled(plain_vKR, view.places_vGG2)
        return consistency.divergence(resampled_vKR, other_vKR, view.compared_vGG.flatten(1))


def terms(divergence_bVK: Tensor, inputs: StepInputs) -> dict[str, Tensor]:
    """{kind: mean over the sentences that have a view, of all ranks, weighted as in the local terms}; [CLS] is none."""
    if not inputs.views:
        return {}
    has_view_b = torch.tensor(inputs.views.has_view, device=divergence_bVK.device)
    weight_bK = targets.sentence_weights(inputs.reports.own.weight_JK * has_view_b[:, None])
    # Every rank has views of the same of its rows.
    has_view_J = has_view_b.repeat(dist.ranks())
    total = targets.sentence_weights(inputs.reports.gathered.weight_JK * has_view_J[:, None]).sum()
    return {
        kind: own_pairs.mean_over_ranks(divergence_bK, weight_bK, total)
        for kind, divergence_bK in zip(inputs.config.loss.views, divergence_bVK.unbind(1), strict=True)
    }
