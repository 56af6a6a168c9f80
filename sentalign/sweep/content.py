"""The content of a sweep's trials.json → typed trials, goals and bounds, whatever optional part is missing.

In: the dict that a sweep keeps (docs/formats.md). Out: a `SweepContent`, read by the page and by the live display.
Values that are no finite number are left out here, so that nothing downstream has to ask.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ENDED = ("finished", "stopped", "failed", "interrupted")
LOG_SPACES = ("loguniform", "qloguniform")
LONGEST_LINE = 300
DIVERGED = 1e30  # a value from here on is as good as inf, and no axis can hold it
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class MetricGoal:
    """A metric that the sweep maximises or minimises."""

    metric: str
    mode: Literal["max", "min"]

    def better(self, value: float, other: float) -> bool:
        return value > other if self.mode == "max" else value < other


@dataclass(frozen=True)
class MetricBound:
    """A constraint on a metric."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        parts = [f"≥ {number(self.at_least)}"] if self.at_least is not None else []
        parts += [f"≤ {number(self.at_most)}"] if self.at_most is not None else []
        return f"{self.metric} {' and '.join(parts)}"


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

    def spread(self, metric: str) -> tuple[float, float] | None:
        """Smallest and largest value over the seeds; None with fewer than two."""
        seeds = self.by_seed.get(metric, [])
        return (min(seeds), max(seeds)) if len(seeds) > 1 else None


@dataclass(frozen=True)
class SweepContent:
    """A whole sweep. `space` is as written in the sweep file, completed by settings that only trials have;
    `planned`: trials in all, where not all are there yet; `command`: what trains the best settings longer."""

    goals: tuple[MetricGoal, ...]
    bounds: tuple[MetricBound, ...]
    space: dict[str, dict[str, Any]]
    rungs: tuple[int, ...]
    trials: tuple[TrialContent, ...]
    best: TrialContent | None
    front: frozenset[int]
    max_pairs: int
    planned: int
    command: str

    def violated(self, trial: TrialContent) -> list[MetricBound]:
        """The constraints that a trial violates; a metric without a value violates none."""
        return [b for b in self.bounds if b.metric in trial.values and not b.holds(trial.values[b.metric])]


def read(content: Mapping[str, Any]) -> SweepContent:
    """Typed, and tolerant: a missing part is empty, a value that is not finite is missing."""
    trials = tuple(_trial(trial) for trial in content.get("trials") or ())
    goals = tuple(MetricGoal(str(g["metric"]), g.get("mode", "max")) for g in content.get("objectives") or ())
    bounds = tuple(
        MetricBound(str(b["metric"]), finite(b.get("at_least")), finite(b.get("at_most")))
        for b in content.get("constraints") or ()
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


def number(value: float) -> str:
    """A value in four digits."""
    return f"{value:.4g}"


def setting_text(value: Any) -> str:
    """The value of a setting as it is read: four digits, words as they are, lists as JSON."""
    if isinstance(value, float):
        return number(value)
    return printable(value if isinstance(value, str) else json.dumps(value, default=str))


def one_line(text: str) -> str:
    """Text of any process as one line that is not endless."""
    line = printable(text)
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"


def printable(text: str) -> str:
    """Without colours and control characters, with single spaces."""
    plain = ESCAPES.sub("", text)
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())


def duration(seconds: float) -> str:
    """42 s, 7 min, 3 h 05 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
