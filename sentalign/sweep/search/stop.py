"""When a search ends before its trials do, and what Tune tells of trials.

In: the sweep and its record. Out: a Tune stopper and a Tune callback.
"""

from __future__ import annotations

import time
from typing import Any

from ray import tune

from sentalign.sweep.record import SearchRecord
from sentalign.sweep.search.scheduler import RecordedScheduler
from sentalign.sweep.spec.settings import Sweep


class SearchEnd(tune.Stopper):
    """Ends all trials when the time is used up, or too many trials have failed."""

    def __init__(self, sweep: Sweep, record: SearchRecord, scheduler: RecordedScheduler, started: float) -> None:
        self._sweep, self._record, self._scheduler, self._started = sweep, record, scheduler, started

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        failed = sum(trial.status == "failed" for trial in self._record.trials)
        too_many = self._sweep.max_failures is not None and failed >= self._sweep.max_failures
        budget = self._sweep.time_budget
        too_late = budget is not None and time.monotonic() - self._started > 60 * budget
        if too_many or too_late:
            self._scheduler.is_ending = True
        return too_many or too_late

    def __deepcopy__(self, memo: dict[int, Any]) -> SearchEnd:
        return self

    def __reduce__(self) -> Any:
        return (tune.stopper.NoopStopper, ())  # Tune pickles it, and nothing reads that


class TrialEvents(tune.Callback):
    """Records when the trainings of a trial start, and when Tune gives a trial up."""

    def __init__(self, record: SearchRecord) -> None:
        self._record = record

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks, and nothing reads that

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number = trial.config["point"]["number"]
        if self._record.trials[number].status == "waiting":
            self._record.began(number)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = f"its process was lost {trial.num_failures} times, with its node or for want of memory"
        self._record.close_trial(trial.config["point"]["number"], "failed", error)
