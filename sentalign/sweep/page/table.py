"""All trials as one table of full width, for the page and for trials.csv; nothing is cut off.

In: a `SweepContent`. Out: columns and rows of text, best first.
"""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from sentalign.sweep.content import SweepContent, TrialContent
from sentalign.sweep.wording import duration, setting_text

NONE = "–"


def best_first(sweep: SweepContent) -> list[TrialContent]:
    """The best trial, then those that keep to the constraints, those that do not, those without a value; by value."""

    def key(trial: TrialContent) -> tuple[bool, bool, bool, float, int]:
        value = trial.values.get(sweep.goals[0].metric) if sweep.goals else None
        sign = -1 if sweep.goals and sweep.goals[0].mode == "max" else 1
        rank = math.inf if value is None else sign * value
        return trial is not sweep.best, value is None, bool(sweep.violated(trial)), rank, trial.number

    return sorted(sweep.trials, key=key)


def cells(sweep: SweepContent) -> dict[str, Any]:
    """The table of the page: `columns`, and `rows` of a trial and its cells."""
    names = sweep.metrics
    columns = ["trial", "state", *names, *sweep.space, "pairs", "best at", "time"]
    return {"columns": columns, "rows": [_row(sweep, trial, names) for trial in best_first(sweep)]}


def _row(sweep: SweepContent, trial: TrialContent, names: list[str]) -> dict[str, Any]:
    broken = {bound.metric for bound in sweep.violated(trial)}
    values = [(trial.value_text(metric, NONE), metric in broken) for metric in names]
    chosen = [setting_text(trial.parameters[s]) if s in trial.parameters else NONE for s in sweep.space]
    at = NONE if trial.best_pairs is None else f"{trial.best_pairs:,}"
    time = duration(trial.seconds) if trial.seconds else NONE
    return {
        "trial": trial,
        "best": trial is sweep.best,
        "front": trial.number in sweep.front,
        "violates": [str(bound) for bound in sweep.violated(trial)],
        "values": values,
        "cells": [*chosen, f"{trial.pairs:,}", at, time],
    }


def as_csv(sweep: SweepContent) -> str:
    """One line a trial, values in full; the values of the seeds are separated by spaces."""
    names = sweep.metrics
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    seeds = [name for name in names if any(len(trial.by_seed.get(name, ())) > 1 for trial in sweep.trials)]
    start = ["trial", "status", "pairs", "best_pairs", "seconds"]
    writer.writerow([*start, *names, *(f"{s} by seed" for s in seeds), *sweep.space, "violates", "error"])
    for trial in best_first(sweep):
        at = "" if trial.best_pairs is None else trial.best_pairs
        values = [trial.values.get(name, "") for name in names]
        by_seed = [" ".join(map(str, trial.by_seed.get(name, ()))) for name in seeds]
        chosen = [_in_full(trial.parameters[s]) if s in trial.parameters else "" for s in sweep.space]
        about = [trial.number, trial.status, trial.pairs, at, round(trial.seconds, 1)]
        violated = "; ".join(map(str, sweep.violated(trial)))
        writer.writerow([*about, *values, *by_seed, *chosen, violated, trial.error])
    return text.getvalue()


def _in_full(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else setting_text(value)
