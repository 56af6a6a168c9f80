"""Contents of a sweep, one after another → what happened between them, one line each and no line twice.

In: a `SweepContent` at a time. Out: (event, line).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from sentalign.sweep.content import ENDED, SweepContent, TrialContent
from sentalign.sweep.live import progress
from sentalign.sweep.wording import duration, number, settings_line


class SweepEvents:
    """Remembers what it has told. What had ended before the first content is told in one line."""

    def __init__(self) -> None:
        self._states: dict[int, str] = {}
        self._parameters: dict[int, dict[str, Any]] = {}
        self._attempts: defaultdict[int, int] = defaultdict(int)
        self._validations: set[tuple[int, str]] = set()
        self._told: set[str] = set()
        self._taken_over: set[int] = set()
        self._first = True

    def new(self, sweep: SweepContent) -> Iterator[tuple[str, str]]:
        """Events: resume, start, changed, validation, best, front, and the state in which a trial ends."""
        if self._first and sweep.trials:
            self._first = False
            yield from self._resumed(sweep)
        for trial in sweep.trials:
            yield from self._of(sweep, trial)
        yield from self._once("best", progress.best_in_words(sweep) if sweep.best else "")
        front = ", ".join(map(str, sorted(sweep.front))) if len(sweep.goals) > 1 else ""
        yield from self._once("front", front and f"Pareto front: trials {front}")

    def end(self, sweep: SweepContent, seconds: float, interrupted: bool) -> str:
        """The last line."""
        about = f"sweep {'interrupted' if interrupted else 'ended'} after {duration(seconds)}: {progress.states(sweep)}"
        return f"{about}; {progress.best_in_words(sweep)}" if sweep.best else f"{about}; no best trial"

    def _resumed(self, sweep: SweepContent) -> Iterator[tuple[str, str]]:
        """Takes over what was done before; errors are told again, for they ask for something."""
        before = [trial for trial in sweep.trials if trial.pairs and trial.status != "failed"]
        self._taken_over = {trial.number for trial in before}
        for trial in before:
            self._validations |= {(trial.number, line) for line in _validations(sweep, trial)}
            if trial.status in ENDED:
                self._states[trial.number] = trial.status
        if ended := sum(trial.status in ENDED for trial in before):
            yield "resume", f"resumes with {ended} trials that have ended"

    def _once(self, event: str, line: str) -> Iterator[tuple[str, str]]:
        if line and line not in self._told:
            self._told.add(line)
            yield event, line

    def _of(self, sweep: SweepContent, trial: TrialContent) -> Iterator[tuple[str, str]]:
        before = self._states.get(trial.number, "waiting")
        if trial.status != "waiting" and before != "running" and trial.status != before:
            self._attempts[trial.number] += 1
            yield "start", self._start(trial)
        yield from self._changed(sweep, trial)
        for line in _validations(sweep, trial):
            if (trial.number, line) not in self._validations:
                self._validations.add((trial.number, line))
                yield "validation", line
        if trial.status in ENDED and trial.status != before:
            yield trial.status, self._ended(sweep, trial)
        self._states[trial.number] = trial.status

    def _changed(self, sweep: SweepContent, trial: TrialContent) -> Iterator[tuple[str, str]]:
        """Population based training gives a trial the checkpoint, and so the curve, of another, and other settings."""
        if self._parameters.setdefault(trial.number, trial.parameters) != trial.parameters:
            self._parameters[trial.number] = trial.parameters
            self._validations |= {(trial.number, line) for line in _validations(sweep, trial)}
            settings = settings_line(trial.parameters)
            yield "changed", f"trial {trial.number} goes on from another trial at {trial.pairs:,} pairs: {settings}"

    def _start(self, trial: TrialContent) -> str:
        if (attempt := self._attempts[trial.number]) > 1:
            return f"trial {trial.number} starts again, attempt {attempt}"
        verb = f"continues at {trial.pairs:,} pairs" if trial.number in self._taken_over else "starts"
        return f"trial {trial.number} {verb}: {settings_line(trial.parameters)}".rstrip(": ")

    def _ended(self, sweep: SweepContent, trial: TrialContent) -> str:
        attempt = f", attempt {n}" if (n := self._attempts[trial.number]) > 1 else ""
        violated = "".join(f", violates {bound}" for bound in sweep.violated(trial))
        reason = f": {trial.error}" if trial.error else ""
        return f"trial {trial.number} {trial.status} at {trial.pairs:,} pairs{attempt}{violated}{reason}"


def _validations(sweep: SweepContent, trial: TrialContent) -> Iterator[str]:
    """One line a validation that has one of the metrics that the sweep compares."""
    for pairs, values in trial.curve:
        found = ", ".join(f"{metric} {number(values[metric])}" for metric in sweep.metrics if metric in values)
        if found:
            yield f"trial {trial.number}: {pairs:,} pairs, {found}"
