"""Whether a picture shows anything: its grey levels, and the share of the most frequent one.

In: grey pixels. Out: numbers. A detector that was not exposed, a lost frame and an icon give such pictures.
"""

# H rows, W columns
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sharding.pixels.picture import Grey

FEWEST_LEVELS = 8  # a picture of fewer grey levels says next to nothing
SMALLEST_SIDE = 8  # pixels


SAMPLE = 2**16  # pixels that are looked at first, in equal steps


def largest_share(grey_HW: Grey) -> float:
    """The share of the pixels that have the most frequent grey level; 1 for a constant picture."""
    return float(_counts(grey_HW).max() / grey_HW.size)


def says_nothing(grey_HW: Grey) -> bool:
    """Whether a picture has fewer than eight grey levels, or a side of fewer than eight pixels."""
    if min(grey_HW.shape) < SMALLEST_SIDE:
        return True
    step = max(1, round((grey_HW.size / SAMPLE) ** 0.5))
    return all(np.count_nonzero(_counts(part_HW)) < FEWEST_LEVELS for part_HW in (grey_HW[::step, ::step], grey_HW))


def _counts(grey_HW: Grey) -> NDArray[np.int64]:
    return np.bincount(grey_HW.reshape(-1), minlength=256)
