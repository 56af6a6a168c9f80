"""Parallel coordinates: one line a trial through its value on every setting and objective.

In: a `SweepContent` and its scales. Out: a dict for `templates/plots.html.j2`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sentalign import plot_axes
from sentalign.plot_axes import Axis
from sentalign.sweep.content import MetricGoal, SweepContent, TrialContent
from sentalign.sweep.page.frame import line_mark, short, shown_range
from sentalign.sweep.page.scales import SettingScale

# Between two axes, free at both sides; the ends of an axis, the place of what is not set.
APART, SIDE, HEIGHT, ABOVE, BELOW, UNSET = 150, 76, 330, 44, 290, 310
SHADES = 5  # from the worst fifth of the trials to the best
LONGEST_NAME, LONGEST_TICK = 19, 10


class _Vertical(NamedTuple):
    """An axis, and what a trial has on it."""

    name: str
    axis: Axis
    value: Callable[[TrialContent], float | None]


def parallel(sweep: SweepContent, settings: Sequence[SettingScale]) -> dict[str, Any] | None:
    """One axis a setting, then one an objective; None of fewer than two settings, which are drawn elsewhere."""
    if len(settings) < 2:
        return None
    verticals = [_Vertical(one.name, one.axis(BELOW, ABOVE), one.coordinate) for one in settings]
    verticals += [_objective(sweep, goal) for goal in sweep.goals if _values(sweep, goal)]
    unset = [SIDE + APART * n for n, one in enumerate(settings) if any(one.coordinate(t) is None for t in sweep.trials)]
    return {
        "width": 2 * SIDE + APART * (len(verticals) - 1),
        "height": HEIGHT,
        "top": ABOVE,
        "bottom": BELOW,
        "axes": [_axis(SIDE + APART * n, one) for n, one in enumerate(verticals)],
        "lines": _lines(sweep, verticals, len(settings)),
        "unset": unset,
        "unset_y": UNSET + 16,
    }


def _values(sweep: SweepContent, goal: MetricGoal) -> list[float]:
    return [trial.values[goal.metric] for trial in sweep.trials if goal.metric in trial.values]


def _objective(sweep: SweepContent, goal: MetricGoal) -> _Vertical:
    axis = plot_axes.linear(shown_range(goal, _values(sweep, goal)), BELOW, ABOVE)
    return _Vertical(goal.metric, axis, lambda trial: trial.values.get(goal.metric))


def _lines(sweep: SweepContent, verticals: Sequence[_Vertical], settings: int) -> list[dict[str, Any]]:
    """Worst first, so that the best are on top; a trial without a value ends at its last setting."""
    shades = _shades(sweep)
    lines = []
    for trial in sorted(sweep.trials, key=lambda t: shades.get(t.number, -1)):
        crossed = verticals if trial.number in shades else verticals[:settings]
        if trial.parameters:
            points = [(float(SIDE + APART * n), _height(one, trial)) for n, one in enumerate(crossed)]
            lines.append(line_mark(sweep, trial, points) | {"shade": shades.get(trial.number)})
    return sorted(lines, key=lambda line: line["mark"] == "best")


def _height(vertical: _Vertical, trial: TrialContent) -> float:
    """What the trial does not have stands below the axis."""
    value = vertical.value(trial)
    return UNSET if value is None else min(max(vertical.axis.place(value), ABOVE), BELOW)


def _axis(x: float, one: _Vertical) -> dict[str, Any]:
    ticks = [(place, short(text, LONGEST_TICK)) for place, text in one.axis.ticks]
    # Names of settings differ at their ends.
    name = one.name if len(one.name) <= LONGEST_NAME else "…" + one.name[1 - LONGEST_NAME :]
    return {"x": x, "name": one.name, "short": name, "ticks": ticks}


def _shades(sweep: SweepContent) -> dict[int, int]:
    """By trial: 0 for the worst fifth by the first objective, 4 for the best."""
    if not sweep.goals:
        return {}
    goal = sweep.goals[0]
    known = [trial for trial in sweep.trials if goal.metric in trial.values]
    known.sort(key=lambda t: t.values[goal.metric], reverse=goal.mode == "min")
    return {trial.number: rank * SHADES // len(known) for rank, trial in enumerate(known)}
