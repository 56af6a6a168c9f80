"""The whole evaluation, and what it writes: metrics.json, cases.npz, index.html, and a table for the terminal.

In: a predictor and cases. Out: the figures and files in one folder. The page itself is made in `page`.

cases.npz (load with allow_pickle=False; N cases, M boxes, H W the model's grid) lets anyone recompute every figure:
  phrase, category, patient, study, image_id   (N,) text; patient and study are the set's own pseudonyms
  seen                    (N,) bool; False: its category was withheld from training
  boxes_xywh, boxes_case  (M, 4) in original pixels and (M,) the case that each belongs to
  rows, columns           (N,) size of the original
  crop, scale, pad        (N, 4), (N, 2), (N, 2): x_square = (x - crop[1]) * scale[1] + pad[1], y likewise with 0
  square                  (N, 2) height and width of the square that the grid covers, in its pixels
  paper_pad, paper_square (N, 2), (N, 2): the same of the paper protocol, which stretches the grid over the input
  kinds, metrics, values  (K,), (J,), (K, J, N): every case's numbers; NaN: the metric does not apply
  clean__KIND, paper__KIND   (N, H, W) float32 grids that the protocols score, KIND with spaces as "_"
  sentence__KIND          (N,) what the case was asked with; "" where it was not
"""

# N cases, M boxes, K kinds, J metrics

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from sentalign.evaluate import page
from sentalign.evaluate.datasets.ms_cxr import Case
from sentalign.evaluate.measure import Scores, measure
from sentalign.evaluate.predict_cases import MODEL, PROMPTS, Localizer
from sentalign.evaluate.protocols import METRICS
from sentalign.evaluate.summary import JUDGED, summarise
from sharding.contract import UserError


def evaluate(
    predictor: Localizer,
    cases: Sequence[Case],
    out: Path | None = None,
    withheld: Sequence[str] = (),
    replicates: int = 1000,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """Measures the model and its controls on all cases; the content of metrics.json (see `summary`).

    `withheld` are the categories that training never saw, `progress` is told the share that is done. With `out` the
    three files are written there. Raises UserError where nothing can be scored or the folder cannot be written.
    """
    if out is not None:
        _make(out)
    measured = measure(predictor, cases, withheld, seed, progress)
    metrics = summarise(measured, replicates, seed)
    if out is not None:
        write(out, measured, metrics)
    return metrics


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {out} ({error.strerror}); give another --out") from None


def write(out: Path, measured: Scores, metrics: dict[str, Any]) -> None:
    """Writes the three files into a folder that is there."""
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    np.savez_compressed(out / "cases.npz", **arrays(measured))  # type: ignore[arg-type]
    (out / "index.html").write_text(page.render(measured, metrics), encoding="utf-8")


def slug(kind: str) -> str:
    """The name of a kind of map inside cases.npz."""
    return {PROMPTS[1]: "prompt_1", PROMPTS[2]: "prompt_2"}.get(kind, kind.replace(" ", "_"))


def arrays(measured: Scores) -> dict[str, np.ndarray]:
    """The arrays of cases.npz (see the module's docstring)."""
    cases, frames = measured.cases, measured.frames
    found: dict[str, np.ndarray] = {
        name: np.array([getattr(case, name) for case in cases], dtype=str)
        for name in ("phrase", "category", "patient", "study", "image_id")
    }
    found["seen"] = measured.seen_N
    found["boxes_xywh"] = np.concatenate([case.boxes_xywh_N4 for case in cases])
    found["boxes_case"] = np.repeat(np.arange(len(cases)), [len(case.boxes_xywh_N4) for case in cases])
    for name in ("rows", "columns", "crop", "scale", "pad"):
        found[name] = np.array([getattr(frame, name) for frame in frames])
    found["square"] = np.array([(frame.height, frame.width) for frame in frames])
    found["paper_pad"] = np.array([square.pad for square in measured.squares])
    found["paper_square"] = np.array([(square.height, square.width) for square in measured.squares])
    found["kinds"], found["metrics"] = np.array([slug(kind) for kind in measured.kinds]), np.array(METRICS)
    found["values"] = np.array([[kind.values[metric] for metric in METRICS] for kind in measured.kinds.values()])
    for name, kind in measured.kinds.items():
        found[f"clean__{slug(name)}"] = kind.clean_NHW
        found[f"paper__{slug(name)}"] = kind.paper_NHW
    return found | {f"sentence__{slug(kind)}": np.array(texts, str) for kind, texts in measured.sentences.items()}


def table(metrics: dict[str, Any]) -> Table:
    """The headline figures and the controls, narrow enough for a terminal; every interval is in metrics.json."""
    title = f"MS-CXR, {metrics['cases']} cases, {metrics['patients']} patients (95% intervals)"
    made = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, title=title)
    for name in ("map", "pointing", "CNR", "mIoU", "Dice"):
        made.add_column(name, justify="left" if name == "map" else "right", no_wrap=True)
    for name, figures in rows(metrics):
        judged = [page.figure(figures, metric, 2) for metric in JUDGED]
        others = ["–" if figures[metric] is None else f"{figures[metric]:.3f}" for metric in ("miou", "dice")]
        made.add_row(name, *judged, *others, style="bold" if name.startswith(MODEL) else "")
    return made


def rows(metrics: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The model and the controls that have figures, in the order of the tables."""
    named = [
        (f"{MODEL}, seen", metrics["seen"]),
        (f"{MODEL}, withheld", metrics["withheld"]),
        *metrics["controls"].items(),
    ]
    return [(name, figures) for name, figures in named if figures is not None]


def show(metrics: dict[str, Any]) -> None:
    """Prints the table and what was lost on the way."""
    console = Console()
    console.print(table(metrics))
    for reason, count in metrics["lost"].items():
        console.print(f"not scored: {count} cases, {reason}", highlight=False)
    if metrics["protocols"]["paper"]["outside"]:
        console.print(f"outside the paper protocol's centre: {metrics['protocols']['paper']['outside']} cases")
    said = "above" if metrics["separate"] else "not above"
    console.print(f"pointing and CNR intervals of the seen cases: {said} those of every control", highlight=False)
