"""Perceptual hashes → pairs of images that may be copies, the most similar first.

In: one vector per image and the patient of each. Out: pairs of different patients. Every pair is compared (one blocked
matrix product), so the result does not depend on how the hashes are distributed: 377,000 of them take minutes on one
core, and the time grows with the square. `leaks` decides whether a pair is one image.
"""

# L images, F frequencies, P pairs
from __future__ import annotations

import itertools
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sharding import progress

BLOCK = 2048
MAX_PER_IMAGE = 20  # a thousand images that look alike must not displace all others
MEAN_PER_IMAGE = 10  # pairs per image on average
MAX_PAIRS = 4_000_000  # about 100 MB
TYPICAL_RANK = 10  # the similarity of an image's 11th partner is typical: up to 10 copies of it stand out
MIN_SHRINKAGE = 0.1

Vectors = NDArray[np.float32]
Pairs = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int32]]
NO_PAIRS: Pairs = (np.empty(0, np.float32), np.empty(0, np.int32), np.empty(0, np.int32))


def candidates(vectors_LF: Vectors, patients_L: NDArray[np.integer]) -> NDArray[np.int32]:
    """Indices of at most MEAN_PER_IMAGE * L pairs of images of different patients, (P, 2), the best first."""
    count = len(vectors_LF)
    budget = min(MEAN_PER_IMAGE * count, MAX_PAIRS)
    unit_LF, codes_L = _whitened(vectors_LF), np.asarray(patients_L, np.int32)
    kept = [NO_PAIRS]
    held, threshold = 0, _threshold(unit_LF, budget)
    starts = range(0, count, BLOCK)
    blocks = itertools.combinations_with_replacement(starts, 2)
    with progress.bar("perceptual hashes", len(starts) * (len(starts) + 1) // 2) as advance:
        for first, second in blocks:
            kept.append(_block(unit_LF, codes_L, first, second, threshold))
            held += len(kept[-1][0])
            if held > 2 * budget:
                kept = [_most_similar(kept, budget)]
                held = len(kept[0][0])
                threshold = float(kept[0][0][-1]) if held == budget else threshold
            advance(1)
    return _ranked(_most_similar(kept, budget), count)


def _whitened(vectors_LF: Vectors) -> Vectors:
    """Unit vectors, whitened: X-rays resemble each other, and differ mostly in the same few ways.

    The covariance is shrunk towards its diagonal when there are few images.
    """
    if len(vectors_LF) < 3:
        return _unit(vectors_LF)
    centred_LF = vectors_LF.astype(np.float64) - vectors_LF.mean(axis=0, dtype=np.float64)
    covariance_FF = centred_LF.T @ centred_LF / len(centred_LF)
    width = len(covariance_FF)
    shrinkage = max(MIN_SHRINKAGE, width / (width + len(centred_LF)))
    diagonal_FF = np.diag(np.diag(covariance_FF) + 1e-3)
    values_F, axes_FF = np.linalg.eigh((1 - shrinkage) * covariance_FF + shrinkage * diagonal_FF)
    return _unit((centred_LF @ axes_FF / np.sqrt(values_F)).astype(np.float32))


def _threshold(unit_LF: Vectors, budget: int) -> float:
    """The similarity that about 2 * budget pairs exceed if it is distributed normally; -2 if all pairs are wanted."""
    pairs = len(unit_LF) * (len(unit_LF) - 1) / 2
    if pairs <= 2 * budget:
        return -2.0
    sample = unit_LF[np.linspace(0, len(unit_LF) - 1, min(len(unit_LF), BLOCK), dtype=int)]
    products = (sample @ sample.T)[np.triu_indices(len(sample), 1)]
    return float(products.mean() + NormalDist().inv_cdf(1 - 2 * budget / pairs) * products.std())


def _unit(vectors_LF: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors_LF, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors_LF / np.maximum(lengths, 1e-12), np.float32)


def _block(unit_LF: Vectors, codes_L: NDArray[np.int32], first: int, second: int, threshold: float) -> Pairs:
    """The pairs between two ranges of images with at least this similarity, each once."""
    rows, columns = slice(first, first + BLOCK), slice(second, second + BLOCK)
    products = unit_LF[rows] @ unit_LF[columns].T
    if float(products.max()) < threshold:
        return NO_PAIRS
    one, other = np.divmod(np.flatnonzero(products >= threshold), products.shape[1])
    wanted = codes_L[rows][one] != codes_L[columns][other]
    if first == second:
        wanted &= one < other
    one, other = one[wanted], other[wanted]
    return products[one, other], (one + first).astype(np.int32), (other + second).astype(np.int32)


def _most_similar(blocks: list[Pairs], budget: int) -> Pairs:
    """At most MAX_PER_IMAGE pairs of an image and `budget` in all, by similarity, then by index: a fixed order."""
    similarity, one, other = (np.concatenate([pairs[part] for pairs in blocks]) for part in range(3))
    order = np.lexsort((other, -similarity, one))
    starts = np.searchsorted(one[order], one[order])
    order = order[np.arange(len(order)) - starts < MAX_PER_IMAGE]
    order = order[np.lexsort((other[order], one[order], -similarity[order]))][:budget]
    return similarity[order], one[order], other[order]


def _ranked(pairs: Pairs, count: int) -> NDArray[np.int32]:
    """The pairs, sorted by similarity plus twice its excess over the typical similarity of their images.

    Images of a rare kind (children, lateral views) resemble each other more than the rest; a copy still stands out.
    """
    similarity, one, other = pairs
    if not len(similarity):
        return np.empty((0, 2), np.int32)
    images, values = np.concatenate([one, other]), np.tile(similarity, 2)
    order = np.lexsort((-values, images))
    place = np.searchsorted(images[order], np.arange(count)) + TYPICAL_RANK
    within = place < np.searchsorted(images[order], np.arange(count), side="right")
    typical_L = np.full(count, similarity[-1])
    typical_L[within] = values[order][place[within]]
    score = 3 * similarity - 2 * np.maximum(typical_L[one], typical_L[other])
    return np.stack([one, other], axis=1)[np.argsort(-score, kind="stable")]
