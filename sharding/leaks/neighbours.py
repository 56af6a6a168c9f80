"""Fingerprints → the pairs of them that may be copies, the most promising first.

In: one vector per image and the patient of each. Out: pairs of different patients. Every pair is looked at (one blocked
matrix product), so nothing depends on how the fingerprints are spread: 377,000 of them take minutes on one core, and
the time grows with the square. Whether a pair shows the same picture is found in `leaks`.
"""

# L images, F frequencies, P pairs
from __future__ import annotations

import itertools
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sharding import progress

BLOCK = 2048
EACH = 20  # pairs kept for one image: a thousand pictures that look much the same must not push out all others
PAIRS_EACH = 10  # pairs kept for each image on average
MOST_PAIRS = 4_000_000  # about 100 MB
USUAL = 10  # copies of one image that still stand out; the next partner in its list shows what is usual for it
LEAST_SHRINKAGE = 0.1

Vectors = NDArray[np.float32]
Pairs = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int32]]
NONE: Pairs = (np.empty(0, np.float32), np.empty(0, np.int32), np.empty(0, np.int32))


def alike(vectors_LF: Vectors, patients_L: NDArray[np.integer]) -> NDArray[np.int32]:
    """Indices of at most PAIRS_EACH * L pairs of images of different patients, (P, 2), the most promising first."""
    count = len(vectors_LF)
    budget = min(PAIRS_EACH * count, MOST_PAIRS)
    unit_LF, codes_L = _told_apart(vectors_LF), np.asarray(patients_L, np.int32)
    kept = [NONE]
    held, least = 0, _least(unit_LF, budget)
    starts = range(0, count, BLOCK)
    blocks = itertools.combinations_with_replacement(starts, 2)
    with progress.bar("fingerprints", len(starts) * (len(starts) + 1) // 2) as advance:
        for first, second in blocks:
            kept.append(_block(unit_LF, codes_L, first, second, least))
            held += len(kept[-1][0])
            if held > 2 * budget:
                kept = [_likest(kept, budget)]
                held = len(kept[0][0])
                least = float(kept[0][0][-1]) if held == budget else least
            advance(1)
    return _promising(_likest(kept, budget), count)


def _told_apart(vectors_LF: Vectors) -> Vectors:
    """Unit vectors without what all images have in common.

    The common picture and the usual ways to differ from it are taken out by the data's own mean and covariance, which
    is drawn towards its diagonal where there are few images.
    """
    if len(vectors_LF) < 3:
        return _unit(vectors_LF)
    centred_LF = vectors_LF.astype(np.float64) - vectors_LF.mean(axis=0, dtype=np.float64)
    covariance_FF = centred_LF.T @ centred_LF / len(centred_LF)
    width = len(covariance_FF)
    shrinkage = max(LEAST_SHRINKAGE, width / (width + len(centred_LF)))
    diagonal_FF = np.diag(np.diag(covariance_FF) + 1e-3)
    values_F, axes_FF = np.linalg.eigh((1 - shrinkage) * covariance_FF + shrinkage * diagonal_FF)
    return _unit((centred_LF @ axes_FF / np.sqrt(values_F)).astype(np.float32))


def _least(unit_LF: Vectors, budget: int) -> float:
    """The similarity that about 2 * budget pairs exceed, were it spread normally; -2 where all pairs are wanted."""
    pairs = len(unit_LF) * (len(unit_LF) - 1) / 2
    if pairs <= 2 * budget:
        return -2.0
    sample = unit_LF[np.linspace(0, len(unit_LF) - 1, min(len(unit_LF), BLOCK), dtype=int)]
    products = (sample @ sample.T)[np.triu_indices(len(sample), 1)]
    return float(products.mean() + NormalDist().inv_cdf(1 - 2 * budget / pairs) * products.std())


def _unit(vectors_LF: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors_LF, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors_LF / np.maximum(lengths, 1e-12), np.float32)


def _block(unit_LF: Vectors, codes_L: NDArray[np.int32], first: int, second: int, least: float) -> Pairs:
    """The pairs of two ranges of images from `least` on, each once."""
    rows, columns = slice(first, first + BLOCK), slice(second, second + BLOCK)
    products = unit_LF[rows] @ unit_LF[columns].T
    if float(products.max()) < least:
        return NONE
    one, other = np.divmod(np.flatnonzero(products >= least), products.shape[1])
    wanted = codes_L[rows][one] != codes_L[columns][other]
    if first == second:
        wanted &= one < other
    one, other = one[wanted], other[wanted]
    return products[one, other], (one + first).astype(np.int32), (other + second).astype(np.int32)


def _likest(found: list[Pairs], budget: int) -> Pairs:
    """At most EACH pairs of an image and `budget` in all, by similarity, then by index: always the same order."""
    similarity, one, other = (np.concatenate([pairs[part] for pairs in found]) for part in range(3))
    order = np.lexsort((other, -similarity, one))
    starts = np.searchsorted(one[order], one[order])
    order = order[np.arange(len(order)) - starts < EACH]
    order = order[np.lexsort((other[order], one[order], -similarity[order]))][:budget]
    return similarity[order], one[order], other[order]


def _promising(pairs: Pairs, count: int) -> NDArray[np.int32]:
    """The pairs by similarity and, twice as weighty, by how far that lies above what is usual for their images.

    Images of a rare kind (children, side views) are all alike against the rest; a copy stands out among its own kind.
    """
    similarity, one, other = pairs
    if not len(similarity):
        return np.empty((0, 2), np.int32)
    images, values = np.concatenate([one, other]), np.tile(similarity, 2)
    order = np.lexsort((-values, images))
    place = np.searchsorted(images[order], np.arange(count)) + USUAL
    within = place < np.searchsorted(images[order], np.arange(count), side="right")
    usual_L = np.full(count, similarity[-1])
    usual_L[within] = values[order][place[within]]
    score = 3 * similarity - 2 * np.maximum(usual_L[one], usual_L[other])
    return np.stack([one, other], axis=1)[np.argsort(-score, kind="stable")]
