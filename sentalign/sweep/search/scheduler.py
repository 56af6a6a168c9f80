"""Ray Tune's schedulers, with a memory: each report and decision is recorded, and recorded ones are replayed.

In: a checked sweep and its record. Out: a Tune scheduler. Ray's own restore loses ASHA's rungs, so a start that goes on
fills a fresh scheduler from the record. Hyperband compares whole brackets: there each trial reports again what it had
reported, and the same halvings come out. PBT compares last values only, which the next reports bring back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

from sentalign.sweep.record import SearchRecord, TrialState
from sentalign.sweep.search.points import explored, tune_domain
from sentalign.sweep.spec.preflight import Checked
from sentalign.sweep.trial.snapshots import is_kept, take_over

PAIRS, VALIDATIONS, BY_SEED, FAILED = "pairs", "validations", "by_seed", "failed"
FOREVER = float("inf")


@dataclass(frozen=True)
class StandIn:
    """A trial as ASHA and the median rule know it: by an identity that is the same in every start."""

    trial_id: str


class RecordedScheduler(TrialScheduler):
    """Decides as the inner scheduler does, records it, and ends failed trials."""

    def __init__(self, checked: Checked, record: SearchRecord) -> None:
        super().__init__()
        self._checked, self._record = checked, record
        self._inner: Any = inner_scheduler(checked)
        self.is_ending = False  # Tune stops all trials, which says nothing about them
        self._was_freed: set[str] = set()
        self._by_identity = checked.schedule.kind in ("asha", "median")
        if self._by_identity:
            self._replay()

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._inner.on_trial_add(tune_controller, self._known_as(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        state = self._state(trial)
        if FAILED in result:
            self._record.close_trial(state.trial, "failed", result[FAILED])
            return str(TrialScheduler.STOP)
        is_new = result[PAIRS] > state.pairs
        if not is_new and (self._checked.schedule.kind != "hyperband" or trial.trial_id in self._was_freed):
            return str(TrialScheduler.CONTINUE)  # from before a retry
        longest = self._checked.schedule.max_pairs
        is_whole = result[PAIRS] >= longest
        if is_whole and self._checked.schedule.kind == "pbt":
            decision = str(TrialScheduler.CONTINUE)  # nothing is left to train with other settings
        else:
            decision = str(self._inner.on_trial_result(tune_controller, self._known_as(trial), result))
        if is_new:
            recorded = str(TrialScheduler.CONTINUE) if is_whole else decision
            self._record.report(state.trial, result[PAIRS], *values_of(result), recorded)
        if self._state(trial) is not state:
            self._take(state, trial)
        # A whole run is left to end by itself, if the scheduler does, so that it writes its model.
        if is_whole and (
            decision == TrialScheduler.STOP or self._checked.schedule.max_pairs < self._checked.length.total
        ):
            self._record.close_trial(state.trial, "finished")
            return str(TrialScheduler.STOP)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """The trial function has returned, or a decision to stop was carried out."""
        self._close(trial, "finished")
        self._inner.on_trial_complete(tune_controller, self._known_as(trial), result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """A trial that waits or is paused is stopped."""
        self._close(trial, "finished" if self._state(trial).pairs >= self._checked.schedule.max_pairs else "stopped")
        self._inner.on_trial_remove(tune_controller, self._known_as(trial))

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Tune also calls it for a trial that it is about to retry; the end is told to `stop.TrialEvents`."""
        self._inner.on_trial_error(tune_controller, self._known_as(trial))

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        chosen = self._inner.choose_trial_to_run(tune_controller)
        if chosen is None and self._checked.schedule.kind == "hyperband":
            chosen = self._freed(tune_controller.get_trials())
        return chosen

    def debug_string(self) -> str:
        return str(self._inner.debug_string())

    def __deepcopy__(self, memo: dict[int, Any]) -> RecordedScheduler:
        return self

    def __reduce__(self) -> Any:
        return (FIFOScheduler, ())  # Tune writes its own state too, which nothing reads

    def _freed(self, trials: list[Any]) -> Any:
        """A paused trial, where all that have not ended are paused: a bracket that is processed as trials of it end
        can wait for those forever, and the search with it.
        """
        left = [trial for trial in trials if not trial.is_finished()]
        if not left or any(trial.status != "PAUSED" for trial in left):
            return None
        self._was_freed.add(left[0].trial_id)
        return left[0]

    def _replay(self) -> None:
        """In the order of the reports: the same decisions are made again, and leave the same state."""
        for trial in self._record.trials:
            self._inner.on_trial_add(None, StandIn(str(trial.trial)))
        for trial_number, pairs, values in self._record.reports:
            self._inner.on_trial_result(None, StandIn(str(trial_number)), {**values, PAIRS: pairs})

    def _close(self, trial: Any, status: str) -> None:
        if not self.is_ending:
            self._record.close_trial(self._state(trial).trial, status)

    def _take(self, state: TrialState, trial: Any) -> None:
        """PBT has given the trial the checkpoint of another one, and that one's changed settings.

        Where no checkpoint of that one is there any more the trial goes on from its own.
        """
        point, sweep = trial.config["point"], self._checked.sweep
        source = self._record.trials[point["number"]]
        # From the end of a run nothing is left to train.
        pairs = [at for at, _ in source.curve if at < self._checked.schedule.max_pairs]
        kept = [at for at in pairs if is_kept(sweep, source.trial, source.generation, at)]
        if kept:
            self._record.taken(state.trial, point["parameters"], source.trial, kept[-1])
            assert state.source
            take_over(sweep, state.trial, state.generation, *state.source)  # before the source removes it
        trial.set_config(point_config(state))

    def _state(self, trial: Any) -> TrialState:
        return self._record.trials[trial.config["point"]["number"]]

    def _known_as(self, trial: Any) -> Any:
        return StandIn(str(self._state(trial).trial)) if self._by_identity else trial


def inner_scheduler(checked: Checked) -> TrialScheduler:
    """Tune's own; none of them stops a trial at its last validation, before it has written its model."""
    metric, schedule = checked.objective.first, checked.schedule
    compared: dict[str, Any] = {"metric": metric, "mode": checked.objective.modes[metric]}
    if schedule.kind == "asha":
        return ASHAScheduler(
            time_attr=PAIRS,
            max_t=schedule.max_pairs - 1,
            grace_period=schedule.first,
            reduction_factor=checked.sweep.scheduler.reduction_factor,
            stop_last_trials=False,
            **compared,
        )
    if schedule.kind == "median":  # without a slice it would pause trials for others
        forever: Any = FOREVER
        return MedianStoppingRule(time_attr=PAIRS, grace_period=schedule.first, min_time_slice=forever, **compared)
    if schedule.kind == "hyperband":
        return HyperBandScheduler(
            time_attr=VALIDATIONS,
            max_t=-(-schedule.max_pairs // checked.length.validate_every),
            reduction_factor=checked.sweep.scheduler.reduction_factor,
            **compared,
        )
    if schedule.kind == "pbt":
        space = checked.sweep.space
        mutations = {name: domain.values or tune_domain(domain) for name, domain in space.items()}
        return PopulationBasedTraining(
            time_attr=PAIRS,
            perturbation_interval=schedule.first,
            hyperparam_mutations={"point": {"parameters": mutations}},
            custom_explore_fn=lambda config: explored(checked.sweep, config),
            log_config=False,
            **compared,
        )
    return FIFOScheduler()


def point_config(trial: TrialState, replay: bool = False) -> dict[str, Any]:
    """What Tune passes to a trial. `replay`: it reports first what is recorded."""
    curve = [[pairs, trial.by_seed[pairs]] for pairs, _ in trial.curve] if replay else []
    return {
        "point": {
            "number": trial.trial,
            "parameters": trial.parameters,
            "generation": trial.generation,
            "source": list(trial.source or ()),
            "replay": curve,
            "is_open": trial.is_open,
        }
    }


def result_of(pairs: int, by_seed: dict[str, list[float]], validate_every: int) -> dict[str, Any]:
    """What a trial reports: the means over its starts, and as text, which Tune does not flatten, the single values."""
    means = {metric: fmean(values) for metric, values in by_seed.items()}
    return {**means, PAIRS: pairs, VALIDATIONS: -(-pairs // validate_every), BY_SEED: json.dumps(by_seed)}


def values_of(result: dict[str, Any]) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Means, and the values of each start."""
    by_seed = json.loads(result[BY_SEED])
    return {metric: result[metric] for metric in by_seed}, by_seed
