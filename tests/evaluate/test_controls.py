"""The controls: sentences that are swapped and shuffled, maps that read none."""

from __future__ import annotations

import numpy as np
import pytest

from sentalign.evaluate.controls import Cells, mean_masks, saliency, shuffle
from sentalign.evaluate.scoring.target import Boxes
from sharding.pixels import Geometry, Picture, letterbox


def test_shuffle_is_a_permutation_into_other_images():
    rng = np.random.default_rng(0)
    images = [f"i{n}" for n in rng.integers(0, 40, 100)]
    partner = shuffle(images, seed=1)
    assert sorted(partner.tolist()) == list(range(100))
    assert all(images[n] != images[p] for n, p in enumerate(partner))
    assert (partner == shuffle(images, seed=1)).all()
    assert (partner != shuffle(images, seed=2)).any()


def test_shuffle_says_where_there_is_no_other_image():
    assert shuffle(["a", "a"], 0).tolist() == [-1, -1]
    assert sorted(shuffle(["a", "b", "a"], 0).tolist())[0] == -1
    assert shuffle([], 0).tolist() == []


def test_mean_mask_never_sees_the_patients_own_boxes():
    shares = np.zeros((4, 2, 2))
    shares[[0, 1, 2, 3], [0, 0, 1, 1], [0, 1, 0, 1]] = 1.0
    means = mean_masks(shares, ["p", "p", "q", "r"])
    assert (means[0] == means[1]).all()
    assert means[0].tolist() == [[0, 0], [0.5, 0.5]]
    assert means[2] == pytest.approx(np.array([[1, 1], [0, 1]]) / 3)
    assert (mean_masks(shares, ["p"] * 4) == 0).all()


def test_cells_average_the_picture_and_skip_padding():
    grey = np.full((100, 50), 40, np.uint8)
    grey[:50] = 200
    frame = letterbox(grey, 224)[1]  # 56 columns of padding on each side
    means = Cells(frame, (8, 8)).mean(grey.astype(float), Geometry.identity(100, 50))
    assert means[:4, 2:6] == pytest.approx(200)
    assert means[4:, 2:6] == pytest.approx(40)
    assert means[:, :2] == pytest.approx(40)  # the lowest value, not the padding's zero
    assert means[:, 6:] == pytest.approx(40)


def test_share_of_a_cell_that_boxes_cover():
    cells = Cells(Geometry.identity(80, 80), (8, 8))
    share = cells.share(Boxes(np.array([[10.0, 20.0, 10.0, 5.0], [10.0, 20.0, 5.0, 5.0], [40.0, 40.0, 20.0, 20.0]])))
    assert share[2, 1] == pytest.approx(0.5)
    assert share[4:6, 4:6] == pytest.approx(1.0)
    assert share.sum() == pytest.approx(4.5)


def test_centre_prior_is_highest_at_the_centre_of_the_picture():
    frame = letterbox(np.zeros((100, 50), np.uint8), 224)[1]
    prior = Cells(frame, (9, 9)).centre()
    assert np.unravel_index(prior.argmax(), prior.shape) == (4, 4)
    # A quarter of the height above the centre: one sigma.
    assert Cells(frame, (8, 8)).centre()[3, 3] == pytest.approx(np.exp(-8 * (1 / 16) ** 2 - 8 * (1 / 8) ** 2))


def test_saliency_maps():
    grey = np.full((60, 80), 100, np.uint8)
    grey[30, 40] = 250
    maps, geometry = saliency(Picture(grey, Geometry.identity(60, 80), {}))
    assert (geometry.height, geometry.width) == (60, 80)
    assert set(maps) == {"bright", "dark", *(f"{kind} {s} px" for kind in ("contrast", "deviation") for s in (2, 4, 8))}
    for name, map_hw in maps.items():
        peak = np.unravel_index(map_hw.argmax(), map_hw.shape)
        assert (peak == (30, 40)) == (name != "dark"), name
