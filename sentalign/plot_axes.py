"""Values → places on an axis of a plot, and the ticks that name them: the one axis code of every SVG of this project.

In: the values, and where the axis starts and ends in the plot's own units. Out: an `Axis`. Nothing is drawn here; the
shapes are in the templates of a page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

TICKS = 5  # at most so many intervals between ticks
LOG_SUBDIVISIONS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0))
FEWEST_LOG_TICKS = 3
ROOM = 0.04  # of a linear or logarithmic axis, free at each end


@dataclass(frozen=True)
class Axis:
    """Where a value stands, in the plot's own units, and the ticks: place and label."""

    place: Callable[[Any], float]
    ticks: tuple[tuple[float, str], ...] = ()
    categories: bool = False


def position(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Linear: `low` stands at `start` and `high` at `end`; both at `start` where they are equal."""
    reach = end - start
    return lambda value: round(start + reach * (value - low) / ((high - low) or 1.0), 1)


def linear(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis that holds all values, with round ticks."""
    from matplotlib.ticker import MaxNLocator

    low, high = _widened(min(values), max(values))
    place = position(low, high, start, end)
    ticks = MaxNLocator(TICKS, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    inside = [float(tick) for tick in ticks if low <= tick <= high]
    return Axis(place, tuple((place(tick), label(tick)) for tick in inside))


def logarithmic(values: Sequence[float], start: float, end: float) -> Axis:
    """The same with equal factors at equal distances; every value is above 0."""
    low, high = _widened(math.log10(min(values)), math.log10(max(values)))
    linear_place = position(low, high, start, end)
    ticks = _log_ticks(low, high)
    return Axis(
        lambda value: linear_place(math.log10(value)), tuple((linear_place(math.log10(t)), label(t)) for t in ticks)
    )


def categorical(labels: Sequence[str], start: float, end: float) -> Axis:
    """One slot for each label, of equal widths; a value is the number of its label."""
    slot = (end - start) / max(len(labels), 1)
    places = [round(start + slot * (number + 0.5), 1) for number in range(len(labels))]
    return Axis(lambda number: places[int(number)], tuple(zip(places, labels, strict=True)), categories=True)


def label(value: float) -> str:
    """A tick or value in at most four digits: 0.05, 12,800, 1e-05."""
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def _widened(low: float, high: float) -> tuple[float, float]:
    """Free space at both ends; a single value gets an axis around it."""
    room = (high - low) * ROOM or abs(low) * 0.1 or 0.1
    return low - room, high + room


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with steps between them where there are few; linear ticks over less than a factor of two or so."""
    from matplotlib.ticker import MaxNLocator

    decades = range(math.floor(low), math.ceil(high) + 1)
    found: list[float] = []
    for steps in LOG_SUBDIVISIONS:
        found = [step * 10.0**decade for decade in decades for step in steps]
        found = [tick for tick in found if tick > 0 and low <= math.log10(tick) <= high]
        if len(found) >= FEWEST_LOG_TICKS:
            return found[:: math.ceil(len(found) / (2 * TICKS))]
    ends = 10.0**low, 10.0**high
    ticks = MaxNLocator(TICKS, steps=[1, 2, 2.5, 5, 10]).tick_values(*ends)
    return [float(tick) for tick in ticks if ends[0] <= tick <= ends[1]]
