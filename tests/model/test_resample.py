"""Maps brought to another grid: means over areas by sampling, and centres that stay."""

from __future__ import annotations

import pytest
import torch

from sentalign.model import resample
from sentalign.model.receptive_field import RegionGrid

# target grid and cells, source grid and cells
PAIRS = [
    (RegionGrid(8, 0.5), 16, RegionGrid(4, 0.5), 32),  # ResNet: a cell covers two halves and a whole of the finer map
    (RegionGrid(16, 0.5), 9, RegionGrid(4, 0.5), 33),
    (RegionGrid(8, 4.0), 16, RegionGrid(4, 2.0), 32),  # patches: a cell covers two whole ones
    (RegionGrid(8, 0.5), 16, RegionGrid(16, 0.5), 8),
    (RegionGrid(8, 4.0), 16, RegionGrid(32, 16.0), 4),
    (RegionGrid(8, 0.5), 16, RegionGrid(8, 2.5), 16),  # a shift by a quarter
    (RegionGrid(14, 7.0), 9, RegionGrid(14, 7.0), 9),
]


def sampled(target, cells, source, source_cells, points=1 << 12):
    """The mean, over many points of each area, of the source cells' squares, each one source stride wide."""
    width = max(target.stride, source.stride)
    shares = torch.zeros(cells, source_cells, dtype=torch.float64)
    for cell in range(cells):
        for point in range(points):
            place = target.stride * cell + target.offset + width * ((point + 0.5) / points - 0.5)
            square = int((place - source.offset + source.stride / 2) // source.stride)
            if 0 <= square < source_cells:
                shares[cell, square] += 1
    return (shares / shares.sum(1, keepdim=True)).float()


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_weights_are_means_over_the_area_of_a_cell_that_the_map_covers(pair):
    torch.testing.assert_close(resample.weights(*pair), sampled(*pair), atol=1e-6, rtol=0)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_no_centre_moves_but_at_the_border(pair):
    target, cells, source, source_cells = pair
    weights_GH = resample.weights(*pair)
    centres_H = source.stride * torch.arange(float(source_cells)) + source.offset
    expected_G = target.stride * torch.arange(float(cells)) + target.offset
    half = max(target.stride, source.stride) / 2
    inside_G = (expected_G - half >= centres_H[0] - source.stride / 2) & (
        expected_G + half <= centres_H[-1] + source.stride / 2
    )
    assert inside_G.sum() >= cells // 2
    torch.testing.assert_close((weights_GH @ centres_H)[inside_G], expected_G[inside_G])


def test_a_ramp_keeps_its_values_on_both_axes():
    target, fine = RegionGrid(8, 0.5), RegionGrid(4, 0.5)
    rows_GH, columns_GW = resample.weights(target, 8, fine, 16), resample.weights(target, 12, fine, 24)
    y_H, x_W = 4 * torch.arange(16.0) + 0.5, 4 * torch.arange(24.0) + 0.5
    map_BCHW = torch.stack([y_H[:, None].expand(16, 24), x_W.expand(16, 24)])[None]
    found = resample.resample(map_BCHW, rows_GH, columns_GW)
    assert found.shape == (1, 2, 8, 12)
    torch.testing.assert_close(found[0, 0, 1:], (8 * torch.arange(1.0, 8) + 0.5)[:, None].expand(7, 12))
    torch.testing.assert_close(found[0, 1, :, 1:], (8 * torch.arange(1.0, 12) + 0.5).expand(8, 11))


def test_the_same_grid_changes_nothing():
    assert torch.equal(resample.weights(*PAIRS[-1]), torch.eye(9))
