"""Pictures and sentences through the model: the score grids of every case.

In: a predictor and cases. Out: `CaseGrids`s, one a readable case: its grids for every sentence that it is asked with,
and the text-free grids of its picture. Nothing is scored here.
"""

# N cases, H W grid, D width

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sentalign.evaluate import controls
from sentalign.evaluate.datasets.ms_cxr import Case
from sentalign.evaluate.grounding import Array
from sentalign.localize.heatmap import shape
from sharding import pixels
from sharding.contract import Rejected
from sharding.pixels import Geometry, Picture

MODEL, SHUFFLED, SWAPPED = "model", "shuffled sentences", "swapped sides"
CENTRE, BOXES = "centre prior", "mean mask"
# The phrase itself is the headline; the others show how much the wording matters.
PROMPTS = ("{}", "There is {}", "Findings suggesting {}")
AT_ONCE = 16
ASPECT_TOLERANCE = 0.01


class Localizer(Protocol):
    """What is used of `sentalign.localize.predict.Predictor`."""

    def images(self, greys: Sequence[NDArray[np.uint8]]) -> Iterator[Any]: ...
    def text(self, sentences: Sequence[str]) -> Any: ...
    def clean_grid(self, features: Any, sentence_D: Any) -> Array: ...
    def paper_grid(self, features: Any, report_D: Any) -> Array: ...


@dataclass(frozen=True)
class CaseGrids:
    """One case that could be read: the ways to the grid's square, and (clean, paper) grids a kind of map.

    `frame` is the clean protocol's way, where a cell lies over what it sees; `square` the paper protocol's.

    The text-free grids hold the centre prior and, under `BOXES`, the share of each cell that the case's boxes cover.
    """

    number: int
    case: Case
    frame: Geometry
    square: Geometry
    grids: dict[str, tuple[Array, Array]]
    text_free: dict[str, tuple[Array, Array]]


def sentences(cases: Sequence[Case], seen_N: NDArray[np.bool_], seed: int) -> dict[str, list[str]]:
    """What each case is asked with, a kind of map each; "" where it is not asked: controls are on the seen cases."""
    seen: list[int] = np.flatnonzero(seen_N).tolist()
    others = np.full(len(cases), -1)
    others[seen] = controls.shuffle([cases[i].image_id for i in seen], seed)
    swapped = [
        controls.swap_sides(case.phrase) if is_seen else None for case, is_seen in zip(cases, seen_N, strict=True)
    ]
    return {
        MODEL: [case.phrase for case in cases],
        SHUFFLED: [cases[seen[other]].phrase if other >= 0 else "" for other in others],
        SWAPPED: [phrase or "" for phrase in swapped],
        **{template: [prompt(template, case.phrase) for case in cases] for template in PROMPTS[1:]},
    }


def prompt(template: str, phrase: str) -> str:
    """The phrase in a template; inside a sentence it loses its capital, unless it is an abbreviation."""
    inside = not template.startswith("{}") and not phrase[:2].isupper()
    return template.format(phrase[:1].lower() + phrase[1:] if inside else phrase)


def predict_cases(
    predictor: Localizer,
    cases: Sequence[Case],
    asked: dict[str, list[str]],
    lost: Counter[str],
    progress: Callable[[int], None],
) -> Iterator[CaseGrids]:
    """Every case whose picture can be read; `lost` counts the others by reason, `progress` is told cases done."""
    distinct = sorted({sentence for texts in asked.values() for sentence in texts if sentence})
    number = {sentence: n for n, sentence in enumerate(distinct)}
    vectors = predictor.text(distinct)
    done = 0
    for chunk in _chunks(cases):
        pictures = [read_picture(cases[members[0]]) for members in chunk]
        features = predictor.images([picture.grey_HW for picture in pictures if picture is not None])
        for members, picture in zip(chunk, pictures, strict=True):
            if picture is None:
                lost["image refused"] += len(members)
            else:
                yield from _picture(predictor, cases, members, picture, next(features), asked, number, vectors, lost)
            done += len(members)
            progress(done)


def _picture(
    predictor: Localizer,
    cases: Sequence[Case],
    members: Iterable[int],
    picture: Picture,
    features: Any,
    asked: dict[str, list[str]],
    number: dict[str, int],
    vectors: Any,
    lost: Counter[str],
) -> Iterator[CaseGrids]:
    ways = [picture.geometry.then(way) for way in (features.cells, features.letterbox)]
    maps, small = controls.saliency(picture)
    text_free: dict[str, tuple[Array, Array]] = {}
    for i in members:
        case = fitted(cases[i], picture)
        if case is None:
            lost["image has another shape than annotated"] += 1
            continue
        numbers = {kind: number[texts[i]] for kind, texts in asked.items() if texts[i]}
        grids = {
            kind: (
                predictor.clean_grid(features, vectors.sentences_ND[n]),
                predictor.paper_grid(features, vectors.reports_ND[n]),
            )
            for kind, n in numbers.items()
        }
        clean, paper = (controls.Cells(way, shape(grids[MODEL][0])) for way in ways)
        text_free = text_free or {name: (clean.mean(map_hw, small), paper.mean(map_hw, small))
                                  for name, map_hw in maps.items()}  # fmt: skip
        boxes = case.boxes_xywh_N4
        own = {CENTRE: (clean.centre(), paper.centre()), BOXES: (clean.share(boxes), paper.share(boxes))}
        yield CaseGrids(i, case, ways[0], ways[1], grids, own | text_free)


def _chunks(cases: Sequence[Case]) -> Iterator[list[list[int]]]:
    """Case numbers by image, a few images at a time."""
    by_image: dict[str, list[int]] = {}
    for i, case in enumerate(cases):
        by_image.setdefault(case.image_id, []).append(i)
    groups = list(by_image.values())
    for start in range(0, len(groups), AT_ONCE):
        yield groups[start : start + AT_ONCE]


def read_picture(case: Case) -> Picture | None:
    """The picture of a case; None where it cannot be decoded."""
    assert case.image is not None
    try:
        return pixels.read(case.image.read_bytes(), case.image.name)
    except (Rejected, OSError):
        return None


def fitted(case: Case, picture: Picture) -> Case | None:
    """The case with its boxes in the pixels of this picture, which may be another size than the annotated one.

    None where the shape differs by more than 1%: then the boxes belong to another picture.
    """
    scale_y, scale_x = picture.geometry.rows / case.height, picture.geometry.columns / case.width
    if abs(scale_y / scale_x - 1) > ASPECT_TOLERANCE:
        return None
    if scale_y == scale_x == 1:
        return case
    return replace(case, boxes_xywh_N4=case.boxes_xywh_N4 * np.array([scale_x, scale_y, scale_x, scale_y]))
