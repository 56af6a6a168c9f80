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
from sentalign.evaluate.datasets.case import Case
from sentalign.evaluate.predict_cases import (
    BOXES,
    MODEL,
    PLAIN,
    QUERIED,
    CaseGrids,
    Localizer,
    make_queries,
    predict_cases,
)
from sentalign.evaluate.scoring.metrics import Array
from sentalign.evaluate.scoring.protocols import METRICS, Scorer
from sentalign.evaluate.scoring.radzero import THRESHOLDS
from sentalign.localize.maps.heatmap import shape
from sentalign.localize.predict import SentenceMap
from sentalign.localize.prompts import PROMPTS
from sharding.contract import UserError
from sharding.pixels import Geometry

Grids = NDArray[np.float32]


@dataclass(frozen=True)
class MapKind:
    """One kind of map on every case: its grids (N, H, W) and the values (N,) of each metric. NaN where a case has none.

    The clean protocol scores `clean_NHW`; the paper protocol too, where its cells lie, or as published `paper_NHW`,
    stretched over the network's input: only `PLAIN` has that.
    """

    clean_NHW: Grids
    paper_NHW: Grids | None
    values: dict[str, Array]


@dataclass(frozen=True)
class RadZero:
    """The plain map of every case under RadZero's protocol: pointing (N,), Dice (N, T) at each of its thresholds."""

    pointing_N: Array
    dice_NT: Array


@dataclass(frozen=True)
class Scores:
    """Every readable case, in the order of the set; `sentences` holds the query of each case by kind, "" for none.

    `mirrored_N` says in which cases the mirrored picture took part in the model's map; `lost` counts the cases without
    a score by reason, `notes` what was changed in others.
    """

    cases: list[Case]
    seen_N: NDArray[np.bool_]
    mirrored_N: NDArray[np.bool_]
    clean_frames: list[Geometry]
    paper_frames: list[Geometry]
    kinds: dict[str, MapKind]
    sentences: dict[str, list[str]]
    lost: dict[str, int]
    notes: dict[str, int]
    radzero: RadZero

    @property
    def controls(self) -> list[str]:
        """The kinds of map that are neither the model's nor another reading or wording of it."""
        return [kind for kind in self.kinds if kind not in (MODEL, PLAIN, *PROMPTS)]


def measure(
    localizer: Localizer,
    cases: Sequence[Case],
    withheld: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
    workers: int = 0,
) -> Scores:
    """Scores the model on all cases, and the controls on those whose category was not withheld from training.

    `progress` gets the share that is done, `workers` processes decode. Raises UserError where no case is left or the
    model's map is not finite.
    """
    present = [case for case in cases if case.image is not None]
    if not present:
        raise UserError("not one case has an image; put the images beside the annotation file")
    seen_N = np.array([case.category not in set(withheld) for case in present], bool)
    queries, lost = make_queries(present, seen_N, seed), Counter({"image missing": len(cases) - len(present)})
    notes: Counter[str] = Counter()
    advance = lambda done: progress(0.5 * done / len(present))  # noqa: E731
    predicted = predict_cases(localizer, present, queries, lost, notes, advance, workers)
    readable = sorted(predicted, key=lambda case: case.number)
    if not readable:
        raise UserError("not one image can be read; check the files beside the annotation file")
    numbers = [case.number for case in readable]
    grids = {kind: _stack([case.maps.get(kind) for case in readable], "grid_HW") for kind in QUERIED}
    models = [case.maps[MODEL] for case in readable]
    grids[PLAIN], paper_NHW = _stack(models, "plain_HW"), _stack(models, "paper_HW")
    if not all(np.isfinite(grids_NHW).all() for grids_NHW in (grids[MODEL], grids[PLAIN], paper_NHW)):
        raise UserError("the model's maps hold NaN or inf: its training diverged; train it with a lower optimizer.lr")
    grids |= _text_free(readable, seen_N[numbers])
    stretched = {PLAIN: paper_NHW}
    values, radzero = _score(
        readable, grids, stretched, localizer.score_scale, lambda share: progress(0.5 + 0.5 * share)
    )
    return Scores(
        [case.case for case in readable],
        seen_N[numbers],
        np.array([model.mirrored for model in models], bool),
        [case.clean_frame for case in readable],
        [case.paper_frame for case in readable],
        {kind: MapKind(grids[kind], stretched.get(kind), values[kind]) for kind in grids},
        {kind: [queries[i].get(kind, "") for i in numbers] for kind in QUERIED},
        {reason: count for reason, count in lost.items() if count},
        dict(notes),
        radzero,
    )


def _stack(maps: Sequence[SentenceMap | None], name: str) -> Grids:
    """One grid of all cases; NaN for a case without a map."""
    grids = [None if one is None else getattr(one, name) for one in maps]
    missing = np.full(next((grid_HW.shape for grid_HW in grids if grid_HW is not None), (1, 1)), np.nan)
    return np.stack([missing if grid_HW is None else grid_HW for grid_HW in grids]).astype(np.float32)


def _text_free(cases: Sequence[CaseGrids], seen_N: NDArray[np.bool_]) -> dict[str, Grids]:
    """The controls that read no sentence, on the seen cases; the boxes become the mean mask of the other patients."""
    patients = [case.case.patient for case, seen in zip(cases, seen_N, strict=True) if seen]
    grids = {}
    for kind in cases[0].text_free:
        grids_NHW = np.stack([case.text_free[kind] for case in cases])
        if kind == BOXES and patients:
            grids_NHW[seen_N] = controls.mean_masks(grids_NHW[seen_N], patients)
        grids_NHW[~seen_N] = np.nan
        grids[kind] = grids_NHW.astype(np.float32)
    return grids


def _score(
    cases: Sequence[CaseGrids],
    grids: dict[str, Grids],
    stretched: dict[str, Grids],
    scale: float,
    progress: Callable[[float], None],
) -> tuple[dict[str, dict[str, Array]], RadZero]:
    radzero = RadZero(np.zeros(len(cases)), np.zeros((len(cases), len(THRESHOLDS))))
    values = {kind: {metric: np.full(len(cases), np.nan) for metric in METRICS} for kind in grids}
    for n, case in enumerate(cases):
        scorer = Scorer(case.clean_frame, case.case.target, shape(grids[PLAIN][n]), case.paper_frame)
        for kind, grids_NHW in grids.items():
            if np.isfinite(grids_NHW[n]).all():
                paper_HW = stretched[kind][n] if kind in stretched else None
                for metric, value in scorer(grids_NHW[n], paper_HW).items():
                    values[kind][metric][n] = value
        radzero.pointing_N[n], radzero.dice_NT[n] = scorer.radzero(grids[PLAIN][n].astype(float), scale)
        progress((n + 1) / len(cases))
    return values, radzero
