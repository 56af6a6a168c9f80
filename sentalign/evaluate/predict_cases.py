"""Images and sentences through the model: the score grids of every case.

In: a localizer and cases. Out: `CaseGrids`, one for each readable case: the maps of every sentence that the case is
queried with, and the text-free grids of its image. Scores are computed in `score_cases`.
"""

# N cases, H W grid

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sentalign import sides
from sentalign.evaluate import controls
from sentalign.evaluate.datasets.case import Case
from sentalign.evaluate.scoring.metrics import Array
from sentalign.localize.files.decode import decode, decoded
from sentalign.localize.maps.heatmap import shape
from sentalign.localize.predict import SentenceMap
from sentalign.localize.prompts import PROMPTS, prompt
from sharding.pixels import Geometry, Picture

MODEL, SHUFFLED, SWAPPED = "model", "shuffled sentences", "swapped sides"
PLAIN = "plain map"  # of the model, read as published
CENTRE, BOXES = "centre prior", "mean mask"
# The phrase itself gives the headline scores; the other prompts show how much the wording matters.
QUERIED = (MODEL, SHUFFLED, SWAPPED, *PROMPTS[1:])  # the kinds of map that read a sentence
IMAGES_PER_CHUNK = 16
ASPECT_TOLERANCE = 0.01


class Localizer(Protocol):
    """The methods of `sentalign.localize.predict.Predictor` that are used here, in `score_cases` and in `probe`."""

    def images(self, greys: Sequence[NDArray[np.uint8]]) -> Iterator[Any]: ...
    def maps(self, features: Any, sentences: Sequence[str]) -> list[SentenceMap]: ...
    @property
    def stride(self) -> int: ...
    @property
    def score_scale(self) -> float: ...
    def inputs(self, greys: Sequence[NDArray[np.uint8]]) -> Tensor: ...
    def attended_scores(self, images_B1SS: Tensor, sentences: Sequence[str]) -> Tensor: ...


@dataclass(frozen=True)
class CaseGrids:
    """One readable case, `number` in the set: its geometries, its maps by kind, and grids that read no sentence.

    `clean_frame` leads to the square of the cells, each over what its region sees, `paper_frame` to the network's
    input. `maps` holds the `SentenceMap` of each query. `text_free` holds the saliency, the centre prior and, under
    `BOXES`, the share of each cell that the case's boxes cover, all on the grid of the regions.
    """

    number: int
    case: Case
    clean_frame: Geometry
    paper_frame: Geometry
    maps: dict[str, SentenceMap]
    text_free: dict[str, Array]


def make_queries(cases: Sequence[Case], seen_N: NDArray[np.bool_], seed: int) -> list[dict[str, str]]:
    """The sentence of each case for each kind of map; the controls are limited to the seen cases."""
    seen: list[int] = np.flatnonzero(seen_N).tolist()
    queries = [
        {MODEL: case.phrase} | {template: prompt(template, case.phrase) for template in PROMPTS[1:]} for case in cases
    ]
    # A set of one phrase has no other sentence to query.
    several = len({cases[i].phrase for i in seen}) > 1
    for i, other in zip(seen, controls.shuffle([cases[i].image_id for i in seen], seed), strict=True):
        queries[i] |= {SHUFFLED: cases[seen[other]].phrase} if several and other >= 0 else {}
        if sides.names_side(cases[i].phrase) and (swapped := sides.swap(cases[i].phrase)):
            queries[i] |= {SWAPPED: swapped}
    return queries


def predict_cases(
    localizer: Localizer,
    cases: Sequence[Case],
    queries: Sequence[dict[str, str]],
    lost: Counter[str],
    notes: Counter[str],
    progress: Callable[[int], None],
    workers: int = 0,
    text_free: bool = True,
) -> Iterator[CaseGrids]:
    """Every case whose image can be read; `lost` counts the others by reason, `progress` gets the cases done.

    `notes` counts boxes that reach beyond their picture: they are cut at its edge.

    `workers` processes decode pictures while the model works on others; 0: this one does. Without `text_free` there are
    no grids that read no sentence.
    """
    done, groups = 0, group_by_image(cases)
    pictures = decoded([str(cases[members[0]].image) for members in groups], workers)
    for start in range(0, len(groups), IMAGES_PER_CHUNK):
        chunk = list(zip(groups[start : start + IMAGES_PER_CHUNK], pictures, strict=False))
        features = localizer.images([picture.grey_HW for _, picture in chunk if isinstance(picture, Picture)])
        for members, picture in chunk:
            if not isinstance(picture, Picture):
                lost["image refused"] += len(members)
            else:
                shaped = {i: case for i in members if (case := fit_target(cases[i], picture))}
                lost["image has another shape than annotated"] += len(members) - len(shaped)
                fitted = {i: cut for i, case in shaped.items() if (cut := _within(case, picture, notes))}
                lost["target lies beyond the picture"] += len(shaped) - len(fitted)
                yield from _predict_image(localizer, fitted, picture, next(features), queries, text_free)
            done += len(members)
            progress(done)


def _predict_image(
    localizer: Localizer,
    cases: dict[int, Case],
    picture: Picture,
    features: Any,
    queries: Sequence[dict[str, str]],
    text_free: bool,
) -> Iterator[CaseGrids]:
    """The maps of the cases of one image, by their number in the set."""
    if not cases:
        return
    frames = [picture.geometry.then(frame) for frame in (features.cells, features.letterbox)]
    # Cases share sentences, and every sentence costs a backward pass.
    sentences = sorted({sentence for i in cases for sentence in queries[i].values()})
    maps = dict(zip(sentences, localizer.maps(features, sentences), strict=True))
    own_maps = {i: {kind: maps[sentence] for kind, sentence in queries[i].items()} for i in cases}
    grids = _text_free(cases, picture, frames[0], shape(maps[sentences[0]].plain_HW)) if text_free else {}
    for i, case in cases.items():
        yield CaseGrids(i, case, frames[0], frames[1], own_maps[i], grids.get(i, {}))


def _text_free(
    cases: dict[int, Case], picture: Picture, frame: Geometry, grid: tuple[int, int]
) -> dict[int, dict[str, Array]]:
    """The grids of each case that read no sentence."""
    cells = controls.Cells(frame, grid)
    saliency = _saliency(picture, cells)
    return {i: {CENTRE: cells.centre(), BOXES: cells.share(case.target), **saliency} for i, case in cases.items()}


def _saliency(picture: Picture, cells: controls.Cells) -> dict[str, Array]:
    maps, geometry = controls.saliency(picture)
    return {name: cells.mean(map_hw, geometry) for name, map_hw in maps.items()}


def group_by_image(cases: Sequence[Case]) -> list[list[int]]:
    """Case numbers grouped by image."""
    groups: dict[str, list[int]] = {}
    for i, case in enumerate(cases):
        groups.setdefault(case.image_id, []).append(i)
    return list(groups.values())


def read_picture(case: Case) -> Picture | None:
    """The picture of a case; None where it cannot be decoded."""
    picture = decode(str(case.image))
    return picture if isinstance(picture, Picture) else None


def _within(case: Case, picture: Picture, notes: Counter[str]) -> Case | None:
    """The case with boxes that end at the picture's edge; None where nothing of the target is in the picture."""
    target, cut = case.target.within(picture.geometry.rows, picture.geometry.columns)
    if cut:
        notes["boxes reach beyond their picture and were cut at its edge"] += cut
    return replace(case, target=target) if len(target.boxes) else None


def fit_target(case: Case, picture: Picture) -> Case | None:
    """The case with its target in the pixels of this picture, whose size may differ from the annotated one.

    None where the aspect ratio differs by more than 1%: then the target belongs to another picture.
    """
    if not case.height:
        return case
    scale_y, scale_x = picture.geometry.rows / case.height, picture.geometry.columns / case.width
    if abs(scale_y / scale_x - 1) > ASPECT_TOLERANCE:
        return None
    if scale_y == scale_x == 1:
        return case
    return replace(case, target=case.target.scaled(scale_x, scale_y))
