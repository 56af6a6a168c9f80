"""Every pair of different patients is looked at, copies come first, and a crowd of similar pictures hides none."""

from __future__ import annotations

import numpy as np
import pytest

from sharding.leaks import neighbours
from sharding.leaks.perceptual_hash import DIGITS


def digits(random, count, spread=3.0):
    return np.clip(np.round(random.normal(0, spread, (count, DIGITS)) + 0.5) - 0.5, -7.5, 7.5).astype(np.float32)


def noisy(random, vectors_LF, spread=1.0):
    return np.clip(np.round(vectors_LF + random.normal(0, spread, vectors_LF.shape)) + 0.5, -7.5, 7.5)


def test_few_images_give_all_pairs_of_different_patients():
    random = np.random.default_rng(1)
    patients = random.integers(0, 6, 15)
    found = neighbours.candidates(digits(random, 15), patients)
    assert {tuple(sorted(pair)) for pair in found.tolist()} == {
        (one, other) for one in range(15) for other in range(one + 1, 15) if patients[one] != patients[other]
    }


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_hardly_any_image_is_no_trouble(count):
    found = neighbours.candidates(digits(np.random.default_rng(2), count), np.arange(count))
    assert len(found) == count * (count - 1) // 2


@pytest.mark.parametrize("block", [64, 7, 50])
def test_blocks_change_nothing(monkeypatch, block):
    random = np.random.default_rng(3)
    vectors_LF, patients = digits(random, 200), random.integers(0, 120, 200)
    whole = neighbours.candidates(vectors_LF, patients)
    monkeypatch.setattr(neighbours, "BLOCK", block)
    monkeypatch.setattr(neighbours, "_threshold", lambda *_: -2.0)
    assert set(map(tuple, neighbours.candidates(vectors_LF, patients).tolist())) == set(map(tuple, whole.tolist()))


def test_the_kept_pairs_are_the_likest_of_all():
    """Against a plain look at every pair, where the number of pairs is bounded."""
    random = np.random.default_rng(4)
    vectors_LF = digits(random, 60)
    unit_LF = neighbours._whitened(vectors_LF)
    pairs = [(one, other) for one in range(60) for other in range(one + 1, 60)]
    pairs.sort(key=lambda pair: -float(unit_LF[pair[0]] @ unit_LF[pair[1]]))
    kept: dict[int, int] = {}
    likest = []
    for one, other in pairs:
        kept[one] = kept.get(one, 0) + 1
        if kept[one] <= neighbours.MAX_PER_IMAGE:
            likest.append((one, other))
    found = neighbours.candidates(vectors_LF, np.arange(60))
    assert {tuple(pair) for pair in found.tolist()} == set(likest[: 60 * neighbours.MEAN_PER_IMAGE])


def test_copies_come_first():
    random = np.random.default_rng(5)
    pictures = digits(random, 900)
    vectors_LF = np.concatenate([pictures, noisy(random, pictures[:30])])
    first = neighbours.candidates(vectors_LF, np.arange(930))[:30]
    assert {tuple(pair) for pair in first.tolist()} == {(number, 900 + number) for number in range(30)}


def test_a_copy_stands_out_in_a_crowd_of_a_rare_kind():
    """One image in ten is of a kind whose members are alike, and one of them has a copy."""
    random = np.random.default_rng(6)
    crowd = noisy(random, np.repeat(digits(random, 1), 300, axis=0), 2.5)
    vectors_LF = np.concatenate([crowd, digits(random, 2700), noisy(random, crowd[:1])])
    found = neighbours.candidates(vectors_LF, np.arange(3001))
    assert [0, 3000] in found[:3].tolist()
    assert np.bincount(found[:, 0], minlength=3001).max() <= neighbours.MAX_PER_IMAGE


def test_the_same_input_gives_the_same_order():
    random = np.random.default_rng(7)
    vectors_LF, patients = digits(random, 300), np.arange(300)
    assert np.array_equal(
        neighbours.candidates(vectors_LF, patients), neighbours.candidates(vectors_LF.copy(), patients)
    )
