"""The page of an evaluation: one self-contained HTML file, from `templates/page.html`.

In: `Scores` and metrics.json's content. Out: HTML text with its pictures inside, below 5 MB. It loads nothing.
"""

# N cases

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from sentalign.evaluate.predict_cases import MODEL, read_picture
from sentalign.evaluate.results import ledger
from sentalign.evaluate.score_cases import Scores
from sentalign.evaluate.scoring.target import PixelMask
from sentalign.localize import overlay
from sentalign.localize.maps import heatmap
from sharding import page_templates

PICTURES = 8  # of hits, and as many of misses
PICTURE_SIDE = 320
COLUMNS = {"pointing": "Pointing", "cnr": "CNR", "miou": "mIoU", "dice": "Dice"}
TEMPLATES = page_templates.load("sentalign.evaluate.results")


def render(scores: Scores, metrics: dict[str, Any]) -> str:
    """The whole page."""
    hits, misses = choose(scores)
    pointing_N = scores.kinds[MODEL].values["pointing"]
    controls = {kind: means["pointing"] for kind, means in metrics["controls"].items() if means}
    return TEMPLATES.get_template("page.html").render(
        metrics=metrics,
        once=ledger.line(metrics["once"]) if metrics.get("once") else "",
        columns=COLUMNS,
        occluded=occluded(metrics.get("occlusion", {"categories": {}})),
        rows=bars(rows(metrics)),
        best_control=max(controls, key=controls.__getitem__) if controls else None,
        hits=[picture(scores, n) for n in hits],
        misses=[picture(scores, n) for n in misses],
        hit_count=int(pointing_N.sum()),
        miss_count=int((pointing_N == 0).sum()),
    )


def occluded(occlusion: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of the occlusion control: all seen and withheld cases, then the categories."""
    return {name: row for name, row in occlusion.items() if name != "categories"} | occlusion["categories"]


def choose(scores: Scores, count: int = PICTURES) -> tuple[list[int], list[int]]:
    """The cases to show: hits and misses of the pointing game, each at evenly spaced ranks of average precision.

    Best first; by a rule, so that no picture is picked by hand.
    """
    values = scores.kinds[MODEL].values
    order = np.argsort(-values["average_precision"], kind="stable")
    chosen = []
    for pointing in (1.0, 0.0):
        group = order[values["pointing"][order] == pointing]
        ranks = np.unique(np.linspace(0, max(len(group) - 1, 0), min(count, len(group))).round().astype(int))
        chosen.append(group[ranks].tolist())
    return chosen[0], chosen[1]


def rows(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The headline metrics of the model, of its plain reading and of the controls, in the order of the tables."""
    plain = {f"plain, {subset}": means for subset, means in metrics["plain"].items()}
    model = {f"{MODEL}, {subset}": metrics[subset] for subset in ("seen", "withheld")}
    wordings = {f"{subset} wordings": means for subset, means in (metrics["wordings"] or {}).items()}
    named = model | wordings | plain | metrics["controls"]
    return {name: means for name, means in named.items() if means is not None}


def bars(named: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the x coordinates of their drawings, 4 to 116: pointing from 0 to 1, else over all intervals."""
    axes = {"pointing": (0.0, 1.0)}
    for metric in COLUMNS.keys() - axes.keys():
        ends = [end for means in named.values() for end in means[f"{metric}_ci"] if end is not None]
        axes[metric] = min([0.0, *ends]), max([0.1, *ends])
    return [
        {"name": name, "means": means, "bars": {metric: _bar(means, metric, *axes[metric]) for metric in COLUMNS}}
        for name, means in named.items()
    ]


def _bar(means: dict[str, Any], metric: str, start: float, end: float) -> dict[str, float]:
    low, high = means[f"{metric}_ci"]
    values = {"mean": means[metric], "low": low, "high": high, "zero": 0.0}
    return {name: round(4 + 112 * (x - start) / (end - start), 1) for name, x in values.items() if x is not None}


def picture(scores: Scores, n: int) -> dict[str, Any]:
    """A case drawn with its map, target and peak: `uri` (JPEG), `phrase`, `category`, average `precision`."""
    case, model, frame = scores.cases[n], scores.kinds[MODEL], scores.clean_frames[n]
    grid_HW = model.clean_NHW[n].astype(float)
    read = read_picture(case)
    assert read is not None, "a scored picture was readable"
    is_mask, peak = isinstance(case.target, PixelMask), heatmap.peak(grid_HW, frame)
    truth = [] if is_mask else [(float(x), float(y), float(w), float(h)) for x, y, w, h in case.boxes]
    outlined = case.target.covers if is_mask else None
    image = overlay.draw(read, grid_HW, frame, (), truth, peak, PICTURE_SIDE, outlined)
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=82)
    uri = "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()
    precision = model.values["average_precision"][n]
    return {"uri": uri, "phrase": case.phrase, "category": case.category, "precision": precision}
