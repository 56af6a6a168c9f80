"""How much of the objective's variance each setting explains: fANOVA (Hutter et al. 2014) as Optuna computes it.

In: a `SweepContent`. Out: shares by setting beside what shuffled values give; nothing below a number of trials. The
only importer of Optuna's importance.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from sentalign.sweep.content import MetricGoal, SweepContent, TrialContent
from sentalign.sweep.page.scales import SettingScale

FEWEST_TRIALS = 20  # below, the forest sees mostly noise, and nothing is shown
SHUFFLES, TREES = 10, 16


def importance(sweep: SweepContent, goal: MetricGoal, settings: Sequence[SettingScale]) -> dict[str, Any]:
    """`rows`: setting, share, and the largest share among `SHUFFLES` random orders of the same values.

    Settings that some trial does not have are left out (`conditional`), as are those that never vary.
    """
    trials = [trial for trial in sweep.trials if goal.metric in trial.values]
    always = [s for s in settings if all(s.coordinate(trial) is not None for trial in trials)]
    varied = [s for s in always if len({s.coordinate(trial) for trial in trials}) > 1]
    values = [trial.values[goal.metric] for trial in trials]
    result = {"metric": goal.metric, "trials": len(trials), "fewest": FEWEST_TRIALS, "shuffles": SHUFFLES}
    result |= {"conditional": [s.name for s in settings if s not in always], "rows": []}
    if len(trials) < FEWEST_TRIALS or len(varied) < 2 or len(set(values)) < 2:
        return result
    columns = {s.name: [_coordinate(s, trial) for trial in trials] for s in varied}
    shares = _shares(varied, columns, values)
    random = np.random.default_rng(0)
    shuffled = [_shares(varied, columns, random.permutation(values).tolist()) for _ in range(SHUFFLES)]
    chance = {name: max(one[name] for one in shuffled) for name in shares}
    result["rows"] = [(name, share, chance[name]) for name, share in sorted(shares.items(), key=lambda i: -i[1])]
    return result


def _shares(settings: Sequence[SettingScale], columns: dict[str, Any], values: Sequence[float]) -> dict[str, float]:
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    domains = {one.name: _domain(one, columns[one.name]) for one in settings}
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study()
        for number, value in enumerate(values):
            chosen = {name: column[number] for name, column in columns.items()}
            study.add_trial(optuna.create_trial(params=chosen, distributions=domains, value=value))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = get_param_importances(
                study, evaluator=FanovaImportanceEvaluator(n_trees=TREES, seed=0), normalize=False
            )
    finally:
        optuna.logging.set_verbosity(level)
    return {name: float(share) for name, share in found.items()}


def _coordinate(setting: SettingScale, trial: TrialContent) -> float | None:
    """Logarithms where the space has them: Optuna's fANOVA averages over the plain values whatever the distribution."""
    value = setting.coordinate(trial)
    return math.log10(value) if setting.kind == "log" and value is not None else value


def _domain(setting: SettingScale, column: Sequence[float]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if setting.kind == "categories":
        return CategoricalDistribution(list(range(len(setting.labels))))
    ends = [*map(math.log10, setting.ends)] if setting.kind == "log" else setting.ends
    return FloatDistribution(min(*column, *ends), max(*column, *ends))
