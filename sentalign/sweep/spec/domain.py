"""The values that one setting of a sweep may take, and under which condition the setting is part of a point at all.

In: the mapping under `space.SETTING`. Out: a `Domain`, its extremes, and points without the settings that do not apply.
The names and bounds are those of Ray Tune's search spaces; nothing is drawn here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, model_validator

from sentalign.config import StrictModel

Parameters = dict[str, Any]  # dotted settings of one point


class Domain(StrictModel):
    """The values that one setting may take, by exactly one of these distributions."""

    uniform: tuple[float, float] | None = None
    loguniform: tuple[float, float] | None = None
    quniform: tuple[float, float, float] | None = Field(None, description="the third number is the step")
    qloguniform: tuple[float, float, float] | None = Field(None, description="the third number is the step")
    randint: tuple[int, int] | None = Field(None, description="from the first up to, and without, the second")
    qrandint: tuple[int, int, int] | None = Field(None, description="with the second; the third number is the step")
    choice: list[Any] | None = Field(None, min_length=1)
    grid: list[Any] | None = Field(None, min_length=1, description="each value with each of the other grids")
    when: Parameters = Field(default_factory=dict, description="part of a point only where these settings have these")

    @model_validator(mode="after")
    def _one_distribution(self) -> Domain:
        names = [name for name in DISTRIBUTIONS if getattr(self, name) is not None]
        if len(names) != 1:
            raise ValueError(f"give exactly one of {', '.join(DISTRIBUTIONS)}")
        if names[0] not in ("choice", "grid"):
            self._check_bounds(names[0])
        return self

    def _check_bounds(self, name: str) -> None:
        low, high, *steps = getattr(self, name)
        if not low < high or ("log" in name and low <= 0):
            raise ValueError(f"{name} needs a lower and a larger bound, above 0 for loguniform")
        for step in steps:
            if not 0 < step <= high - low:
                raise ValueError(f"the step of {name} must be above 0 and at most the width {high - low:g}")
            if not (is_multiple(low, step) and is_multiple(high, step)):
                inner = f"[{math.ceil(low / step) * step:g}, {math.floor(high / step) * step:g}, {step:g}]"
                raise ValueError(f"the bounds of {name} must be multiples of its step, as in {inner}")

    @property
    def distribution(self) -> str:
        """The name of the one that is given."""
        return next(name for name in DISTRIBUTIONS if getattr(self, name) is not None)

    @property
    def arguments(self) -> list[Any]:
        """The bounds and the step, or the values."""
        return list(getattr(self, self.distribution))

    @property
    def values(self) -> list[Any] | None:
        """All values where they are listed, None for an interval."""
        return self.choice or self.grid

    @property
    def extremes(self) -> list[Any]:
        """The values to validate: the bounds, or every value."""
        if self.values is not None:
            return self.values
        low, high = self.arguments[:2]
        return [low, high - 1 if self.distribution == "randint" else high]

    def contains(self, value: Any) -> bool:
        """Whether the value can be drawn."""
        if self.values is not None:
            return value in self.values
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        low, high = self.extremes
        steps = [1] if self.distribution == "randint" else self.arguments[2:]
        return low <= value <= high and all(is_multiple(value, step) for step in steps)


def is_multiple(value: float, step: float) -> bool:
    """As Ray Tune has it, up to rounding."""
    return math.isclose(value / step, round(value / step))


DISTRIBUTIONS = tuple(name for name in Domain.model_fields if name != "when")
Space = dict[str, Domain]


def holds(when: Mapping[str, Any], values: Parameters) -> bool:
    """Whether a point has all the values of a condition; a list is any of its values."""
    return all(
        setting in values and values[setting] in (wanted if isinstance(wanted, list) else [wanted])
        for setting, wanted in when.items()
    )


def in_order(space: Space) -> Iterator[tuple[str, Domain]]:
    """Every setting after those of its condition. Raises ValueError: a circle, or a condition on another setting."""
    done: set[str] = set()
    while len(done) < len(space):
        ready = [setting for setting, domain in space.items() if setting not in done and set(domain.when) <= done]
        if not ready:
            setting = next(setting for setting in space if setting not in done)
            missing = [name for name in space[setting].when if name not in space]
            reason = f"{missing[0]} is not in the space" if missing else "the conditions form a circle"
            raise ValueError(f"space.{setting}.when: {reason}")
        for setting in ready:
            yield setting, space[setting]
        done.update(ready)


def active(space: Space, values: Parameters) -> Parameters:
    """The point without the settings whose condition does not hold; in the order of the space."""
    kept: Parameters = {}
    for setting, domain in in_order(space):
        if setting in values and holds(domain.when, kept):
            kept[setting] = values[setting]
    return {setting: kept[setting] for setting in space if setting in kept}


def condition_of(space: Space, setting: str) -> Parameters:
    """Values of other settings under which a setting is part of a point. Raises ValueError where there are none."""
    return {other: values[0] for other, values in requirements(space, setting).items()}


def requirements(space: Space, setting: str) -> dict[str, list[Any]]:
    """The values that each other setting must have one of, by the conditions of the setting and of those others.

    Raises ValueError where they never have.
    """
    found: dict[str, list[Any]] = {}
    for other, wanted in space[setting].when.items():
        choices = wanted if isinstance(wanted, list) else [wanted]
        own = {other: [value for value in choices if _can_be(space[other], value)]}
        for name, values in [*requirements(space, other).items(), *own.items()]:
            found[name] = [value for value in found.get(name, values) if value in values]
    for name, values in found.items():
        if not values:
            conditions = " and ".join(f"{other} is {wanted}" for other, wanted in space[setting].when.items())
            raise ValueError(f"space.{setting}.when never holds: {conditions} in no point, by the values of {name}")
    return found


def _can_be(domain: Domain, value: Any) -> bool:
    """Whether a draw can equal the value; no draw of an interval without steps does."""
    is_discrete = domain.values is not None or domain.distribution in ("quniform", "qloguniform", "randint", "qrandint")
    return is_discrete and domain.contains(value)
