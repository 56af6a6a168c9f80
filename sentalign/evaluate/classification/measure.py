"""Labelled images and prompts through the model → areas under the ROC curve; a table for the terminal.

In: a predictor, `Labelled`s, prompts. Out: the content of classification.json:
  images, patients, lost      counts; `lost` by reason
  labels.LABEL                `positive`, `negative`, `unknown` (images), `prompts`, and each reading with `auc`, `ci`
  mean                        each reading: the mean over the labels, `auc` and `ci`
A reading is a score and how it is used. `global`: the cosine of the vectors of image and sentence; `local`: the
attended score of the regions, as in the loss. With `_pair` the score of the positive sentences minus that of the
negative ones, with `_positive` that of the positive sentences alone. Intervals: 95% of replicates that draw patients.
"""

# N images, S sentences, R replicates and the set itself first, L labels

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.markup import escape
from rich.table import Table

from sentalign.evaluate.bootstrap import Bootstrap
from sentalign.evaluate.classification.auc import areas
from sentalign.evaluate.classification.labels import Labelled
from sentalign.evaluate.classification.prompts import Prompts
from sentalign.localize.files.decode import decoded
from sentalign.localize.predict import BATCH, Predictor
from sharding.contract import UserError
from sharding.pixels import Picture

Array = NDArray[np.float64]
SCORES = ("global", "local")
READINGS = tuple(f"{score}_{use}" for score in SCORES for use in ("pair", "positive"))


def measure(
    predictor: Predictor,
    labelled: Sequence[Labelled],
    prompts: dict[str, Prompts],
    replicates: int = 1000,
    seed: int = 0,
    workers: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """The content of classification.json. Raises UserError where not one image can be read."""
    present = [one for one in labelled if one.image is not None]
    lost = Counter({"image missing": len(labelled) - len(present)})
    sentences = list(dict.fromkeys(s for own in prompts.values() for s in (*own.positive, *own.negative)))
    members: list[Labelled] = []
    scored = []
    for one, scores_2S in zip(present, _scores(predictor, present, sentences, workers), strict=True):
        if scores_2S is None:
            lost["image refused"] += 1
        else:
            members.append(one)
            scored.append(scores_2S)
        progress((len(members) + lost["image refused"]) / len(present))
    if not members:
        raise UserError("not one image can be read; check the files beside the table")
    if not np.isfinite(scored).all():
        raise UserError("the model's scores hold NaN or inf: its training diverged; train it with a lower optimizer.lr")
    bootstrap = Bootstrap([one.patient for one in members], [""] * len(members), replicates, seed)
    place = {sentence: number for number, sentence in enumerate(sentences)}
    readings = {
        label: _readings(np.stack(scored, axis=1), [[place[s] for s in side] for side in (own.positive, own.negative)])
        for label, own in prompts.items()
    }
    labels_LN = {label: np.array([one.labels[label] for one in members]) for label in prompts}
    area_R = {
        (label, name): areas(readings[label][name], labels_LN[label], bootstrap)
        for label, name in itertools.product(prompts, READINGS)
    }
    by_label = {
        label: _counts(labels_LN[label])
        | {"prompts": own.model_dump()}
        | {name: _interval(area_R[label, name]) for name in READINGS}
        for label, own in prompts.items()
    }
    means = {name: _interval(_mean([area_R[label, name] for label in prompts])) for name in READINGS}
    counts = {"images": len(members), "patients": len({one.patient for one in members}), "lost": +lost}
    return counts | {"labels": by_label, "mean": means}


def _scores(
    predictor: Predictor, labelled: Sequence[Labelled], sentences: Sequence[str], workers: int
) -> Iterator[Array | None]:
    """(2, S) of each image: the global and the local score of each sentence; None where there is no picture."""
    pictures = decoded([str(one.image) for one in labelled], workers)
    while batch := list(itertools.islice(pictures, BATCH)):
        greys = [picture.grey_HW for picture in batch if isinstance(picture, Picture)]
        scores: Iterator[Array] = iter(predictor.scores(greys, sentences) if greys else ())
        yield from (next(scores) if isinstance(picture, Picture) else None for picture in batch)


def _readings(scores_2NS: Array, sides: Sequence[Sequence[int]]) -> dict[str, Array]:
    """The scores (N,) of each reading; `sides` are the numbers of the positive and of the negative sentences."""
    found: dict[str, Array] = {}
    for score, scores_NS in zip(SCORES, scores_2NS, strict=True):
        positive_N, negative_N = (scores_NS[:, numbers].mean(axis=1) for numbers in sides)
        found |= {f"{score}_pair": positive_N - negative_N, f"{score}_positive": positive_N}
    return found


def _counts(labels_N: Array) -> dict[str, int]:
    kinds = {"positive": labels_N == 1, "negative": labels_N == 0, "unknown": np.isnan(labels_N)}
    return {name: int(members_N.sum()) for name, members_N in kinds.items()}


def _mean(areas_LR: Sequence[Array]) -> Array:
    """Over the labels that have an area in the set itself; a replicate without one of them takes the others."""
    known = [area_R for area_R in areas_LR if np.isfinite(area_R[0])]
    if not known:
        return np.full(1, np.nan)
    stacked_LR = np.stack(known)
    counts_R = np.isfinite(stacked_LR).sum(axis=0)
    return np.divide(np.nansum(stacked_LR, axis=0), counts_R, out=np.full(len(counts_R), np.nan), where=counts_R > 0)


def _interval(area_R: Array) -> dict[str, Any]:
    drawn = area_R[1:][np.isfinite(area_R[1:])]
    if not np.isfinite(area_R[0]) or not len(drawn):
        return {"auc": None, "ci": None}
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"auc": float(area_R[0]), "ci": [float(low), float(high)]}


def table(measured: dict[str, Any]) -> Table:
    """The area of each label by both scores of the pairs; those of the positive sentences alone are in the file."""
    title = f"{measured['images']} images, {measured['patients']} patients: area under the ROC curve (95% intervals)"
    printed = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, title=title)
    for name in ("label", "with", "without", *SCORES):
        printed.add_column(name, justify="left" if name == "label" else "right", no_wrap=name in SCORES)
    for label, own in measured["labels"].items():
        printed.add_row(escape(label), *(str(own[name]) for name in ("positive", "negative")), *_cells(own))
    printed.add_row("mean", "", "", *_cells(measured["mean"]), style="bold")
    return printed


def _cells(own: dict[str, Any]) -> list[str]:
    pairs = [own[f"{score}_pair"] for score in SCORES]
    return ["–" if p["auc"] is None else "{:.2f} [{:.2f}, {:.2f}]".format(p["auc"], *p["ci"]) for p in pairs]
