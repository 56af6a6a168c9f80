"""Whether a frontal chest X-ray looks inverted, upside down or turned: a linear score of a thumbnail.

In: a grey picture. Out: one of `LOOKS`. The score is that of a 12 x 12 thumbnail against `orientation.csv`, a map of
where an upright chest is bright and dark; all eight ways to turn and invert the picture are scored, and another one
than the picture's own is named if it scores higher by far. Coefficients and error rates: `benchmarks/orientation.py`.
"""

# H rows, W columns, S side of the thumbnail, F = S * S, K = 8 ways to turn and invert
from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from sharding.pixels.picture import Grey

SIDE = 12
SAMPLES = 8  # pixels along each side of a cell; more cost more and tell no more
FLAT = 1e-6  # of grey levels; guards the division
MARGIN = 2.0  # natural logarithm of the odds by which another way has to be likelier
UPRIGHT = "upright"
TURNED = ("turned clockwise", "upside down", "turned anticlockwise")
# How a picture looks that has to be turned anticlockwise by 0 to 3 quarters, and the same with inverted greys.
LOOKS = (UPRIGHT, *TURNED, "inverted", *(f"inverted, {turned}" for turned in TURNED))

Thumbnail = NDArray[np.float64]


def looks(grey_HW: Grey) -> str:
    """One of `LOOKS`."""
    scores_K = scores(thumbnail(grey_HW), coefficients())
    best = int(scores_K.argmax())
    return LOOKS[best] if scores_K[best] - scores_K[0] > MARGIN else UPRIGHT


def thumbnail(grey_HW: Grey) -> Thumbnail:
    """The picture squeezed to (S, S), with mean 0 and spread 1, bright and dark ends bent towards 1 and -1."""
    count = SIDE * SAMPLES
    rows, columns = ((2 * np.arange(count) + 1) * side // (2 * count) for side in grey_HW.shape)
    sampled = grey_HW[rows][:, columns]
    # (cell row, pixel row, cell column, pixel column)
    cells_SS = sampled.reshape(SIDE, SAMPLES, SIDE, SAMPLES).mean((1, 3), dtype=np.float64)
    return np.tanh((cells_SS - cells_SS.mean()) / (cells_SS.std() + FLAT))


def scores(thumbnail_SS: Thumbnail, coefficients_4F: NDArray[np.float64]) -> NDArray[np.float64]:
    """The score of each of the ways (K,), in the order of `LOOKS`."""
    turned_4 = coefficients_4F @ thumbnail_SS.reshape(-1)
    return np.concatenate([turned_4, -turned_4])


@cache
def coefficients() -> NDArray[np.float64]:
    """The fitted map, turned clockwise by 0 to 3 quarters (4, F): as good as turning each picture the other way."""
    with (files("sharding.pixels.checks") / "orientation.csv").open() as file:
        map_SS = np.loadtxt(file, delimiter=",")
    return np.array([np.rot90(map_SS, -quarters).ravel() for quarters in range(4)])
