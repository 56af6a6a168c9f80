"""The model and every control on every case: grids, then the metrics of every case.

In: a localizer and cases. Out: `Scores`. Means and intervals are computed in `summary`.
"""

# N cases, H W grid

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentalign.evaluate import controls
from sentalign.evaluate.datasets.ms_cxr import Case
from sentalign.evaluate.metrics import Array
from sentalign.evaluate.predict_cases import (
    BOXES,
    MODEL,
    PROMPTS,
    QUERIED,
    CaseGrids,
    GridPair,
    Localizer,
    make_queries,
    predict_cases,
)
from sentalign.evaluate.protocols import METRICS, Scorer
from sentalign.localize.heatmap import shape
from sharding.contract import UserError
from sharding.pixels import Geometry

Grids = NDArray[np.float32]


@dataclass(frozen=True)
class MapKind:
    """One kind of map on every case: the grids (N, H, W) that the two protocols score and the values (N,) of each
    metric. NaN where a case has none."""

    clean_NHW: Grids
    paper_NHW: Grids
    values: dict[str, Array]


@dataclass(frozen=True)
class Scores:
    """Every readable case, in the order of the set; `sentences` holds the query of each case by kind, "" for none."""

    cases: list[Case]
    seen_N: NDArray[np.bool_]
    clean_frames: list[Geometry]
    paper_frames: list[Geometry]
    kinds: dict[str, MapKind]
    sentences: dict[str, list[str]]
    lost: dict[str, int]

    @property
    def controls(self) -> list[str]:
        """The kinds of map that are neither the model's nor another wording of it."""
        return [kind for kind in self.kinds if kind != MODEL and kind not in PROMPTS]


def measure(
    localizer: Localizer,
    cases: Sequence[Case],
    withheld: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> Scores:
    """Scores the model on all cases, and the controls on those whose category was not withheld from training.

    `progress` gets the share that is done. Raises UserError where no case is left or the model's map is not finite.
    """
    present = [case for case in cases if case.image is not None]
    if not present:
        raise UserError("not one case has an image; put the images beside the annotation file")
    seen_N = np.array([case.category not in set(withheld) for case in present], bool)
    queries, lost = make_queries(present, seen_N, seed), Counter({"image missing": len(cases) - len(present)})
    predicted = predict_cases(localizer, present, queries, lost, lambda done: progress(0.5 * done / len(present)))
    readable = sorted(predicted, key=lambda case: case.number)
    if not readable:
        raise UserError("not one image can be read; check the files beside the annotation file")
    numbers = [case.number for case in readable]
    grids = {kind: _stack([case.grids.get(kind) for case in readable]) for kind in QUERIED}
    if not all(np.isfinite(grids_NHW).all() for grids_NHW in grids[MODEL]):
        raise UserError("the model's maps hold NaN or inf: its training diverged; train it with a lower optimizer.lr")
    grids |= _text_free(readable, seen_N[numbers])
    values = _score(readable, grids, lambda share: progress(0.5 + 0.5 * share))
    return Scores(
        [case.case for case in readable],
        seen_N[numbers],
        [case.clean_frame for case in readable],
        [case.paper_frame for case in readable],
        {kind: MapKind(*grids[kind], values[kind]) for kind in grids},
        {kind: [queries[i].get(kind, "") for i in numbers] for kind in QUERIED},
        {reason: count for reason, count in lost.items() if count},
    )


def _stack(pairs: Sequence[GridPair | None]) -> tuple[Grids, Grids]:
    """The clean and the paper grids of all cases; NaN for a case without."""
    size = next((pair[0].shape for pair in pairs if pair), (1, 1))
    missing = np.full((2, *size), np.nan)
    clean_NHW, paper_NHW = np.stack([pair or missing for pair in pairs], axis=1).astype(np.float32)
    return clean_NHW, paper_NHW


def _text_free(cases: Sequence[CaseGrids], seen_N: NDArray[np.bool_]) -> dict[str, tuple[Grids, Grids]]:
    """The controls that read no sentence, on the seen cases; the boxes become the mean mask of the other patients."""
    patients = [case.case.patient for case, seen in zip(cases, seen_N, strict=True) if seen]
    grids = {}
    for kind in cases[0].text_free:
        pair_2NHW = np.stack([case.text_free[kind] for case in cases], axis=1)
        for grids_NHW in pair_2NHW if kind == BOXES and patients else ():
            grids_NHW[seen_N] = controls.mean_masks(grids_NHW[seen_N], patients)
        pair_2NHW[:, ~seen_N] = np.nan
        clean_NHW, paper_NHW = pair_2NHW.astype(np.float32)
        grids[kind] = clean_NHW, paper_NHW
    return grids


def _score(
    cases: Sequence[CaseGrids], grids: dict[str, tuple[Grids, Grids]], progress: Callable[[float], None]
) -> dict[str, dict[str, Array]]:
    values = {kind: {metric: np.full(len(cases), np.nan) for metric in METRICS} for kind in grids}
    for n, case in enumerate(cases):
        scorer = Scorer(case.clean_frame, case.case.boxes_xywh_N4, shape(grids[MODEL][0][n]), case.paper_frame)
        for kind, (clean_NHW, paper_NHW) in grids.items():
            if np.isfinite(clean_NHW[n]).all():
                for metric, value in scorer(clean_NHW[n], paper_NHW[n]).items():
                    values[kind][metric][n] = value
        progress((n + 1) / len(cases))
    return values
