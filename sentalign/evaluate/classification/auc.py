"""Scores and labels → the area under the ROC curve, of a set and of the replicates of its bootstrap.

In: scores and labels of all images. Out: areas. Means and intervals are in `measure`.
"""

# N images, R replicates and the set itself first, G groups of equal scores

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentalign.evaluate.bootstrap import Bootstrap

Array = NDArray[np.float64]


def areas(scores_N: Array, labels_N: Array, bootstrap: Bootstrap) -> Array:
    """(R,): how often an image with the finding (label 1) scores above one without (0); a tie counts one half.

    Images whose label is NaN are left out; NaN where one of both kinds is not drawn.
    """
    known_N = np.isfinite(labels_N)
    order_K = np.flatnonzero(known_N)[np.argsort(scores_N[known_N], kind="stable")]
    positive_K, ordered_K = labels_N[order_K] == 1, scores_N[order_K]
    starts_G = np.flatnonzero(np.concatenate([[True], ordered_K[1:] != ordered_K[:-1]])[: len(order_K)])
    return np.array([_area(weights_N[order_K], positive_K, starts_G) for weights_N in bootstrap.weights()])


def _area(weights_K: Array, positive_K: NDArray[np.bool_], starts_G: NDArray[np.intp]) -> float:
    """The area of the images in the order of their scores, each counted so often."""
    if not len(starts_G):
        return float("nan")
    positive_G = np.add.reduceat(weights_K * positive_K, starts_G)
    negative_G = np.add.reduceat(weights_K * ~positive_K, starts_G)
    pairs = positive_G.sum() * negative_G.sum()
    # Below the positives of a group are the negatives of all lower groups; those of its own count one half.
    below_G = np.cumsum(negative_G) - negative_G / 2
    return float((positive_G * below_G).sum() / pairs) if pairs else float("nan")
