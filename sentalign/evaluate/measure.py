"""The model and every control on every case: grids, then every case's numbers.

In: a predictor and cases. Out: `Scores`. Means and intervals are in `summary`.
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
from sentalign.evaluate.grounding import Array
from sentalign.evaluate.predict_cases import BOXES, MODEL, PROMPTS, CaseGrids, Localizer, predict_cases, sentences
from sentalign.evaluate.protocols import METRICS, Scorer
from sentalign.localize.heatmap import shape
from sharding.contract import UserError
from sharding.pixels import Geometry

Grid = NDArray[np.float32]


@dataclass(frozen=True)
class Kind:
    """One kind of map on every case: the grids (N, H, W) that the two protocols score and the values (N,) of each
    metric. NaN where a case has none."""

    clean_NHW: Grid
    paper_NHW: Grid
    values: dict[str, Array]


@dataclass(frozen=True)
class Scores:
    """Every case that could be read, in the order of the set; `sentences` holds what each was asked with."""

    cases: list[Case]
    seen_N: NDArray[np.bool_]
    frames: list[Geometry]
    squares: list[Geometry]
    kinds: dict[str, Kind]
    sentences: dict[str, list[str]]
    lost: dict[str, int]

    @property
    def controls(self) -> list[str]:
        """The kinds that are neither the model's nor another wording of it."""
        return [kind for kind in self.kinds if kind != MODEL and kind not in PROMPTS]


def measure(
    predictor: Localizer,
    cases: Sequence[Case],
    withheld: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> Scores:
    """Scores the model on all cases, and the controls on those whose category was not withheld from training.

    `progress` is told the share that is done. Raises UserError where no case is left or the model's map is not finite.
    """
    present = [case for case in cases if case.image is not None]
    if not present:
        raise UserError("not one case has an image; put the images beside the annotation file")
    seen_N = np.array([case.category not in set(withheld) for case in present], bool)
    asked, lost = sentences(present, seen_N, seed), Counter({"image missing": len(cases) - len(present)})
    tell = lambda done: progress(0.5 * done / len(present))  # noqa: E731
    answers = sorted(predict_cases(predictor, present, asked, lost, tell), key=lambda answer: answer.number)
    if not answers:
        raise UserError("not one image can be read; check the files beside the annotation file")
    kept = [answer.number for answer in answers]
    grids = {kind: _stack([a.grids.get(kind) for a in answers]) for kind in asked}
    if not np.isfinite(grids[MODEL][0]).all() or not np.isfinite(grids[MODEL][1]).all():
        raise UserError("the model's maps are not finite numbers; its training diverged, train it with a lower rate")
    grids |= _text_free(answers, seen_N[kept])
    values = _score(answers, grids, lambda share: progress(0.5 + 0.5 * share))
    return Scores(
        [a.case for a in answers],
        seen_N[kept],
        [a.frame for a in answers],
        [a.square for a in answers],
        {kind: Kind(*grids[kind], values[kind]) for kind in grids},
        {kind: [texts[i] for i in kept] for kind, texts in asked.items()},
        {reason: count for reason, count in lost.items() if count},
    )


def _stack(pairs: Sequence[tuple[Array, Array] | None]) -> tuple[Grid, Grid]:
    size = next((pair[0].shape for pair in pairs if pair is not None), (1, 1))
    nothing = np.full(size, np.nan)
    clean = np.stack([nothing if pair is None else pair[0] for pair in pairs]).astype(np.float32)
    paper = np.stack([nothing if pair is None else pair[1] for pair in pairs]).astype(np.float32)
    return clean, paper


def _text_free(answers: Sequence[CaseGrids], seen_N: NDArray[np.bool_]) -> dict[str, tuple[Grid, Grid]]:
    """The controls that read no sentence, on the seen cases; the boxes become the mean mask of the other patients."""
    patients = [a.case.patient for a, seen in zip(answers, seen_N, strict=True) if seen]
    grids = {}
    for name in answers[0].text_free:
        clean_NHW, paper_NHW = (np.stack([a.text_free[name][way] for a in answers]) for way in (0, 1))
        for grids_NHW in (clean_NHW, paper_NHW):
            if name == BOXES and patients:
                grids_NHW[seen_N] = controls.mean_masks(grids_NHW[seen_N], patients)
            grids_NHW[~seen_N] = np.nan
        grids[name] = (clean_NHW.astype(np.float32), paper_NHW.astype(np.float32))
    return grids


def _score(
    answers: Sequence[CaseGrids], grids: dict[str, tuple[Grid, Grid]], progress: Callable[[float], None]
) -> dict[str, dict[str, Array]]:
    values = {kind: {metric: np.full(len(answers), np.nan) for metric in METRICS} for kind in grids}
    for n, answer in enumerate(answers):
        scorer = Scorer(answer.frame, answer.case.boxes_xywh_N4, shape(grids[MODEL][0][n]), answer.square)
        for kind, (clean_NHW, paper_NHW) in grids.items():
            if np.isfinite(clean_NHW[n]).all():
                for metric, value in scorer(clean_NHW[n], paper_NHW[n]).items():
                    values[kind][metric][n] = value
        progress((n + 1) / len(answers))
    return values
