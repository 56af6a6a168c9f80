"""Points by Optuna's TPE through Ray Tune's OptunaSearch; what an earlier start has measured is told to it first.

In: a checked sweep and its record. Out: a Tune searcher. The only importer of Optuna.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from sentalign.sweep.record import SearchRecord, TrialState
from sentalign.sweep.search.points import clamped, is_valid, point_name
from sentalign.sweep.search.scheduler import point_config
from sentalign.sweep.spec.domain import Domain, Parameters, active, holds, in_order
from sentalign.sweep.spec.preflight import Checked
from sentalign.sweep.spec.sweep_file import first_points

STUDY = "sweep"
MOST_ASKED = 200


class OptunaPoints(Searcher):
    """Open points of the record, then first points, then Optuna's; each is recorded when it is handed out."""

    def __init__(self, checked: Checked, record: SearchRecord) -> None:
        super().__init__()
        self._checked, self._record, self._sweep = checked, record, checked.sweep
        self._waiting = [trial for trial in record.trials if trial.is_open]
        self._first = first_points(self._sweep)
        self._trials: dict[str, TrialState] = {}
        self._asked: dict[str, str] = {}  # by which name Optuna was asked for a trial of this start
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        modes = checked.objective.modes
        storage = optuna.storages.InMemoryStorage()
        directions: Any = ["maximize" if mode == "max" else "minimize" for mode in modes.values()]
        self._study = optuna.create_study(storage=storage, study_name=STUDY, directions=directions)
        for trial in record.trials:
            if not trial.is_open:
                self._tell(trial)
        several = len(modes) > 1
        self._optuna = OptunaSearch(
            self._suggest,
            metric=list(modes) if several else checked.objective.first,
            mode=list(modes.values()) if several else modes[checked.objective.first],
            sampler=_sampler(self._sweep.seed, len(record.trials), self._sweep.trials),
            storage=storage,
            study_name=STUDY,
        )

    def suggest(self, trial_id: str) -> Any:
        trial = self._waiting.pop(0) if self._waiting else self._new(trial_id)
        if trial is None:
            return Searcher.FINISHED
        self._trials[trial_id] = trial
        return point_config(trial)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Optuna is told the end; nothing prunes by what comes before."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        trial = self._trials.pop(trial_id, None)
        if trial is None or trial.is_open:  # the sweep ends, and the trial goes on in the next start
            return
        if trial_id not in self._asked:
            self._tell(trial)
        else:
            chosen = self._chosen(trial)
            self._optuna.on_trial_complete(self._asked.pop(trial_id), chosen, error=chosen is None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the record holds all."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as `save`."""

    def __deepcopy__(self, memo: dict[int, Any]) -> OptunaPoints:
        return self

    def _new(self, trial_id: str) -> TrialState | None:
        is_full = len(self._record.trials) >= self._sweep.trials
        parameters = None if is_full else self._next(trial_id)
        return None if parameters is None else self._record.point(parameters)

    def _next(self, trial_id: str) -> Parameters | None:
        known = {point_name(trial.parameters) for trial in self._record.trials}
        for point in self._first:
            if point_name(point) not in known:
                return point
        for asked in (f"{trial_id}-{attempt}" for attempt in range(MOST_ASKED)):
            point = self._decoded(self._optuna.suggest(asked) or {})
            if point_name(point) not in known and is_valid(self._sweep, point):
                self._asked[trial_id] = asked
                return point
            self._optuna.on_trial_complete(asked, None, error=True)
        self._record.exhausted()
        return None

    def _suggest(self, trial: Any) -> None:
        """Define by run: a setting is asked for only where its condition holds."""
        values: Parameters = {}
        for setting, domain in in_order(self._sweep.space):
            if holds(domain.when, values):
                values[setting] = decode(domain, _ask(trial, setting, distribution(domain)))

    def _decoded(self, suggested: Parameters) -> Parameters:
        space = self._sweep.space
        return active(space, {setting: decode(space[setting], value) for setting, value in suggested.items()})

    def _tell(self, trial: TrialState) -> None:
        """Adds a trial that Optuna has not chosen in this start; one outside of the space teaches it nothing."""
        space = self._sweep.space
        chosen = self._chosen(trial)
        is_inside = all(space[setting].contains(value) for setting, value in trial.parameters.items())
        distributions = {setting: distribution(space[setting]) for setting in trial.parameters}
        params = {setting: encode(space[setting], value) for setting, value in trial.parameters.items()}
        if chosen and is_inside:
            values = [chosen[metric] for metric in self._checked.objective.modes]
            told = optuna.trial.create_trial(params=params, distributions=distributions, values=values)
            self._study.add_trial(told)

    def _chosen(self, trial: TrialState) -> dict[str, float] | None:
        point = None if trial.status == "failed" else self._checked.objective.chosen(trial.curve)
        return point[1] if point else None


def _sampler(seed: int, known: int, trials: int) -> optuna.samplers.BaseSampler:
    """TPE; a start that continues draws other random numbers than the first one did."""
    start = int(np.random.SeedSequence([seed, known]).generate_state(1)[0])
    return optuna.samplers.TPESampler(seed=start, n_startup_trials=min(10, max(3, trials // 3)), constant_liar=True)


def distribution(domain: Domain) -> BaseDistribution:
    """Optuna's; listed values are known to it as JSON texts."""
    if domain.values is not None:
        return CategoricalDistribution([json.dumps(value) for value in domain.values])
    low, high, *steps = domain.arguments
    if domain.distribution in ("randint", "qrandint"):
        return IntDistribution(low, high if steps else high - 1, step=steps[0] if steps else 1)
    if "log" in domain.distribution:  # Optuna has no steps on a log scale: `decode` rounds
        return FloatDistribution(low, high, log=True)
    return FloatDistribution(low, high, step=steps[0] if steps else None)


def decode(domain: Domain, value: Any) -> Any:
    """A value of the setting from Optuna's."""
    if domain.values is not None:
        return json.loads(value)
    return clamped(domain, value)


def encode(domain: Domain, value: Any) -> Any:
    return json.dumps(value) if domain.values is not None else value


def _ask(trial: Any, setting: str, asked: BaseDistribution) -> Any:
    if isinstance(asked, CategoricalDistribution):
        return trial.suggest_categorical(setting, asked.choices)
    if isinstance(asked, IntDistribution):
        return trial.suggest_int(setting, asked.low, asked.high, step=asked.step)
    assert isinstance(asked, FloatDistribution)
    return trial.suggest_float(setting, asked.low, asked.high, step=asked.step, log=asked.log)
