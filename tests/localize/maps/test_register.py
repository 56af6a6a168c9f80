"""The registered map against slow twins: gradients by finite differences, smoothing and product by plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sentalign.localize.maps import register
from sentalign.localize.maps.heatmap import clean_map, peak
from sentalign.localize.maps.register import SUB_CELLS, Attention, Trace
from sentalign.loss import reference
from sentalign.model.receptive_field import RegionGrid
from sharding.pixels import letterbox

RNG = np.random.default_rng(0)
SIZE, DEPTH = 12, 5
ATTENTIONS = [Attention(0.12, 4.0), Attention(None, 3.0)]


@pytest.fixture(scope="module")
def tower():
    """A small float64 tower with kernels that overlap: regions (1, H, W, D) of 12 x 12 pixels, 4 apart."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 6, 5, 2, 2), nn.Tanh(), nn.Conv2d(6, DEPTH, 3, 2, 1)).double()


def trace_of(tower, image_11SS):
    image_11SS = image_11SS.clone().requires_grad_()
    return Trace(image_11SS, tower(image_11SS).permute(0, 2, 3, 1), np.ones((SIZE, SIZE)))


def slow_attention(attention, scores_R, cls_R):
    """Region by region: the softmax over regions of scores / tau, or of t1 · p, p the softmax over the two units."""
    if attention.tau is not None:
        weights = [np.exp(s / attention.tau) for s in scores_R]
    else:
        weights = [
            np.exp(attention.t1 * np.exp(s) / (np.exp(s) + np.exp(c))) for s, c in zip(scores_R, cls_R, strict=True)
        ]
    return np.array(weights) / sum(weights)


def slow_score(tower, attention, image_SS, units_2D, shift_R):
    """The attended score of one sentence, whose attention reads its scores plus a constant for each region."""
    with torch.no_grad():
        regions_RD = tower(torch.from_numpy(image_SS)[None, None])[0].flatten(1).T.numpy()
    cls_D, sentence_D = units_2D
    if attention.tau is not None:
        regions_RD = np.array([v / np.sqrt(sum(v * v)) for v in regions_RD])
        sentence_D = sentence_D / np.sqrt(sum(sentence_D**2))
    scores_R = np.array([sum(v * sentence_D) for v in regions_RD]) + shift_R
    a_R = slow_attention(attention, scores_R, [sum(v * cls_D) for v in regions_RD])
    attended_D = sum(a * v for a, v in zip(a_R, regions_RD, strict=True))
    return attended_D @ sentence_D / np.sqrt((attended_D @ attended_D) * (sentence_D @ sentence_D))


@pytest.mark.parametrize("attention", ATTENTIONS, ids=["cosine", "paper"])
def test_gradients_are_those_of_finite_differences(tower, attention):
    """Two sentences at once, whose grids are not the scores of the picture: they are the mean of two pictures."""
    image_SS, units_N2D = RNG.normal(size=(SIZE, SIZE)), RNG.normal(size=(2, 2, DEPTH))
    grids_NHW = RNG.uniform(-1, 1, (2, 3, 3))
    trace = trace_of(tower, torch.from_numpy(image_SS)[None, None])
    regions_RD = trace.regions_1HWD.detach().flatten(0, 2).numpy()
    gradients_NSS = trace.gradients(attention, torch.from_numpy(units_N2D), grids_NHW)
    step = 1e-5
    for n, units_2D in enumerate(units_N2D):
        lengths = np.linalg.norm(regions_RD, axis=1) * np.linalg.norm(units_2D[1]) if attention.tau else 1
        shift_R = grids_NHW[n].ravel() - regions_RD @ units_2D[1] / lengths
        for row, column in [(0, 0), (5, 6), (11, 3), (8, 8)]:
            moved_SS = np.zeros((SIZE, SIZE))
            moved_SS[row, column] = step
            up, down = (slow_score(tower, attention, image_SS + s * moved_SS, units_2D, shift_R) for s in (1, -1))
            assert gradients_NSS[n, row, column] == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-9)
    assert all(weight.grad is None for weight in tower.parameters())


@pytest.mark.parametrize(("attention", "name"), [(ATTENTIONS[0], "cosine"), (ATTENTIONS[1], "paper")])
def test_the_attended_score_is_the_one_of_the_loss(attention, name):
    """For a report that consists of the sentence alone, by the specification of the losses."""
    v_RD, t_2D = torch.from_numpy(RNG.normal(size=(7, DEPTH))), torch.from_numpy(RNG.normal(size=(2, DEPTH)))
    config = reference.LossConfig(name, t1=attention.t1, tau=attention.tau or 1.0)
    expected = reference.unit_scores(v_RD[None], t_2D[None], torch.ones(1, 2, dtype=torch.bool), config)[0, 0, 1]
    units = [v / v.norm(dim=-1, keepdim=True) for v in (v_RD, t_2D)] if attention.tau else [v_RD, t_2D]
    grid_1R = (units[0] @ units[1][1])[None]
    assert attention.scores(v_RD[None], t_2D[None], grid_1R).item() == pytest.approx(expected.item(), abs=1e-12)


def slow_smooth(values, inside, sigma):
    """Every pixel by itself: the weighted mean of the pixels inside within 4 sigma along each axis."""
    reach, size = int(4 * sigma + 0.5), len(values)
    out = np.zeros_like(values)
    for row in range(size):
        for column in range(size):
            total = weights = 0.0
            for y in range(max(0, row - reach), min(size, row + reach + 1)):
                for x in range(max(0, column - reach), min(size, column + reach + 1)):
                    weight = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2)) * inside[y, x]
                    total, weights = total + weight * values[y, x], weights + weight
            out[row, column] = total / weights if weights else 0.0
    return out


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_smoothing_takes_only_pixels_of_the_picture(sigma):
    values, inside = RNG.normal(size=(20, 20)), np.zeros((20, 20))
    inside[:, 6:14] = 1
    assert np.allclose(register.smooth(values, inside, sigma), slow_smooth(values, inside, sigma), atol=1e-12)
    assert np.allclose(register.smooth(values * 0 + 3, inside, sigma)[:, 4:16], 3)


def test_evidence_is_the_smoothed_change_of_the_score(tower):
    image_SS, units_N2D, grids_NHW = RNG.normal(size=(12, 12)), RNG.normal(size=(1, 2, DEPTH)), RNG.random((1, 3, 3))
    trace = trace_of(tower, torch.from_numpy(image_SS)[None, None])
    units_N2D = torch.from_numpy(units_N2D)
    evidence_SS = trace.evidence(ATTENTIONS[0], units_N2D, grids_NHW).smoothed(4)[0]
    contrast_SS = image_SS - slow_smooth(image_SS, trace.inside_SS, 2.0)
    changes_SS = np.abs(trace.gradients(ATTENTIONS[0], units_N2D, grids_NHW)[0] * contrast_SS)
    assert np.allclose(evidence_SS, slow_smooth(changes_SS, trace.inside_SS, 2.0), atol=1e-12)


def interpolated(values, y, x):
    """Bilinear between the centres of cells, constant beyond the outermost, as a sum over all cells."""
    height, width = values.shape
    y, x = min(max(y - 0.5, 0), height - 1), min(max(x - 0.5, 0), width - 1)
    weights = [[max(0, 1 - abs(y - i)) * max(0, 1 - abs(x - j)) for j in range(width)] for i in range(height)]
    return float((np.array(weights) * values).sum())


@pytest.mark.parametrize(("stride", "offset", "size"), [(8, 0.5, 40), (8, 4.0, 40), (7, 3.5, 35)])
def test_the_product_is_taken_at_the_centres_of_sub_cells(stride, offset, size):
    grid_HW, evidence_SS = RNG.normal(size=(5, 5)), RNG.random((size, size))
    fine_HW = register.product(grid_HW, evidence_SS, RegionGrid(stride, offset))
    ordered = sorted(grid_HW.ravel())
    above = [[max(0.0, score - ordered[12]) for score in row] for row in grid_HW]  # the middle one of 25
    levels_HW = np.array([[(one / (ordered[-1] - ordered[12])) ** 2 for one in row] for row in above])
    assert fine_HW.shape == (5 * SUB_CELLS, 5 * SUB_CELLS)
    for row in range(0, 20, 3):
        for column in range(20):
            v, u = (row + 0.5) / SUB_CELLS, (column + 0.5) / SUB_CELLS
            level = interpolated(levels_HW, v, u)
            # Cell 0 is centred on the offset.
            y, x = (stride * (cells - 0.5) + offset for cells in (v, u))
            share = interpolated(evidence_SS, y, x) / evidence_SS.max()
            assert fine_HW[row, column] == pytest.approx(level * share**0.5, abs=1e-12)


def test_the_map_is_the_product_smoothed_over_three_quarters_of_a_cell():
    grid_HW, evidence_SS, grid = RNG.random((5, 5)), RNG.random((40, 40)), RegionGrid(8, 4.0)
    product_HW = register.product(grid_HW, evidence_SS, grid)
    map_HW, reach = register.register(grid_HW, evidence_SS, grid), range(-12, 13)  # four sigma
    weights = np.exp([-((step / 3) ** 2) / 2 for step in reach])  # 3/4 of a cell are three sub-cells
    weights /= weights.sum()
    for row, column in ((0, 0), (7, 13), (19, 4)):
        total = 0.0
        for i, down in enumerate(reach):
            for j, right in enumerate(reach):  # beyond the border, the border goes on
                place = min(max(row + down, 0), 19), min(max(column + right, 0), 19)
                total += weights[i] * weights[j] * product_HW[place]
        assert map_HW[row, column] == pytest.approx(total, abs=1e-12)


def test_a_finer_grid_keeps_the_geometry_and_its_exact_peak():
    geometry = letterbox(np.zeros((90, 61), np.uint8), 40)[1]
    fine_HW = register.register(RNG.random((5, 5)), RNG.random((40, 40)), RegionGrid(8, 4.0))
    map_hw = clean_map(fine_HW, geometry)
    x, y = peak(fine_HW, geometry)
    assert map_hw[y, x] == pytest.approx(map_hw.max(), abs=1e-12)


def test_a_constant_grid_or_picture_gives_a_constant_map():
    grid = RegionGrid(8, 4.0)
    assert not register.register(np.full((5, 5), 0.3), RNG.random((40, 40)), grid).any()
    assert not register.register(RNG.random((5, 5)), np.zeros((40, 40)), grid).any()
