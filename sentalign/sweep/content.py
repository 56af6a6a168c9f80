"""The content of a sweep's trials.json → typed trials, goals and bounds, whatever optional part is missing.

In: the dict that a sweep keeps (docs/formats.md). Out: a `SweepContent`, read by the page and by the live display.
Values that are no finite number are left out here, so that nothing downstream has to ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sentalign.sweep.spec.bound import NAMES, Bound
from sentalign.sweep.wording import one_line, value_with_range

ENDED = ("finished", "stopped", "failed", "interrupted")
LOG_SPACES = ("loguniform", "qloguniform")
DIVERGED = 1e30  # a value from here on is as good as inf, and no axis can hold it


@dataclass(frozen=True)
class MetricGoal:
    """A metric that the sweep maximises or minimises."""

    metric: str
    mode: Literal["max", "min"]

    def better(self, value: float, other: float) -> bool:
        return value > other if self.mode == "max" else value < other


@dataclass(frozen=True)
class TrialContent:
    """One trial: finite values only; a curve is its validations, (pairs, {metric: value})."""

    number: int
    parameters: dict[str, Any]
    status: str
    error: str
    values: dict[str, float]
    by_seed: dict[str, list[float]]
    pairs: int
    best_pairs: int | None
    seconds: float
    curve: tuple[tuple[int, dict[str, float]], ...]

    def value_text(self, metric: str, missing: str = "-") -> str:
        """Mean, and smallest to largest where there are several seeds."""
        if metric not in self.values:
            return missing
        return value_with_range(self.values[metric], self.by_seed.get(metric, []))

    def spread(self, metric: str) -> tuple[float, float] | None:
        """Smallest and largest value over the seeds; None with fewer than two."""
        seeds = self.by_seed.get(metric, [])
        return (min(seeds), max(seeds)) if len(seeds) > 1 else None


@dataclass(frozen=True)
class SweepContent:
    """A whole sweep. `space` is as written in the sweep file, completed by settings that only trials have;
    `planned`: trials in all, where not all are there yet; `command`: what trains the best settings longer."""

    goals: tuple[MetricGoal, ...]
    bounds: tuple[Bound, ...]
    space: dict[str, dict[str, Any]]
    rungs: tuple[int, ...]
    trials: tuple[TrialContent, ...]
    best: TrialContent | None
    front: frozenset[int]
    max_pairs: int
    planned: int
    command: str

    def violated(self, trial: TrialContent) -> list[Bound]:
        """The constraints that a trial violates; none before it has any value."""
        return [bound for bound in self.bounds if trial.values and bound.violation(trial.values)]

    @property
    def metrics(self) -> list[str]:
        """Objectives, then the metrics of constraints."""
        return list(dict.fromkeys([goal.metric for goal in self.goals] + [bound.metric for bound in self.bounds]))


def read(content: Mapping[str, Any]) -> SweepContent:
    """Typed, and tolerant: a missing part is empty, a value that is not finite is missing."""
    trials = tuple(_trial(trial) for trial in content.get("trials") or ())
    goals = tuple(MetricGoal(str(g["metric"]), g.get("mode", "max")) for g in content.get("objectives") or ())
    bounds = tuple(
        Bound(str(given["metric"]), sign, value)
        for given in content.get("constraints") or ()
        for sign, name in NAMES.items()
        if (value := finite(given.get(name))) is not None
    )
    space = {
        str(name): {kind: values for kind, values in (domain or {}).items() if values is not None}
        for name, domain in (content.get("space") or {}).items()
    }
    space |= {name: {} for trial in trials for name in trial.parameters if name not in space}
    rungs = tuple(sorted(int(pairs) for pairs in content.get("rungs") or ()))
    best = next((trial for trial in trials if trial.number == content.get("best")), None)
    longest = max([*rungs, int(content.get("max_pairs") or 0), *(trial.pairs for trial in trials)], default=0)
    planned = int(content.get("planned") or len(trials))
    command = str(content.get("command") or "")
    front = frozenset(content.get("pareto") or ())
    return SweepContent(goals, bounds, space, rungs, trials, best, front, longest, planned, command)


def _trial(trial: Mapping[str, Any]) -> TrialContent:
    by_seed = {
        str(metric): [value for value in map(finite, values or ()) if value is not None]
        for metric, values in (trial.get("by_seed") or {}).items()
    }
    best_pairs = finite(trial.get("best_pairs"))
    return TrialContent(
        int(trial["trial"]),
        {str(name): value for name, value in (trial.get("parameters") or {}).items()},
        str(trial.get("status") or "waiting"),
        one_line(str(trial.get("error") or "")),
        _numbers(trial.get("values")),
        by_seed,
        int(finite(trial.get("pairs")) or 0),
        None if best_pairs is None else int(best_pairs),
        finite(trial.get("seconds")) or 0.0,
        tuple((int(pairs), _numbers(values)) for pairs, values in trial.get("curve") or ()),
    )


def _numbers(values: Mapping[str, Any] | None) -> dict[str, float]:
    found = {str(name): finite(value) for name, value in (values or {}).items()}
    return {name: value for name, value in found.items() if value is not None}


def finite(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < DIVERGED else None  # NaN is not smaller either
