"""A grey image → a perceptual hash: similar for copies of the image, however they were saved, scaled or windowed.

In: the grey image of a sample. Out: 96 hexadecimal digits, one for each low frequency of the image (a DCT of its local
contrast inside the border), or an empty text for an image without structure. All arithmetic is on integers, so that
every machine computes the same digits. `leaks` decides which images are copies.
"""

# H rows, W columns, N = GRID cells a side, L lines, F = DIGITS frequencies
from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sharding.pixels.picture import Grey

DIGITS = 96
PATTERN = f"^[0-9a-f]{{{DIGITS}}}$"  # of an image with structure
GRID = 32
FINE = 128  # cells a side, at least, of the first reduction: one pass over all pixels
COARSE = 64  # cells a side, at least, for the search for the border
RADIUS = 3  # of a box mean, in cells
FLAT = 3  # grey levels; a smaller spread is noise of the codec, not structure

Cells = NDArray[np.int64]


def of(grey_HW: Grey) -> str:
    """The hash of a (H, W) uint8 image, DIGITS long; empty if the image has no structure."""
    small_HW = _reduced(grey_HW, FINE)
    top, bottom, left, right = _content_box(_reduced(small_HW, COARSE), *small_HW.shape)
    cells_NN = _grid_means(small_HW[top:bottom, left:right])
    if cells_NN.max() - cells_NN.min() < 16 * FLAT:
        return ""
    frequencies_F = _frequencies(_local_contrast(cells_NN))
    # One step is a quarter of the root mean square; the clip at two of them touches the few strongest frequencies.
    steps_F = 4 * frequencies_F * math.isqrt(DIGITS << 20) // (max(1, math.isqrt(int((frequencies_F**2).sum()))) << 10)
    return "".join(f"{digit:x}" for digit in np.clip(steps_F + 8, 0, 15))


def content(grey_HW: Grey) -> Grey:
    """The image without its plain border; markers and lettering in the border do not count as content."""
    top, bottom, left, right = _content_box(_reduced(grey_HW, COARSE), *grey_HW.shape)
    return grey_HW[top:bottom, left:right]


def vectors(hashes: list[str]) -> NDArray[np.float32]:
    """The hashes as rows of numbers (L, F) between -7.5 and 7.5, for comparison in bulk."""
    digits = np.frombuffer("".join(hashes).encode(), np.uint8).reshape(len(hashes), DIGITS)
    return np.where(digits < ord("a"), digits - ord("0"), digits - ord("a") + 10).astype(np.float32) - 7.5


def distance(one: str, other: str) -> float:
    """0 for equal hashes, 1 for unrelated, 2 for opposite ones: one minus the cosine. ValueError for an empty one."""
    if len(one) != DIGITS or len(other) != DIGITS:
        raise ValueError("an image without structure has no distance")
    a_F, b_F = vectors([one, other]).astype(float)
    return float(1 - a_F @ b_F / math.sqrt((a_F @ a_F) * (b_F @ b_F)))


def blur(count: int, radius: int) -> NDArray[np.float64]:
    """(count, count) matrix of two box sums with repeated edges; its rows add up to (2 radius + 1) squared."""
    reach = np.clip(np.arange(count)[:, None] + np.arange(-radius, radius + 1)[None, :], 0, count - 1)
    box = (reach[:, :, None] == np.arange(count)).sum(axis=1)
    return np.asarray(box @ box, float)


def _reduced(image_HW: NDArray[np.integer], cells: int) -> Cells:
    """Means over the largest boxes of whole pixels that give `cells` a side or more; the remainder is left out."""
    for axis in (0, 1):
        step = max(1, image_HW.shape[axis] // cells)
        lines = image_HW.shape[axis] // step * step
        parts = [image_HW[first:lines:step] if axis == 0 else image_HW[:, first:lines:step] for first in range(step)]
        image_HW = sum(parts[1:], parts[0].astype(np.int32)) // step
    return image_HW.astype(np.int64)


def _grid_means(cells_HW: Cells) -> Cells:
    """GRID x GRID means, in 1/16 grey level; a cell on the boundary of two boxes counts by its share."""
    rows, columns = (_shares(side) for side in cells_HW.shape)
    # Integers below 2**53 in float64: the fast product is exact.
    sums_NN = rows @ cells_HW.astype(float) @ columns.T
    return np.asarray(16 * sums_NN.astype(np.int64) // (cells_HW.shape[0] * cells_HW.shape[1]))


def _shares(side: int) -> NDArray[np.float64]:
    """(GRID, side) overlap of each cell with each of GRID equal boxes, in 1/GRID cell; rows add up to `side`."""
    starts = np.arange(GRID)[:, None] * side, np.arange(side)[None, :] * GRID
    return np.clip(np.minimum(starts[0] + side, starts[1] + GRID) - np.maximum(*starts), 0, None).astype(float)


def _content_box(coarse_NN: Cells, rows: int, columns: int) -> tuple[int, int, int, int]:
    """top, bottom, left, right of the content, in pixels of an image of rows x columns."""
    top, bottom = _content_range(coarse_NN)
    left, right = _content_range(coarse_NN[top:bottom].T)
    height, width = coarse_NN.shape
    return top * rows // height, bottom * rows // height, left * columns // width, right * columns // width


def _content_range(lines_LN: Cells) -> tuple[int, int]:
    """First and last + 1 of the lines whose spread is a quarter of the usual one or more; all if too few are."""
    ordered_LN = np.sort(lines_LN.astype(np.uint8), axis=1, kind="stable").astype(int)
    count, cells = ordered_LN.shape
    # Percentiles 5 to 85: lettering and markers fill less than 15% of a line of the border.
    spread_L = ordered_LN[:, cells * 85 // 100] - ordered_LN[:, cells * 5 // 100]
    usual = np.sort(spread_L)[count * 5 // 8]
    busy = np.flatnonzero(4 * spread_L > max(usual, 4 * FLAT))
    return (int(busy[0]), int(busy[-1]) + 1) if len(busy) > count // 4 else (0, count)


def _local_contrast(cells_NN: Cells) -> Cells:
    """Each cell against its neighbourhood, in 1/256 of its standard deviation: windows and gamma cancel out."""
    detail_NN = cells_NN - _blurred(cells_NN)
    power_NN = _blurred(detail_NN**2) + (16 * FLAT) ** 2
    return np.asarray((detail_NN << 8) // np.sqrt(power_NN).astype(np.int64))


def _blurred(cells_NN: Cells) -> Cells:
    """Two box means each way, about a Gaussian of 2.8 cells; edges are repeated."""
    sums_NN = BLUR @ cells_NN.astype(float) @ BLUR.T  # integers below 2**53: exact
    return np.asarray(sums_NN.astype(np.int64) // (2 * RADIUS + 1) ** 4)


def _frequencies(cells_NN: Cells) -> Cells:
    """The DIGITS lowest frequencies (DCT-II)."""
    spectrum = COSINES @ cells_NN @ COSINES.T >> 20
    return np.asarray(spectrum[FREQUENCIES[:, 0], FREQUENCIES[:, 1]])


def _lowest() -> NDArray[np.int64]:
    """(row, column) of the lowest frequencies, in order, without zero."""
    pairs = sorted((y * y + x * x, y, x) for y in range(GRID) for x in range(GRID))[1 : DIGITS + 1]
    return np.array([(y, x) for _, y, x in pairs])


FREQUENCIES = _lowest()
BLUR = blur(GRID, RADIUS)
COSINES = np.array(
    [
        [round(math.cos(math.pi * k * (2 * n + 1) / (2 * GRID)) * 4096) for n in range(GRID)]
        for k in range(int(FREQUENCIES.max()) + 1)
    ]
)
