"""The frame of a plot: its size, axes and text; how a trial is marked in every plot of the page.

In: axes and words. Out: a `Frame` for `templates/plots.html.j2`, which draws it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sentalign import plot_axes
from sentalign.plot_axes import Axis
from sentalign.sweep.content import MetricGoal, SweepContent, TrialContent
from sentalign.sweep.wording import number, settings_line

CHARACTER = 6.4  # units of a plot that a character of a tick takes, at most
TOP, BOTTOM, RIGHT = 30, 44, 14
SLANTED = 40  # more below, where the labels of categories do not fit side by side
LONGEST_LABEL = 14
OUTLIERS_FROM, OUTLIER = 8, 3.0  # values; interquartile ranges beyond the quartile


@dataclass(frozen=True)
class Frame:
    """A plot without its marks. Everything is in the plot's own units."""

    title: str
    description: str
    x_name: str
    y_name: str
    width: int
    height: int
    left: float
    bottom: float
    x: Axis
    y: Axis
    slanted: bool = False

    @property
    def right(self) -> float:
        return self.width - RIGHT

    @property
    def top(self) -> float:
        return TOP

    def point(self, x: float, y: float) -> tuple[float, float]:
        """The place of two values; one beyond an axis stands at its end."""
        return min(max(self.x.place(x), self.left), self.right), self.point_y(y)

    def point_y(self, y: float) -> float:
        return min(max(self.y.place(y), TOP), self.bottom)


def frame(
    words: tuple[str, str, str, str],
    size: tuple[int, int],
    x_axis: Callable[[float, float], Axis],
    y_values: Sequence[float],
) -> Frame:
    """`words`: title, description, name of x, name of y."""
    width, height = size
    y_labels = plot_axes.linear(y_values, 0, 1).ticks
    left = 14 + CHARACTER * max((len(text) for _, text in y_labels), default=1)
    x = _shortened(x_axis(left, width - RIGHT))
    slanted = x.categories and not _fits(x, width - RIGHT - left)
    bottom = height - BOTTOM - (SLANTED if slanted else 0)
    return Frame(*words, width, height, left, bottom, x, plot_axes.linear(y_values, bottom, TOP), slanted)


def _shortened(axis: Axis) -> Axis:
    return Axis(axis.place, tuple((place, short(text)) for place, text in axis.ticks), axis.categories)


def short(text: str, longest: int = LONGEST_LABEL) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _fits(axis: Axis, reach: float) -> bool:
    longest = max((len(text) for _, text in axis.ticks), default=0)
    return CHARACTER * (longest + 1) <= reach / max(len(axis.ticks), 1)


def shown_range(goal: MetricGoal, values: Sequence[float]) -> list[float]:
    """The values that the axis holds: far outliers on the worse side are left out, and stand at its end."""
    if len(values) < OUTLIERS_FROM:
        return list(values)
    low, high = (float(quartile) for quartile in np.quantile(values, [0.25, 0.75]))
    reach = OUTLIER * (high - low)
    worst = low - reach if goal.mode == "max" else high + reach
    return [value for value in values if not reach or not goal.better(worst, value)]


def within(goal: MetricGoal, values: Sequence[float]) -> list[float]:
    """Far outliers on the worse side moved to the worst value that is shown."""
    shown = shown_range(goal, values)
    return [min(max(value, min(shown)), max(shown)) for value in values]


def mark(sweep: SweepContent, trial: TrialContent) -> str:
    """best, violating (a constraint is violated), or the trial's status."""
    if sweep.best and trial.number == sweep.best.number:
        return "best"
    return "violating" if sweep.violated(trial) else trial.status


def in_words(sweep: SweepContent, trial: TrialContent) -> str:
    """What is shown when the pointer is over a trial."""
    values = [f"{metric} {number(value)}" for metric, value in trial.values.items() if _is_goal(sweep, metric)]
    chosen = [settings_line(trial.parameters, ", ")] if trial.parameters else []
    violated = [f"violates {bound}" for bound in sweep.violated(trial)]
    return ", ".join([f"trial {trial.number}, {trial.status}", *values, *violated, *chosen])


def _is_goal(sweep: SweepContent, metric: str) -> bool:
    return any(goal.metric == metric for goal in sweep.goals)


def order(sweep: SweepContent, trials: Sequence[TrialContent]) -> list[TrialContent]:
    """Drawn last, and so on top: the best trial."""
    return sorted(trials, key=lambda trial: mark(sweep, trial) == "best")


def point_mark(sweep: SweepContent, trial: TrialContent, place: tuple[float, float]) -> dict[str, Any]:
    return {"x": place[0], "y": place[1], "mark": mark(sweep, trial), "words": in_words(sweep, trial), "spread": None}


def line_mark(sweep: SweepContent, trial: TrialContent, points: Sequence[tuple[float, float]]) -> dict[str, Any]:
    path = " ".join(f"{x},{y}" for x, y in points)
    return {"path": path, "end": points[-1], "mark": mark(sweep, trial), "words": in_words(sweep, trial)}
