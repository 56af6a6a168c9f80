"""Random changes: exact identity, a matrix that tells the truth, no mirror, seeds of the sample."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sentalign.config import Augment
from sentalign.stream.augment import augment, normalize

SIDE = 48
ALL = Augment(shift=0.15, scale=0.3, rotate=0.6, contrast=0.4, brightness=0.2)
KEYS = [f"k{i}" for i in range(8)]


def moved(images, keys, strengths, seed, epoch):
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
    changed, matrices_B23 = moved(images, KEYS, Augment(), 0, 0)
    assert torch.equal(changed, images)
    assert torch.equal(matrices_B23, torch.eye(2, 3, dtype=torch.float64).expand(8, 2, 3))


def test_grey_changes_leave_the_place_and_place_changes_leave_the_grey():
    images = normalize(torch.full((8, SIDE, SIDE), 255, dtype=torch.uint8))
    changed, matrices_B23 = moved(images, KEYS, Augment(contrast=0.5, brightness=0.2), 0, 0)
    assert torch.equal(matrices_B23[0], torch.eye(2, 3, dtype=torch.float64))
    assert all(len(image.unique()) == 1 for image in changed)
    assert changed.flatten(1)[:, 0].unique().numel() > 1
    turned, _ = moved(images, KEYS, Augment(rotate=0.3), 0, 0)
    assert turned[:, :, 16:32, 16:32].sub(1).abs().max() < 1e-5


@given(seed=st.integers(0, 50))
@settings(max_examples=15, deadline=None)
def test_matrix_takes_a_point_where_the_image_takes_it(seed):
    """The slow twin: a blob is drawn at a point, and its centre of mass is looked for in the changed image."""
    side, generator = 64, np.random.default_rng(seed)
    points_B2 = generator.uniform(0.4, 0.6, (4, 2)) * side
    # Pixel i covers [i, i + 1): its centre is at i + 0.5.
    centres_H = np.arange(side) + 0.5
    x_B1H, y_BH1 = points_B2[:, 0, None, None], points_B2[:, 1, None, None]
    blob_BHH = np.exp(-((centres_H[None, None, :] - x_B1H) ** 2 + (centres_H[None, :, None] - y_BH1) ** 2) / 18)
    images = torch.from_numpy(2 * blob_BHH - 1).unsqueeze(1)
    changed, matrices_B23 = moved(images, KEYS[:4], Augment(shift=0.1, scale=0.2, rotate=0.8), seed, 0)
    mass_BHH = (changed[:, 0].numpy() + 1) / 2
    total_B = mass_BHH.sum((1, 2))
    found_B2 = np.stack([(mass_BHH.sum(1) @ centres_H) / total_B, (mass_BHH.sum(2) @ centres_H) / total_B], 1)
    said_B2 = np.einsum("bij,bj->bi", matrices_B23.numpy(), np.column_stack([points_B2, np.ones(4)]))
    np.testing.assert_allclose(found_B2, said_B2, atol=0.02)


def test_never_a_mirror_and_within_the_strengths():
    keys = [str(i) for i in range(500)]
    strengths = Augment(shift=0.2, scale=0.9, rotate=3.15)
    _, matrices_B23 = moved(torch.zeros(500, 1, 8, 8), keys, strengths, 0, 0)
    determinant_B = torch.linalg.det(matrices_B23[:, :, :2])
    assert determinant_B.min() > 0.1**2 - 1e-9
    assert determinant_B.max() <= 1.9**2
    centre_B2 = matrices_B23 @ torch.tensor([4.0, 4.0, 1.0], dtype=torch.float64)
    assert (centre_B2 - 4).abs().max() <= 0.2 * 8
    assert (centre_B2 - 4).abs().max() > 0.15 * 8


def test_outside_comes_in_black_and_greys_stay_in_range():
    images = normalize(torch.full((8, SIDE, SIDE), 255, dtype=torch.uint8))
    assert moved(images, KEYS, Augment(shift=0.5), 0, 0)[0].min() == pytest.approx(-1)
    changed, _ = moved(normalize(pictures()), KEYS, ALL, 0, 0)
    assert changed.min() >= -1
    assert changed.max() <= 1


def test_change_belongs_to_the_sample_not_to_its_place_in_the_batch():
    images = normalize(pictures())
    whole, matrices = moved(images, KEYS, ALL, 5, 2)
    back = torch.arange(7, -1, -1)
    turned, turned_matrices = moved(images[back], KEYS[::-1], ALL, 5, 2)
    torch.testing.assert_close(turned[back], whole)
    assert torch.equal(turned_matrices[back], matrices)
    alone, _ = moved(images[3:4], KEYS[3:4], ALL, 5, 2)
    torch.testing.assert_close(alone, whole[3:4])


def test_seed_and_epoch_change_it():
    images = normalize(pictures())
    found = [moved(images, KEYS, ALL, *name)[1] for name in ((0, 0), (1, 0), (0, 1))]
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
