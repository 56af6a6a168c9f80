"""metrics.json of every run → the figures of a row over its seeds, and its difference from the reference, seed by seed.

In: the folder of a study. Out: the content of study.json; spreads and differences of any such content.
"""

# S seeds

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from sentalign.study.run import METRICS, STEP, evaluation_step, training_step
from sentalign.study.spec import StudyPlan, settings_of

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Figure:
    """One column: its heading, where metrics.json holds it."""

    heading: str
    read: Callable[[dict[str, Any]], float | None]
    digits: int = 3


def _of_kinds(metrics: dict[str, Any], metric: str) -> list[float]:
    seen = metrics["protocols"]["clean"]["seen"]
    return [kind["mean"] for kind in seen[metric]["categories"].values() if kind["mean"] is not None] if seen else []


def _side(metrics: dict[str, Any]) -> float | None:
    seen = metrics["diagnosis"]["seen"]
    return seen and seen["side"]["pooled"]


def _displacement(metrics: dict[str, Any]) -> float | None:
    """The longest median displacement of a seen kind: the larger of |dx| and |dy|, pixels of the network's input."""
    seen = metrics["diagnosis"]["seen"]
    kinds = seen["displacement"]["categories"].values() if seen else ()
    return max((max(abs(kind["dx"]), abs(kind["dy"])) for kind in kinds if kind["cases"]), default=None)


def _control(metrics: dict[str, Any], name: str) -> float | None:
    """Pointing of one control on seen kinds."""
    means = metrics["controls"].get(name)
    return means and means["pointing"]


def _best_control(metrics: dict[str, Any]) -> float | None:
    return max((means["pointing"] for means in metrics["controls"].values() if means), default=None)


def _saliency(metrics: dict[str, Any]) -> float | None:
    best = metrics["saliency_best"]
    return best and _control(metrics, best["pointing"])


def _wordings(metrics: dict[str, Any], subset: str) -> float | None:
    """Pointing on seen or withheld wordings of seen kinds; evaluations of older versions do not have it."""
    means = (metrics.get("wordings") or {}).get(subset)
    return means and means["pointing"]


FIGURES = {
    "pointing": Figure("pointing, seen kinds", lambda m: m["seen"] and m["seen"]["pointing"]),
    "worst_kind": Figure("pointing, worst kind", lambda m: min(_of_kinds(m, "pointing"), default=None)),
    "average_precision": Figure(
        "pixel AP", lambda m: m["seen"] and m["protocols"]["clean"]["seen"]["average_precision"]["pooled"]
    ),
    "cnr": Figure("signed CNR", lambda m: m["seen"] and m["seen"]["cnr"], digits=2),
    "miou": Figure("mIoU", lambda m: m["seen"] and m["seen"]["miou"]),
    "side": Figure("right side", _side),
    "displacement": Figure("largest displacement of a kind, px", _displacement, digits=1),
    "withheld": Figure("pointing, withheld kind", lambda m: m["withheld"] and m["withheld"]["pointing"]),
    "seen_wordings": Figure("pointing, seen wordings", lambda m: _wordings(m, "seen")),
    "withheld_wordings": Figure("pointing, withheld wordings", lambda m: _wordings(m, "withheld")),
    "plain_pointing": Figure("pointing, plain map", lambda m: m["plain"]["seen"] and m["plain"]["seen"]["pointing"]),
    "control": Figure("pointing, best control", _best_control),
    "shuffled": Figure("pointing, shuffled sentences", lambda m: _control(m, "shuffled sentences")),
    "saliency": Figure("pointing, best text-free saliency", _saliency),
    "separate": Figure("intervals above all controls, share", lambda m: float(m["separate"]), digits=2),
}


def number(figure: str, value: float, sign: str = "") -> str:
    """A value of a figure as text, with the digits of its column."""
    digits = FIGURES[figure].digits if figure in FIGURES else 3
    return f"{value:{sign}.{digits}f}"


def collect(study: StudyPlan) -> dict[str, Any]:
    """The content of study.json: for each row its settings and every figure by seed, null where a run is missing."""
    rows = {name: _row(study, name) for name in study.rows}
    return {
        "title": study.title,
        "reference": study.reference,
        "seeds": study.seeds,
        "figures": {name: figure.heading for name, figure in FIGURES.items()},
        "data": {name: study.data[name].model_dump() for name in dict.fromkeys(map(study.data_of, study.rows))},
        "rows": rows,
    }


def _row(study: StudyPlan, name: str) -> dict[str, Any]:
    row = study.rows[name]
    values: dict[str, list[float | None]] = {figure: [] for figure in FIGURES}
    seconds = []
    for seed in study.seeds:
        evaluated, trained = evaluation_step(study, name, seed), training_step(study, study.trained_row(name), seed)
        complete = (evaluated.folder / STEP).is_file()
        metrics = json.loads((evaluated.folder / METRICS).read_text(encoding="utf-8")) if complete else None
        for figure in FIGURES:
            values[figure].append(FIGURES[figure].read(metrics) if metrics else None)
        seconds.append(json.loads((trained.folder / STEP).read_text())["seconds"] if complete else None)
    settings = {
        "set": {} if row.runs_of else settings_of(study, name),
        "data": study.data_of(name),
        "starts_from": row.starts_from,
        "runs_of": row.runs_of,
        "evaluate": row.evaluate,
    }
    return settings | {"figures": values, "training_seconds": seconds}


@dataclass(frozen=True)
class Spread:
    """A figure over the seeds that have it."""

    values: dict[int, float]  # by seed
    mean: float
    low: float
    high: float


def spread(content: dict[str, Any], row: str, figure: str) -> Spread | None:
    """Mean, smallest and largest value over the seeds; None where no run has the figure."""
    values_S = content["rows"][row]["figures"].get(figure, [])
    by_seed = {seed: value for seed, value in zip(content["seeds"], values_S, strict=False) if value is not None}
    if not by_seed:
        return None
    values = list(by_seed.values())
    return Spread(by_seed, float(np.mean(values)), min(values), max(values))


def difference(content: dict[str, Any], row: str, figure: str) -> tuple[float, float, float] | None:
    """Mean difference from the reference over the seeds of both, and its 95% interval (Student's t, paired).

    None for the reference itself and where fewer than two seeds have both.
    """
    reference = content["reference"]
    mine, other = spread(content, row, figure), spread(content, reference, figure) if reference else None
    if row == reference or mine is None or other is None:
        return None
    seeds = mine.values.keys() & other.values.keys()
    if len(seeds) < 2:
        return None
    differences_S = np.array([mine.values[seed] - other.values[seed] for seed in sorted(seeds)])
    mean, error = float(differences_S.mean()), float(stats.sem(differences_S))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(seeds) - 1)) * error
    return mean, mean - reach, mean + reach
