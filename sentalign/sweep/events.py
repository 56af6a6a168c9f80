"""What a sweep says while it runs: one line an event, on standard error.

In: events of the record. Out: lines.
"""

from __future__ import annotations

import sys
from statistics import stdev
from typing import Any

from sentalign.sweep.record import SearchRecord, TrialState
from sentalign.sweep.spec.objective import Objective


class EventLines:
    """A listener of `run.search`."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def __call__(self, event: str, trial: TrialState, record: SearchRecord) -> None:
        text = self._text(event, trial, record)
        if text:
            print(f"trial {trial.trial}: {text}", file=sys.stderr, flush=True)

    def _text(self, event: str, trial: TrialState, record: SearchRecord) -> str:
        if event == "began":
            return f"{'continues' if trial.curve else 'starts'}, {settings_line(trial.parameters)}"
        if event == "report":
            ended = "; stopped" if trial.status == "stopped" else ""
            return f"{trial.pairs:,} pairs, {self._values(trial)}{ended}"
        if event == "taken":
            source, _, pairs = trial.source or (0, 0, 0)
            return f"takes over trial {source} at {pairs:,} pairs, {settings_line(trial.parameters)}"
        if event == "closed":
            open_trials = sum(one.is_open for one in record.trials)
            return f"{trial.status}{f': {trial.error}' if trial.error else ''} ({open_trials} more open)"
        return ""

    def _values(self, trial: TrialState) -> str:
        pairs, values = trial.curve[-1]
        return ", ".join(
            f"{m} {values[m]:.4g}{_spread(trial.by_seed[pairs].get(m, []))}" for m in self._objective.modes
        )


def settings_line(parameters: dict[str, Any]) -> str:
    """The settings of a point in one line."""
    return " ".join(f"{setting}={shown(value)}" for setting, value in parameters.items())


def shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _spread(values: list[float]) -> str:
    return f" ± {stdev(values):.2g}" if len(values) > 1 else ""
