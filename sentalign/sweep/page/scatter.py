"""The objective over each setting with its marginal, and the Pareto front: plots with one mark a trial.

In: a `SweepContent`. Out: dicts for `templates/plots.html.j2`: a `Frame`, marks, lines.
"""

# N trials with a value

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from sentalign import plot_axes
from sentalign.sweep.content import MetricGoal, SweepContent, TrialContent
from sentalign.sweep.page.frame import Frame, frame, order, point_mark, shown_range
from sentalign.sweep.page.scales import SettingScale
from sentalign.sweep.wording import number

SIZE = (380, 270)
JITTER, GOLDEN = 0.5, 0.618034  # of the slot of a category; its multiples are spread evenly
LABEL = (24, 14)  # room that the number of a trial takes
PER_BIN, MOST_BINS, FEWEST_BINS = 4, 6, 2  # trials in a bin of the marginal; bins


def over_setting(sweep: SweepContent, goal: MetricGoal, scale: SettingScale) -> dict[str, Any] | None:
    """The plot of one setting; None where no trial has both the setting and the metric."""
    placed = [(trial, scale.coordinate(trial)) for trial in order(sweep, sweep.trials)]
    known = {t.number: (t, x, t.values[goal.metric]) for t, x in placed if x is not None and goal.metric in t.values}
    if not known:
        return None
    y_values = shown_range(goal, [y for _, _, y in known.values()])
    spreads = [end for t, _, y in known.values() if y in y_values for end in t.spread(goal.metric) or ()]
    words = (f"{goal.metric} over {scale.name}", _described(goal, scale, len(known), sweep), scale.name, goal.metric)
    drawn = frame(words, SIZE, scale.axis, [*y_values, *spreads])
    aside = _jitter(drawn, scale)
    return {
        "frame": drawn,
        "points": [
            point_mark(sweep, t, (drawn.point(x, y)[0] + aside(t), drawn.point_y(y)))
            | {"spread": _spread(drawn, t, goal)}
            for t, x, y in known.values()
        ],
        "without": [
            point_mark(sweep, t, (drawn.x.place(x) + aside(t), drawn.bottom))
            for t, x in placed
            if x is not None and t.number not in known and t.status in ("failed", "interrupted")
        ],
        "marginal": _marginal(drawn, scale, [(x, y) for _, x, y in known.values()]),
        "unset": sum(x is None for _, x in placed),
    }


def _described(goal: MetricGoal, scale: SettingScale, count: int, sweep: SweepContent) -> str:
    text = f"{count} trials; {'larger' if goal.mode == 'max' else 'smaller'} is better."
    if sweep.best and scale.name in sweep.best.parameters and goal.metric in sweep.best.values:
        text += f" The best trial has {number(sweep.best.values[goal.metric])}."
    return text


def _jitter(drawn: Frame, scale: SettingScale) -> Callable[[TrialContent], float]:
    """How far a trial stands beside the middle of its category, so that equal values do not hide each other."""
    if scale.kind != "categories":
        return lambda trial: 0.0
    slot = (drawn.right - drawn.left) / len(scale.labels)
    return lambda trial: round(slot * JITTER * (trial.number * GOLDEN % 1 - 0.5), 1)


def _spread(drawn: Frame, trial: TrialContent, goal: MetricGoal) -> tuple[float, float] | None:
    ends = trial.spread(goal.metric)
    return (drawn.point_y(ends[0]), drawn.point_y(ends[1])) if ends else None


def _marginal(drawn: Frame, scale: SettingScale, values: list[tuple[float, float]]) -> list[tuple[float, float, float]]:
    """Median of the objective in bins of equally many trials, or of each category: x from, x to, y."""
    x_N, y_N = np.array(sorted(values)).T
    if scale.kind == "categories":
        half = 0.3 * (drawn.right - drawn.left) / len(scale.labels)
        medians = [(float(x), float(np.median(y_N[x_N == x]))) for x in np.unique(x_N) if (x_N == x).sum() > 1]
        return [(drawn.x.place(int(x)) - half, drawn.x.place(int(x)) + half, drawn.point_y(y)) for x, y in medians]
    bins = min(MOST_BINS, len(x_N) // PER_BIN)
    if bins < FEWEST_BINS:
        return []
    parts = zip(np.array_split(x_N, bins), np.array_split(y_N, bins), strict=True)
    return [(drawn.x.place(x[0]), drawn.x.place(x[-1]), drawn.point_y(float(np.median(y)))) for x, y in parts]


def fronts(sweep: SweepContent) -> list[dict[str, Any]]:
    """Every two objectives against each other; nothing where there is one."""
    drawn = (_front(sweep, one, other) for one, other in combinations(sweep.goals, 2))
    return [plot for plot in drawn if plot]


def _front(sweep: SweepContent, one: MetricGoal, other: MetricGoal) -> dict[str, Any] | None:
    known = [t for t in order(sweep, sweep.trials) if one.metric in t.values and other.metric in t.values]
    if not known:
        return None
    x_values, y_values = ([t.values[goal.metric] for t in known] for goal in (one, other))
    front = sorted((t for t in known if t.number in sweep.front), key=lambda t: t.values[one.metric])
    members = ", ".join(str(t.number) for t in front) or "none"
    words = (
        f"{other.metric} against {one.metric}",
        f"On the Pareto front: trials {members}.",
        one.metric,
        other.metric,
    )
    shown = shown_range(one, x_values)
    drawn = frame(words, SIZE, lambda a, b: plot_axes.linear(shown, a, b), shown_range(other, y_values))
    place = {t.number: drawn.point(t.values[one.metric], t.values[other.metric]) for t in known}
    return {
        "frame": drawn,
        "points": [point_mark(sweep, t, place[t.number]) | {"front": t in front} for t in known],
        "labels": _labels([(t.number, place[t.number]) for t in front]),
        "line": [place[t.number] for t in front] if len(sweep.goals) == 2 else [],
    }


def _labels(places: list[tuple[int, tuple[float, float]]]) -> list[tuple[int, float, float]]:
    """Number and place of each trial whose number would not stand on another's."""
    kept: list[tuple[int, float, float]] = []
    for trial, (x, y) in places:
        if all(abs(x - other_x) > LABEL[0] or abs(y - other_y) > LABEL[1] for _, other_x, other_y in kept):
            kept.append((trial, x, y))
    return kept
