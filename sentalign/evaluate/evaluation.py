"""The whole evaluation, and what it writes: metrics.json, cases.npz, index.html, the model card, a table to print.

In: a localizer and cases. Out: the metrics, and files in one folder. `page` and `model_card` render the HTML.

cases.npz (load with allow_pickle=False; N cases, M boxes, H W the model's grid) lets anyone recompute every metric:
  phrase, category, patient, study, image_id   (N,) text; patient and study are the set's own pseudonyms
  seen                    (N,) bool; False: its category was withheld from training
  boxes_xywh, boxes_case  (M, 4) in original pixels and (M,) the case of each box
  mask_case, mask_shape, mask_start, mask_bits   (M,), (M, 2), (M,), bytes: the masks, of np.packbits, each from its
                          start on; a mask is stretched over the original; the boxes of its case surround its parts
  rows, columns           (N,) size of the original
  crop, scale, pad        (N, 4), (N, 2), (N, 2): x_square = (x - crop[1]) * scale[1] + pad[1], y likewise with 0
  square                  (N, 2) height and width of the square that the grid covers, in its pixels
  paper_pad, paper_square (N, 2), (N, 2): the same of the network's input, whose centre the paper protocol scores
  kinds, metrics, values  (K,), (J,), (K, J, N): every case's numbers; NaN: the metric does not apply
  clean__KIND             (N, H, W) float32 grids that the protocols score, KIND with spaces as "_"; those of a
                          registered map are finer, those without a sentence and the plain map on the model's grid
  paper__plain_map        (N, H, W) the grid that the paper protocol scores of the plain map, stretched over the input
  radzero_pointing, radzero_dice, radzero_thresholds   (N,), (N, T), (T,): the plain map under RadZero's protocol
  mirrored                (N,) bool; the mirrored picture took part in the model's map
  peak                    (N, 2) x, y of the pixel of the original at which the model's map is highest; NaN: none
  side, near, dx, dy      (N,) see `diagnosis`; NaN: does not apply
  score, margin, attribution_dx, attribution_dy, fall_pointed, fall_random   (N,) see `probe`; NaN: does not apply
  probed_images, probed_sentences, probed_scores   (I,), (M,), (I, M): the attended score of all images and phrases
  sentence__KIND          (N,) the query of the case; "" for none
"""

# N cases, M boxes, K kinds, J metrics

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from sentalign.evaluate.datasets.case import Case
from sentalign.evaluate.diagnosis import health, peaks, probe
from sentalign.evaluate.diagnosis.probe import Probes
from sentalign.evaluate.predict_cases import MODEL, Localizer
from sentalign.evaluate.results import ledger, model_card, page
from sentalign.evaluate.score_cases import Scores, measure
from sentalign.evaluate.scoring.protocols import METRICS
from sentalign.evaluate.scoring.radzero import THRESHOLDS
from sentalign.evaluate.scoring.target import PixelMask
from sentalign.evaluate.summary import HEADLINE, JUDGED, summarise
from sentalign.localize.arguments import check_writable
from sentalign.localize.prompts import PROMPTS
from sharding.contract import UserError

FILES = ("metrics.json", "cases.npz", "index.html", "model_card.md", "model_card.html")


def evaluate(
    localizer: Localizer,
    cases: Sequence[Case],
    out: Path | None = None,
    withheld: Sequence[str] = (),
    replicates: int = 1000,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
    withheld_phrases: Collection[str] = (),
    name: str = "cases",
    workers: int = 0,
    once: dict[str, Any] | None = None,
    about: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Measures the model and its controls on all cases; the content of metrics.json (see `summary`).

    `withheld` are the categories withheld from training, `withheld_phrases` the phrases whose wording was; `name` is
    that of the data set. `progress` gets the share that is done, `workers` processes decode the pictures, `once` is
    what `ledger` says of the evaluation. With `out` the files are written there, the card only with `about` the run
    (see `model_card`). Raises UserError where nothing can be scored or the folder cannot be written.
    """
    if out is not None:
        check_writable(out, FILES)
    scores = measure(localizer, cases, withheld, seed, lambda share: progress(0.7 * share), workers)
    probes = probe.probe(localizer, scores, peaks.diagnose(scores)["peak"], seed, workers)
    metrics = summarise(scores, replicates, seed, withheld_phrases, name) | probed(scores, probes) | {"once": once}
    if out is not None:
        try:
            write(out, scores, metrics, probes)
            if about is not None:
                model_card.write(out, scores, metrics, about)
        except OSError as error:
            raise UserError(f"cannot write to {out} ({error.strerror or error}); give another --out") from None
    progress(1.0)
    return metrics


def probed(scores: Scores, probes: Probes) -> dict[str, Any]:
    """`health` and `occlusion` of metrics.json (see `summary`)."""
    category_N = np.array([case.category for case in scores.cases], dtype=str)
    by_category = {str(name): health.occlusion(probes, category_N == name) for name in np.unique(category_N)}
    covered = {"seen": health.occlusion(probes, scores.seen_N), "withheld": health.occlusion(probes, ~scores.seen_N)}
    return {"health": health.label_free(scores, probes), "occlusion": covered | {"categories": by_category}}


def write(out: Path, scores: Scores, metrics: dict[str, Any], probes: Probes | None = None) -> None:
    """Writes the three files into an existing folder; without `probes`, their part of cases.npz is left out."""
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    np.savez_compressed(out / "cases.npz", **arrays(scores), **(probe_arrays(probes) if probes else {}))  # type: ignore[arg-type]
    (out / "index.html").write_text(page.render(scores, metrics), encoding="utf-8")


def slug(kind: str) -> str:
    """The name of a kind of map inside cases.npz."""
    return {PROMPTS[1]: "prompt_1", PROMPTS[2]: "prompt_2"}.get(kind, kind.replace(" ", "_"))


def arrays(scores: Scores) -> dict[str, np.ndarray]:
    """The arrays of cases.npz (see the module's docstring)."""
    cases, frames = scores.cases, {"": scores.clean_frames, "paper_": scores.paper_frames}
    stored: dict[str, np.ndarray] = {
        name: np.array([getattr(case, name) for case in cases], dtype=str)
        for name in ("phrase", "category", "patient", "study", "image_id")
    }
    stored["seen"], stored["mirrored"] = scores.seen_N, scores.mirrored_N
    stored["boxes_xywh"] = np.concatenate([case.boxes for case in cases])
    stored["boxes_case"] = np.repeat(np.arange(len(cases)), [len(case.boxes) for case in cases])
    stored |= masks(cases)
    for name in ("rows", "columns", "crop", "scale"):
        stored[name] = np.array([getattr(frame, name) for frame in frames[""]])
    for prefix, frames_N in frames.items():
        stored[f"{prefix}pad"] = np.array([frame.pad for frame in frames_N])
        stored[f"{prefix}square"] = np.array([(frame.height, frame.width) for frame in frames_N])
    stored["kinds"], stored["metrics"] = np.array([slug(kind) for kind in scores.kinds]), np.array(METRICS)
    stored["values"] = np.array([[kind.values[metric] for metric in METRICS] for kind in scores.kinds.values()])
    stored |= peaks.diagnose(scores)
    stored |= {"radzero_pointing": scores.radzero.pointing_N, "radzero_dice": scores.radzero.dice_NT}
    stored["radzero_thresholds"] = THRESHOLDS
    for name, kind in scores.kinds.items():
        stored |= {f"clean__{slug(name)}": kind.clean_NHW}
        stored |= {} if kind.paper_NHW is None else {f"paper__{slug(name)}": kind.paper_NHW}
    return stored | {f"sentence__{slug(kind)}": np.array(texts, str) for kind, texts in scores.sentences.items()}


def masks(cases: Sequence[Case]) -> dict[str, np.ndarray]:
    """The arrays of cases.npz that hold the targets that are masks."""
    found = [(n, case.target) for n, case in enumerate(cases) if isinstance(case.target, PixelMask)]
    bits = [target.bits for _, target in found]
    return {
        "mask_case": np.array([n for n, _ in found], int),
        "mask_shape": np.array([target.shape for _, target in found], int).reshape(-1, 2),
        "mask_start": np.cumsum([0, *map(len, bits)])[:-1],
        "mask_bits": np.concatenate([np.zeros(0, np.uint8), *bits]),
    }


def probe_arrays(probes: Probes) -> dict[str, np.ndarray]:
    """The arrays of cases.npz that come from the probes."""
    names = {"probed_images": np.array(probes.images, str), "probed_sentences": np.array(probes.sentences, str)}
    return probes.values | names | {"probed_scores": probes.scores_IM}


def table(metrics: dict[str, Any]) -> Table:
    """The headline metrics and the controls, narrow enough for a terminal; every interval is in metrics.json."""
    title = f"{metrics['set']}, {metrics['cases']} cases, {metrics['patients']} patients (95% intervals)"
    printed = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, title=title)
    for name in ("map", "pointing", "CNR", "mIoU", "Dice"):
        printed.add_column(name, justify="left" if name == "map" else "right", no_wrap=True)
    for name, means in page.rows(metrics).items():
        cells = [_cell(means, metric, interval=metric in JUDGED) for metric in HEADLINE]
        printed.add_row(name, *cells, style="bold" if name.startswith(MODEL) else "")
    for row in metrics["published"]:
        if row["protocol"] == "paper":
            figures = ("–" if metric not in row else f"{row[metric]:.3f}" for metric in HEADLINE)
            printed.add_row(f"published: {row['method']}", *figures, style="dim")
    return printed


def _cell(means: dict[str, Any], metric: str, interval: bool) -> str:
    if means[metric] is None:
        return "–"
    low, high = means[f"{metric}_ci"]
    return f"{means[metric]:.2f} [{low:.2f}, {high:.2f}]" if interval else f"{means[metric]:.3f}"


def show(metrics: dict[str, Any]) -> None:
    """Prints the table and the counts of cases that could not be scored."""
    console = Console()
    console.print(table(metrics))
    for reason, count in metrics["lost"].items():
        console.print(f"not scored: {count} cases, {reason}", highlight=False)
    if metrics["protocols"]["paper"]["outside"]:
        console.print(f"outside the paper protocol's centre: {metrics['protocols']['paper']['outside']} cases")
    for note, count in metrics["notes"].items():
        console.print(f"note: {count} {note}", highlight=False)
    if metrics["once"]:
        console.print(ledger.line(metrics["once"]), highlight=False)
    comparison = "above" if metrics["separate"] else "not above"
    console.print(f"pointing and CNR intervals of the seen cases: {comparison} those of every control", highlight=False)
