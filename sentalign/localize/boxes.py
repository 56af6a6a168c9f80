"""A map → boxes in original pixels, and the content of boxes.json.

In: a score grid and its geometry. Out: `Box`es, best first. Pictures are drawn in `overlay`.
"""

# H W grid, h w rows and columns of the raster, N its pixels in a component

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from sentalign.localize.maps.heatmap import Array, clean_map, is_flat, peak
from sharding.pixels import Geometry

RASTER = 1024
OVERLAY, MAP = "{:02d}-overlay.png", "{:02d}-map.npz"  # the files of a sentence, by its number


@dataclass(frozen=True)
class Box:
    """A rectangle in original pixels, (x, y) its upper left corner, and its score in 0 .. 1."""

    x: float
    y: float
    width: float
    height: float
    score: float


@dataclass(frozen=True)
class Localization:
    """One sentence's boxes, best first, and its exact peak pixel (x, y); both empty where the map is constant.

    `mirrored` says whether the mirrored picture took part in the map. `score` is the highest score of the sentence on
    the picture as it is, of no region beside it, a cosine after training with cosine attention: maps are scaled to
    their own range and do not tell how well a sentence fits.
    """

    sentence: str
    boxes: tuple[Box, ...]
    peak: tuple[int, int] | None
    mirrored: bool = False
    score: float = 0.0


def localize(
    sentence: str, grid_HW: Array, geometry: Geometry, level: float, mirrored: bool = False, score: float = 0.0
) -> Localization:
    """Boxes and peak of one sentence's score grid."""
    return Localization(sentence, tuple(boxes(grid_HW, geometry, level)), peak(grid_HW, geometry), mirrored, score)


def boxes(grid_HW: Array, geometry: Geometry, level: float) -> list[Box]:
    """Boxes around the connected components (8 neighbours) of the map above min + `level` · (max - min), best first.

    The score is the component's mean on a scale where the map's minimum is 0 and its maximum 1. Components are labelled
    on a raster of at most 1024 pixels a side. A constant map has no box.
    """
    map_hw = clean_map(grid_HW, geometry, RASTER)
    if is_flat(map_hw):
        return []
    scaled_hw = (map_hw - map_hw.min()) / (map_hw.max() - map_hw.min())
    labels_hw, _ = ndimage.label(scaled_hw >= level, structure=np.ones((3, 3)))
    labels_N, scaled_N = labels_hw[labels_hw > 0], scaled_hw[labels_hw > 0]
    scores = np.bincount(labels_N, scaled_N)[1:] / np.bincount(labels_N)[1:]
    step_y, step_x = geometry.rows / map_hw.shape[0], geometry.columns / map_hw.shape[1]
    results = []
    for (rows, columns), score in zip(ndimage.find_objects(labels_hw), scores, strict=True):
        width, height = columns.stop - columns.start, rows.stop - rows.start
        corner = (columns.start * step_x, rows.start * step_y)
        results.append(Box(*corner, width * step_x, height * step_y, float(score)))
    return sorted(results, key=lambda box: (-box.score, box.y, box.x))


def entry(result: Localization) -> dict[str, Any]:
    """What boxes.json says of a sentence, in original pixels."""
    return {
        "sentence": result.sentence,
        "score": round(result.score, 4),
        "peak": None if result.peak is None else {"x": result.peak[0], "y": result.peak[1]},
        "boxes": [{k: round(v, 4) for k, v in asdict(box).items()} for box in result.boxes],
        "mirrored": result.mirrored,
    }


def as_json(localizations: Sequence[Localization], geometry: Geometry, overlay: str | None = None) -> dict[str, Any]:
    """All sentences of one picture, in original pixels; without the names of file and patient.

    `overlay` is the file of all sentences in one picture, if there is one.
    """
    sentences = [
        {"number": n} | entry(result) | {"overlay": OVERLAY.format(n), "map": MAP.format(n)}
        for n, result in enumerate(localizations, start=1)
    ]
    image = {"rows": geometry.rows, "columns": geometry.columns}
    return {"image": image, "sentences": sentences} | ({"overlay": overlay} if overlay else {})
