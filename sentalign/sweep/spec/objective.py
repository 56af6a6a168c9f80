"""What trials are compared by: metrics with modes, constraints, the best trial and the Pareto set.

In: a `Sweep` and its base's configuration; the curves of trials. Out: an `Objective`. What may be compared at all
is in comparable_metrics.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sentalign.config import Config
from sentalign.sweep.spec.bound import Bound
from sentalign.sweep.spec.comparable_metrics import UNORDERED, absence, default_objective, refusal
from sentalign.sweep.spec.settings import Mode, Sweep
from sharding.contract import UserError

Curve = list[tuple[int, dict[str, float]]]  # pairs and the metrics there
SMALLER_IS_BETTER = re.compile(r"loss|(^|/)(local|global)_|attribution_|replaced|wait")


@dataclass(frozen=True)
class Objective:
    """Metrics and modes, the first one for early stopping; and bounds.

    `at_end`: the last validation speaks for a trial, not its best one.
    """

    modes: dict[str, Mode]
    bounds: tuple[Bound, ...]
    at_end: bool = False

    @property
    def first(self) -> str:
        return next(iter(self.modes))

    @property
    def needed(self) -> list[str]:
        """The metrics without which a validation is no report."""
        return list(dict.fromkeys([*self.modes, *(bound.metric for bound in self.bounds)]))

    def sign(self, metric: str) -> float:
        return 1.0 if self.modes[metric] == "max" else -1.0

    def violation(self, values: Mapping[str, float]) -> float:
        return sum(bound.violation(values) for bound in self.bounds)

    def chosen(self, curve: Curve) -> tuple[int, dict[str, float]] | None:
        """The validation that speaks for a trial: the best that meets the bounds, or the last.

        A validation with a value that is NaN or inf never speaks.
        """
        sound = [(pairs, values) for pairs, values in curve if all(math.isfinite(values[m]) for m in self.modes)]
        if not sound:
            return None
        if self.at_end:
            return sound[-1]
        return max(sound, key=lambda point: (-self.violation(point[1]), self.sign(self.first) * point[1][self.first]))

    def best(self, values: Mapping[int, Mapping[str, float]]) -> int | None:
        """The trial with the best first metric of those that meet the bounds; of equal ones the first."""
        feasible = [trial for trial in values if not self.violation(values[trial])]
        key = lambda trial: (self.sign(self.first) * values[trial][self.first], -trial)  # noqa: E731
        return max(feasible, key=key, default=None)

    def pareto(self, values: Mapping[int, Mapping[str, float]]) -> list[int]:
        """The trials that meet the bounds and that no such trial beats in one metric and equals in the others."""
        feasible = {trial: self._scores(row) for trial, row in values.items() if not self.violation(row)}
        return [one for one, own in feasible.items() if not any(dominates(row, own) for row in feasible.values())]

    def _scores(self, values: Mapping[str, float]) -> list[float]:
        return [self.sign(metric) * values[metric] for metric in self.modes]


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether scores, larger is better, are nowhere lower and somewhere higher."""
    return all(a >= b for a, b in zip(one, other, strict=True)) and any(a > b for a, b in zip(one, other, strict=True))


def objective_of(sweep: Sweep, base: Config) -> Objective:
    """The metrics that a sweep compares. Raises UserError where it may not compare by them."""
    metric, mode = (sweep.metric, default_mode(sweep.metric)) if sweep.metric else default_objective(base)
    modes = sweep.metrics or {metric: sweep.mode or mode}
    for name in modes:
        if reason := refusal(name, sweep.space):
            raise UserError(f"metric {name} cannot compare these trials: {reason}")
        if reason := UNORDERED.get(name.removeprefix("validation/")):
            raise UserError(f"metric {name} {reason}")
    bounds = tuple(Bound.parse(name, text) for name, text in sweep.constraints.items())
    _check_written(sweep, base, [*modes, *(bound.metric for bound in bounds)])
    # Several metrics have no common best; a trial that took over another one had other settings before.
    return Objective(dict(modes), bounds, at_end=len(modes) > 1 or sweep.scheduler_kind == "pbt")


def _check_written(sweep: Sweep, base: Config, metrics: Iterable[str]) -> None:
    """Raises UserError where no validation of some trial would write a metric."""
    batches = sweep.space["data.batch"].extremes if "data.batch" in sweep.space else []
    smallest = base.data.model_copy(update={"batch": min([base.data.batch, *batches])})
    for name in metrics:
        if reason := absence(name, base.model_copy(update={"data": smallest})):
            kind = "constraints." if name in sweep.constraints else "metric "
            raise UserError(f"{kind}{name}: {reason}")


def default_mode(metric: str) -> Mode:
    return "min" if SMALLER_IS_BETTER.search(metric) else "max"
