"""A constraint on a metric, as the sweep file has it (`>= 0.95`) and as trials.json has it.

In: text, or plain data. Out: a `Bound`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sharding.contract import UserError

BOUND = re.compile(r"\s*(>=|<=)\s*([-+.\deE]+)\s*")
NAMES = {">=": "at_least", "<=": "at_most"}  # in trials.json


@dataclass(frozen=True)
class Bound:
    """A constraint on a metric."""

    metric: str
    sign: str
    value: float

    @classmethod
    def parse(cls, metric: str, text: str) -> Bound:
        """`>= 0.95` or `<= 3`. Raises UserError."""
        match = BOUND.fullmatch(text)
        try:
            return cls(metric, match.group(1), float(match.group(2)))  # type: ignore[union-attr]
        except (AttributeError, ValueError):
            raise UserError(f'constraints.{metric}: {text!r} is no bound; write for example ">= 0.95"') from None

    def violation(self, values: Mapping[str, float]) -> float:
        """How far the metric is beyond the bound; 0 where it holds, inf without a value."""
        if self.metric not in values:
            return math.inf
        beyond = self.value - values[self.metric]
        return max(0.0, beyond if self.sign == ">=" else -beyond)

    def as_dict(self) -> dict[str, Any]:
        return {"metric": self.metric, NAMES[self.sign]: self.value}

    def __str__(self) -> str:
        return f"{self.metric} {self.sign} {self.value:g}"
