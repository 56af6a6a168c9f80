"""A setting of the search space → its axis: linear, logarithmic or one slot for each choice.

In: a `SweepContent`. Out: a `SettingScale`, which knows where a trial stands and whether it stands at the edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sentalign import plot_axes
from sentalign.plot_axes import Axis
from sentalign.sweep.content import LOG_SPACES, SweepContent, TrialContent, finite
from sentalign.sweep.wording import setting_text, settings_line

CHOICES = ("choice", "grid")
EDGE = 0.02  # of a range: a best value nearer to its end calls for a wider range


@dataclass(frozen=True)
class SettingScale:
    """How one setting is drawn. `ends`: bounds and all values; `labels`: categories in the order of the file."""

    name: str
    kind: Literal["linear", "log", "categories"]
    ends: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None

    def coordinate(self, trial: TrialContent) -> float | None:
        """What an `Axis` of this scale places; None where the trial does not have the setting."""
        if self.name not in trial.parameters:
            return None
        if self.kind == "categories":
            return self.labels.index(setting_text(trial.parameters[self.name]))
        value = finite(trial.parameters[self.name])
        # 0 has no place on a logarithmic axis, and stands at its low end.
        return max(value, min(self.ends)) if value is not None and self.kind == "log" else value

    def axis(self, start: float, end: float) -> Axis:
        if self.kind == "categories":
            return plot_axes.categorical(self.labels, start, end)
        return (plot_axes.logarithmic if self.kind == "log" else plot_axes.linear)(self.ends, start, end)

    def at_edge(self, trial: TrialContent) -> bool:
        """Whether the value lies at an end of its range, where a wider range may hold a better one."""
        value = self.coordinate(trial)
        if value is None or self.bounds is None:
            return False
        build = plot_axes.logarithmic if self.kind == "log" else plot_axes.linear
        place = build(self.bounds, 0, 1000).place
        low, high = map(place, self.bounds)
        return not low + EDGE * (high - low) < place(value) < high - EDGE * (high - low)


def scale(sweep: SweepContent, name: str) -> SettingScale | None:
    """The scale of a setting; None where neither a domain nor a trial gives it a value."""
    domain = sweep.space[name]
    values = [trial.parameters[name] for trial in sweep.trials if name in trial.parameters]
    choices = next((list(domain[kind]) for kind in CHOICES if kind in domain), None)
    numbers = [number for number in map(finite, values) if number is not None]
    if choices is not None or any(finite(value) is None and not isinstance(value, float | None) for value in values):
        labels = dict.fromkeys(map(setting_text, [*(choices or []), *values]))
        return SettingScale(name, "categories", labels=tuple(labels)) if labels else None
    bounds = _bounds(domain)
    ends = (*numbers, *(bounds or ()))
    if not ends:
        return None
    above_zero = tuple(value for value in ends if value > 0)
    if above_zero and any(kind in domain for kind in LOG_SPACES):
        return SettingScale(name, "log", above_zero, bounds=bounds if bounds and bounds[0] > 0 < bounds[1] else None)
    return SettingScale(name, "linear", ends, bounds=bounds)


def scales(sweep: SweepContent) -> list[SettingScale]:
    """Of all settings, in the order of the sweep file."""
    found = (scale(sweep, name) for name in sweep.space)
    return [one for one in found if one is not None]


def domain_text(domain: dict[str, Any]) -> str:
    """The domain of a setting in words: "0.05 to 0.3, loguniform"; the condition, if it has one."""
    kind, values = next(((kind, value) for kind, value in domain.items() if kind != "when"), ("", ()))
    if kind in CHOICES:
        text = " · ".join(map(setting_text, values))
    else:
        bounds = _bounds(domain)
        text = f"{setting_text(bounds[0])} to {setting_text(bounds[1])}, {kind}" if bounds else ""
    return text + (f"; only with {_condition_text(domain['when'])}" if domain.get("when") else "")


def _condition_text(condition: Any) -> str:
    """A condition is a mapping of settings to values."""
    if not isinstance(condition, dict):
        return setting_text(condition)
    return settings_line(condition, ", ")


def _bounds(domain: dict[str, Any]) -> tuple[float, float] | None:
    for kind, values in domain.items():
        if kind not in (*CHOICES, "when") and isinstance(values, Sequence) and len(values) >= 2:
            low, high = finite(values[0]), finite(values[1])
            if low is not None and high is not None:
                return low, high - (kind == "randint")  # randint is without its upper bound
    return None
