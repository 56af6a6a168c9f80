"""How much of the objective's variance each setting explains: fANOVA (Hutter et al. 2014) as Optuna computes it.

In: a `SweepContent`. Out: shares by setting beside what shuffled values give; nothing below a number of trials. The
only importer of Optuna's importance.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sentalign.sweep.content import MetricGoal, SweepContent, TrialContent
from sentalign.sweep.page.frame import within
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
    values = within(goal, [trial.values[goal.metric] for trial in trials])
    result = {"metric": goal.metric, "trials": len(trials), "fewest": FEWEST_TRIALS, "shuffles": SHUFFLES}
    result |= {"conditional": [s.name for s in settings if s not in always], "rows": []}
    if len(trials) < FEWEST_TRIALS or len(varied) < 2 or len(set(values)) < 2:
        return result
    columns = {s.name: _column(s, trials) for s in varied}
    standard = _between_0_and_1(values, values)
    shares = _shares(varied, columns, standard)
    random = np.random.default_rng(0)
    shuffled = [_shares(varied, columns, random.permutation(standard).tolist()) for _ in range(SHUFFLES)]
    chance = {name: max(one.get(name, 0.0) for one in shuffled) for name in shares}
    result["rows"] = [(name, share, chance[name]) for name, share in sorted(shares.items(), key=lambda i: -i[1])]
    return result


def _column(setting: SettingScale, trials: Sequence[TrialContent]) -> list[float]:
    """Places in the range of the space, or numbers of categories.

    Logarithms are taken here: Optuna's fANOVA averages over the plain values, whatever the distribution.
    """
    found = [value for trial in trials if (value := setting.coordinate(trial)) is not None]
    if setting.kind == "categories":
        return found
    ends = [*found, *setting.ends]
    if setting.kind == "log":
        found, ends = [math.log10(value) for value in found], [math.log10(value) for value in ends]
    return _between_0_and_1(found, ends)


def _between_0_and_1(values: Sequence[float], ends: Sequence[float]) -> list[float]:
    """The forest holds single precision, and does not split what is almost equal."""
    low, high = min(ends), max(ends)
    return [(value - low) / ((high - low) or 1.0) for value in values]


def _shares(
    settings: Sequence[SettingScale], columns: Mapping[str, Sequence[float]], values: Sequence[float]
) -> dict[str, float]:
    """Share of the variance by setting; nothing where the forest finds no variance."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    domains: dict[str, Any] = {
        s.name: CategoricalDistribution(range(len(s.labels))) if s.labels else FloatDistribution(0, 1) for s in settings
    }
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study()
        for number, value in enumerate(values):
            chosen = {name: column[number] for name, column in columns.items()}
            study.add_trial(optuna.create_trial(params=chosen, distributions=domains, value=value))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=0)
            found = get_param_importances(study, evaluator=evaluator, normalize=False)
    except RuntimeError:  # "Encountered zero total variance in all trees."
        return {}
    finally:
        optuna.logging.set_verbosity(level)
    return {name: float(share) for name, share in found.items()}
