"""What the attended score itself tells: label-free figures of a set, and the occlusion control of its maps.

In: a localizer and the cases with their peaks. Out: one number per case and figure, and the scores of all images with
all sentences. The attended score is the one that the loss uses (`Attention`). Means are computed in `health`.

Occlusion. A window of two cells to each side of the peak is filled so that neither what it showed nor a new edge is in
it: with the surface that joins its four border lines (a Coons patch). The same is done around a random pixel of the
picture whose window does not overlap. If the map shows where the score comes from, the first fall is the larger one.
"""

# N cases, I images, M sentences, S side of the network's input

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sentalign import sides
from sentalign.evaluate.predict_cases import Localizer, group_by_image
from sentalign.evaluate.score_cases import Scores
from sentalign.evaluate.scoring.metrics import Array
from sentalign.localize.files.decode import decoded
from sentalign.localize.maps import attribution
from sharding.pixels import Geometry, Picture

WINDOW_CELLS = 2  # to each side of its centre


@dataclass(frozen=True)
class Probes:
    """`values` (N,) by name, NaN where one does not apply: `score`, the case's attended score; `margin`, that minus
    the score after left and right were exchanged; `attribution_dx`, `attribution_dy`, see `attribution.offset`, of the
    peak; `fall_pointed`, `fall_random`, by how much covering the pointed and a random window lowers the score.

    `scores_IM` are those of all images with all phrases, by `images` and `sentences`.
    """

    values: dict[str, Array]
    images: list[str]
    sentences: list[str]
    scores_IM: Array


VALUES = ("score", "margin", "attribution_dx", "attribution_dy", "fall_pointed", "fall_random")


def probe(localizer: Localizer, scores: Scores, peaks_N2: Array, seed: int = 0, workers: int = 0) -> Probes:
    """All figures of all cases; `peaks_N2` are x and y in original pixels, NaN for a constant map."""
    values = {name: np.full(len(scores.cases), np.nan) for name in VALUES}
    of_image = group_by_image(scores.cases)
    images = [scores.cases[members[0]].image_id for members in of_image]
    sentences = list(dict.fromkeys(case.phrase for case in scores.cases))
    scores_IM = np.empty((len(images), len(sentences)))
    pictures = decoded([str(scores.cases[members[0]].image) for members in of_image], workers)
    for i, (members, picture) in enumerate(zip(of_image, pictures, strict=True)):
        assert isinstance(picture, Picture), "a scored picture was readable"
        image_11SS = localizer.inputs([picture.grey_HW])
        with torch.no_grad():
            scores_IM[i] = localizer.attended_scores(image_11SS, sentences)[0].double().cpu().numpy()
        for n in members:
            score = scores_IM[i, sentences.index(scores.cases[n].phrase)]
            rng, phrase = np.random.default_rng((seed, n)), scores.cases[n].phrase
            found = _probe_case(localizer, phrase, score, image_11SS, scores.paper_frames[n], peaks_N2[n], rng)
            for name, value in found.items():
                values[name][n] = value
    return Probes(values, images, sentences, scores_IM)


def _probe_case(
    localizer: Localizer,
    phrase: str,
    score: float,
    image_11SS: Tensor,
    frame: Geometry,
    peak_2: Array,
    rng: np.random.Generator,
) -> dict[str, float]:
    found = {"score": score}
    if sides.names_side(phrase):
        found["margin"] = score - _score(localizer, image_11SS, str(sides.swap(phrase)))
    if not np.isfinite(peak_2).all():
        return found
    x, y = frame.to_output(peak_2[None] + 0.5)[0].tolist()
    dx, dy = attribution.offset(localizer, image_11SS, phrase, (x, y))
    half = WINDOW_CELLS * localizer.stride
    image_SS = image_11SS[0, 0].double().cpu().numpy()
    for name, place in (("pointed", (x, y)), ("random", random_place((x, y), frame, 2 * half, rng))):
        covered_SS = cover(image_SS, place, half)
        found[f"fall_{name}"] = score - _score(
            localizer, torch.from_numpy(covered_SS).to(image_11SS)[None, None], phrase
        )
    return found | {"attribution_dx": dx, "attribution_dy": dy}


def _score(localizer: Localizer, image_11SS: Tensor, sentence: str) -> float:
    with torch.no_grad():
        return float(localizer.attended_scores(image_11SS, [sentence]))


def random_place(
    peak: tuple[float, float], frame: Geometry, distance: float, rng: np.random.Generator
) -> tuple[float, float]:
    """A random pixel's centre inside the picture, at least `distance` from the peak along x or y; anywhere in the
    picture where no pixel is so far away."""
    low_2, high_2 = frame.to_output(np.array([[0.0, 0.0], [frame.columns, frame.rows]]))
    xs, ys = (np.arange(round(low), round(high)) + 0.5 for low, high in zip(low_2, high_2, strict=True))
    far_yx = np.maximum(np.abs(ys - peak[1])[:, None], np.abs(xs - peak[0])) >= distance
    rows, columns = np.nonzero(far_yx if far_yx.any() else np.ones_like(far_yx))
    drawn = int(rng.integers(len(rows)))
    return float(xs[columns[drawn]]), float(ys[rows[drawn]])


def cover(image_SS: Array, place: tuple[float, float], half: int) -> Array:
    """The image with the window of `half` pixels around a place filled by the Coons patch of its border lines.

    f(u, v) = the mean of both ways to join opposite lines, (1 - v) top + v bottom + (1 - u) left + u right, minus the
    bilinear surface of the corners. A window is cut at the image's edge, where its own outermost line is the border.
    """
    side = len(image_SS)
    left, top = (max(0, int(c) - half) for c in place)
    right, bottom = (min(side - 1, int(c) + half) for c in place)
    window = image_SS[top : bottom + 1, left : right + 1]
    v_h1, u_w = np.linspace(0, 1, len(window))[:, None], np.linspace(0, 1, window.shape[1])
    lines = (1 - v_h1) * window[0] + v_h1 * window[-1] + (1 - u_w) * window[:, :1] + u_w * window[:, -1:]
    low_w = (1 - u_w) * window[0, 0] + u_w * window[0, -1]
    high_w = (1 - u_w) * window[-1, 0] + u_w * window[-1, -1]
    covered_SS = image_SS.copy()
    covered_SS[top : bottom + 1, left : right + 1] = lines - ((1 - v_h1) * low_w + v_h1 * high_w)
    return covered_SS
