"""The registered map: a score grid times where in the receptive fields its evidence lies (docs/method.md: maps).

In: the network's input and the regions that were computed from it, with their graph; sentence vectors. Out: evidence
(S, S) on the input's pixels, and finer grids. No gradient of a weight is computed.

A region may score for a lesion at the rim of its receptive field: the score's gradient by the pixels tells where.
The attention is that of the grid, not of the picture alone: a mean with the mirrored picture attends where it points.
"""

# N sentences, H W grid, R regions = H·W, D width, S side of the network input, K sub-cells along an axis

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from sentalign.localize.maps.heatmap import Array, axis_taps, bilinear, is_flat
from sentalign.model.receptive_field import RegionGrid

SUB_CELLS = 4
# In cells: the local mean takes away what is wider than a region, the smoothing joins the two flanks of an edge.
MEAN_SIGMA, SMOOTH_SIGMA = 0.5, 0.5
# In cells, of the finished map: the scores of a large lesion are a plateau, and which sub-cell is highest is noise.
MAP_SIGMA = 0.75
TINY = 1e-300


@dataclass(frozen=True)
class Attention:
    """The attention of the run's loss: over cosines / `tau`, or, where `tau` is None, the paper's with `t1`."""

    tau: float | None
    t1: float

    def scores(self, regions_NRD: Tensor, units_N2D: Tensor, grids_NR: Tensor | None = None) -> Tensor:
        """cos(c, t) of N sentences: (N,). The regions are each sentence's own, or those of one image for all, (R, D).

        c = sum_r a_r v_r is the attended vector. `units_N2D` are [CLS] and the sentence t, the units of a report that
        consists of the sentence; cosine attention needs no [CLS]. With `grids_NR` the attention has their values in
        place of <v_r, t>, whose gradients stay those of the regions.
        """
        if self.tau is not None:
            regions_NRD, units_N2D = normalize(regions_NRD, dim=-1), normalize(units_N2D, dim=-1)
        cls_NR, sentence_NR = (units_N2D @ regions_NRD.mT).unbind(1)
        if grids_NR is not None:
            sentence_NR = sentence_NR + (grids_NR - sentence_NR).detach()
        logits_NR = sentence_NR / self.tau if self.tau is not None else self.t1 * (sentence_NR - cls_NR).sigmoid()
        attended_ND = (logits_NR.softmax(1)[:, None] @ regions_NRD)[:, 0]
        return cosine_similarity(attended_ND, units_N2D[:, 1], dim=-1)


@dataclass(frozen=True)
class Trace:
    """The input of one picture and its regions with the graph between them; `inside_SS` are the picture's pixels."""

    image_11SS: Tensor
    regions_1HWD: Tensor
    inside_SS: Array

    def evidence(self, attention: Attention, units_N2D: Tensor, grids_NHW: Array) -> Evidence:
        """What the evidence of each sentence is made of; it holds no graph."""
        image_SS = self.image_11SS.detach()[0, 0].double().cpu().numpy()
        return Evidence(image_SS, self.inside_SS, self.gradients(attention, units_N2D, grids_NHW))

    def gradients(self, attention: Attention, units_N2D: Tensor, grids_NHW: Array) -> Array:
        """The gradient of each sentence's attended score by the input's pixels, (N, S, S).

        All sentences share the forward pass; each costs one backward pass, to the pixels only. One at a time: several
        in one pass (vmap) took as long on CPU, and memory for each.
        """
        units_N2D = units_N2D.to(self.regions_1HWD)
        grids_NR = torch.from_numpy(grids_NHW).flatten(1).to(units_N2D)
        regions_RD = self.regions_1HWD.detach().flatten(0, 2)
        regions_NRD = regions_RD.expand(len(units_N2D), *regions_RD.shape).clone().requires_grad_()
        score = attention.scores(regions_NRD, units_N2D, grids_NR).sum()
        (by_region_NRD,) = torch.autograd.grad(score, regions_NRD)
        by_pixel = [
            torch.autograd.grad(self.regions_1HWD, self.image_11SS, one_RD.view_as(self.regions_1HWD), True)[0]
            for one_RD in by_region_NRD
        ]
        return torch.cat(by_pixel)[:, 0].double().cpu().numpy()


@dataclass(frozen=True)
class Evidence:
    """A picture's input and the gradients of sentences' scores by its pixels: `smoothed`, the evidence.

    Apart from `Trace` because smoothing needs no model: another thread can do it while the model works.
    """

    image_SS: Array
    inside_SS: Array
    gradients_NSS: Array

    def smoothed(self, stride: int) -> Array:
        """The smoothed |gradient · (input - local mean)| of each sentence, (N, S, S)."""
        contrast_SS = self.image_SS - smooth(self.image_SS, self.inside_SS, MEAN_SIGMA * stride)
        changes_NSS = np.abs(self.gradients_NSS * contrast_SS)
        return np.stack([smooth(one_SS, self.inside_SS, SMOOTH_SIGMA * stride) for one_SS in changes_NSS])


def smooth(values_SS: Array, inside_SS: Array, sigma: float) -> Array:
    """The mean with Gaussian weights over the pixels inside (1, else 0); 0 where none is within 4 sigma."""
    weights_SS = ndimage.gaussian_filter(inside_SS, sigma, mode="constant")
    sums_SS = ndimage.gaussian_filter(values_SS * inside_SS, sigma, mode="constant")
    return np.divide(sums_SS, weights_SS, out=np.zeros_like(sums_SS), where=weights_SS > 0)


def register(grid_HW: Array, evidence_SS: Array, grid: RegionGrid) -> Array:
    """The registered map (H · K, W · K): the product of grid and evidence, smoothed by a Gaussian of 3/4 of a cell."""
    product_HW = product(grid_HW, evidence_SS, grid)
    return np.asarray(ndimage.gaussian_filter(product_HW, MAP_SIGMA * SUB_CELLS, mode="nearest"))


def product(grid_HW: Array, evidence_SS: Array, grid: RegionGrid) -> Array:
    """The levels of the grid times the square root of the evidence, scaled to a maximum of 1: (H · K, W · K).

    Every cell becomes K x K sub-cells, so that the finer grid covers the same square (`cells_geometry`); both factors
    are bilinear at the sub-cells' centres. A constant grid gives a constant map.
    """
    height, width = grid_HW.shape
    rows, columns = (axis_taps(_centres(cells), cells) for cells in (height, width))
    fine_HW = bilinear(levels(grid_HW), rows, columns)
    # Centre j of the sub-cells in pixels: cell 0 is centred on the offset.
    corner, side = grid.offset - grid.stride / 2, len(evidence_SS)
    rows, columns = (axis_taps(corner + grid.stride * _centres(cells), side) for cells in (height, width))
    return fine_HW * np.sqrt(bilinear(evidence_SS / max(float(evidence_SS.max()), TINY), rows, columns))


def levels(grid_HW: Array) -> Array:
    """The square of the scores above their median, scaled to 0 .. 1; 0 everywhere for a constant grid.

    A lung or a side as a whole scores a little for many sentences. There the evidence of heart and diaphragm, which
    have more contrast than most lesions, would outweigh that of the lesion.
    """
    above_HW = np.maximum(grid_HW - np.median(grid_HW), 0)
    return np.zeros_like(above_HW) if is_flat(grid_HW) else np.square(above_HW / max(float(above_HW.max()), TINY))


def _centres(cells: int) -> Array:
    """The centres of the sub-cells, in cells."""
    return (np.arange(cells * SUB_CELLS) + 0.5) / SUB_CELLS
