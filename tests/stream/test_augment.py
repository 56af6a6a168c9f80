"""Random changes: identity at strength zero, points move as the formula says, no mirror, seeds of sample and epoch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sentalign.config import Augment
from sentalign.stream.augment import _motion, _uniform, augment, normalize

SIDE = 48
ALL = Augment(shift=0.15, scale=0.3, rotate=0.6, contrast=0.4, brightness=0.2)
KEYS = [f"k{i}" for i in range(8)]


def changed(images, keys, strengths, seed, epoch):
    """All samples in one epoch."""
    return augment(images, keys, strengths, seed, [epoch] * len(keys))


def pictures(count=8):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE), np.uint8))


def test_normalize_is_the_formula():
    images_BHH = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    expected = (images_BHH.double() / 255 - 0.5) / 0.5
    torch.testing.assert_close(normalize(images_BHH)[:, 0].double(), expected, atol=1e-6, rtol=0)
    assert (normalize(images_BHH).min(), normalize(images_BHH).max()) == (-1, 1)


def test_no_strength_is_no_change():
    images = normalize(pictures())
    assert torch.equal(changed(images, KEYS, Augment(), 0, 0), images)


def test_grey_changes_leave_the_place_and_place_changes_leave_the_grey():
    images = normalize(torch.full((8, SIDE, SIDE), 255, dtype=torch.uint8))
    greys = changed(images, KEYS, Augment(contrast=0.5, brightness=0.2), 0, 0)
    assert all(len(image.unique()) == 1 for image in greys)
    assert greys.flatten(1)[:, 0].unique().numel() > 1
    turned = changed(images, KEYS, Augment(rotate=0.3), 0, 0)
    assert turned[:, :, 16:32, 16:32].sub(1).abs().max() < 1e-5


def moved_points(points_B2, keys, strengths, seed, epoch, side):
    """Where points (x, y) in pixels move to: scaled and rotated about the centre, then shifted."""
    found = []
    for (x, y), (shift_x, shift_y, scale, angle, _, _) in zip(
        points_B2 - side / 2, _uniform(keys, seed, [epoch] * len(keys)), strict=True
    ):
        turned = (1 + strengths.scale * scale) * (x + 1j * y) * np.exp(1j * strengths.rotate * angle)
        found.append((turned.real + strengths.shift * shift_x * side, turned.imag + strengths.shift * shift_y * side))
    return np.array(found) + side / 2


@given(seed=st.integers(0, 50))
@settings(max_examples=15)
def test_a_blob_moves_to_where_the_formula_moves_its_centre(seed):
    side, generator = 64, np.random.default_rng(seed)
    points_B2 = generator.uniform(0.4, 0.6, (4, 2)) * side
    # Pixel i covers [i, i + 1): its centre is at i + 0.5.
    centres_H = np.arange(side) + 0.5
    x_B1H, y_BH1 = points_B2[:, 0, None, None], points_B2[:, 1, None, None]
    blob_BHH = np.exp(-((centres_H[None, None, :] - x_B1H) ** 2 + (centres_H[None, :, None] - y_BH1) ** 2) / 18)
    images, strengths = torch.from_numpy(2 * blob_BHH - 1).unsqueeze(1), Augment(shift=0.1, scale=0.2, rotate=0.8)
    mass_BHH = (changed(images, KEYS[:4], strengths, seed, 0)[:, 0].numpy() + 1) / 2
    total_B = mass_BHH.sum((1, 2))
    found_B2 = np.stack([(mass_BHH.sum(1) @ centres_H) / total_B, (mass_BHH.sum(2) @ centres_H) / total_B], 1)
    expected_B2 = moved_points(points_B2, KEYS[:4], strengths, seed, 0, side)
    np.testing.assert_allclose(found_B2, expected_B2, atol=0.02)
    assert np.abs(expected_B2 - points_B2).max() > 1, "the points do move"


def test_never_a_mirror_and_within_the_strengths():
    keys = [str(i) for i in range(500)]
    linear_B22, shift_B2 = _motion(_uniform(keys, 0, [0] * 500), Augment(shift=0.2, scale=0.9, rotate=3.15))
    determinant_B = np.linalg.det(linear_B22)
    assert determinant_B.min() > 0.1**2 - 1e-9
    assert determinant_B.max() <= 1.9**2
    assert 0.15 < np.abs(shift_B2).max() <= 0.2


def test_pixels_from_outside_are_black_and_greys_stay_in_range():
    images = normalize(torch.full((8, SIDE, SIDE), 255, dtype=torch.uint8))
    assert changed(images, KEYS, Augment(shift=0.5), 0, 0).min() == pytest.approx(-1)
    greys = changed(normalize(pictures()), KEYS, ALL, 0, 0)
    assert greys.min() >= -1
    assert greys.max() <= 1


def test_change_belongs_to_the_sample_not_to_its_place_in_the_batch():
    images = normalize(pictures())
    whole = changed(images, KEYS, ALL, 5, 2)
    back = torch.arange(7, -1, -1)
    torch.testing.assert_close(changed(images[back], KEYS[::-1], ALL, 5, 2)[back], whole)
    torch.testing.assert_close(changed(images[3:4], KEYS[3:4], ALL, 5, 2), whole[3:4])


def test_seed_and_epoch_change_it():
    images = normalize(pictures())
    first, other_seed, other_epoch = (changed(images, KEYS, ALL, *name) for name in ((0, 0), (1, 0), (0, 1)))
    assert not torch.equal(first, other_seed)
    assert not torch.equal(first, other_epoch)
