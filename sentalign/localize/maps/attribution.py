"""The attribution offset: how far from the peak of its map the pixels lie that a sentence's score rests on.

In: a network input, a sentence and the peak of its map. Out: an offset in pixels of the input, and medians of many. It
needs no boxes: the map of a model whose regions are displaced from their evidence peaks beside it
(docs/method.md: diagnosis).
"""

# N sentences, S side of the network's input

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sentalign.localize.maps.heatmap import Array

NAN = float("nan")
Point = tuple[float, float]  # x, y


class AttendedScores(Protocol):
    """What `sentalign.localize.predict.Predictor` offers of it."""

    def attended_scores(self, images_B1SS: Tensor, sentences: Sequence[str]) -> Tensor: ...


def offset(
    scorer: AttendedScores, image_11SS: Tensor, sentence: str, place: tuple[float, float]
) -> tuple[float, float]:
    """(dx, dy): the centroid of |gradient of the attended score by the input's pixels| minus a place, x and y in these
    pixels. NaN where no pixel has a gradient.
    """
    x, y = centroid(_gradient(scorer, image_11SS, sentence))
    return x - place[0], y - place[1]


def _gradient(scorer: AttendedScores, image_11SS: Tensor, sentence: str) -> Array:
    image_11SS = image_11SS.clone().requires_grad_()
    with torch.enable_grad():
        (gradient_11SS,) = torch.autograd.grad(scorer.attended_scores(image_11SS, [sentence]).sum(), image_11SS)
    return gradient_11SS[0, 0].double().cpu().numpy()


def centroid(gradient_SS: Array) -> Point:
    """x and y of the centroid of its absolute values, pixel centres at halves; NaN where all are 0."""
    weights_SS = np.abs(gradient_SS)
    total = weights_SS.sum()
    if not total:
        return NAN, NAN
    centres_S = np.arange(len(weights_SS)) + 0.5
    return float(weights_SS.sum(0) @ centres_S / total), float(weights_SS.sum(1) @ centres_S / total)


def medians(offsets_N2: Array) -> dict[str, float | None]:
    """The medians `dx`, `dy` and `length` of the offsets that are no NaN; None where there is none."""
    known_N2 = offsets_N2[np.isfinite(offsets_N2).all(axis=1)]
    if not len(known_N2):
        return {"dx": None, "dy": None, "length": None}
    dx, dy = np.median(known_N2, axis=0).tolist()
    return {"dx": dx, "dy": dy, "length": float(np.median(np.hypot(*known_N2.T)))}
