"""fANOVA on functions whose shares are known; nothing is shown of few trials."""

from __future__ import annotations

import numpy as np
import pytest

from sentalign.sweep import content
from sentalign.sweep.page.importance import FEWEST_TRIALS, importance
from sentalign.sweep.page.scales import scales

SPACE = {"a": {"uniform": [0, 1]}, "b": {"loguniform": [0.01, 1]}, "c": {"choice": ["x", "y"]}}


def sweep_of(count, value):
    random = np.random.default_rng(0)
    trials = []
    for number in range(count):
        drawn = {"a": random.random(), "b": 10 ** random.uniform(-2, 0), "c": "xy"[random.integers(2)]}
        trials.append({"trial": number, "parameters": drawn, "values": {"m": value(drawn, random)}})
    return content.read({"objectives": [{"metric": "m", "mode": "max"}], "space": SPACE, "trials": trials})


def shares(sweep):
    return importance(sweep, sweep.goals[0], scales(sweep))


def test_shares_are_those_of_the_variances():
    """2a + log10(b)/2 with both uniform: variances 4/12 and 1/12, shares .8 and .2."""
    found = shares(sweep_of(150, lambda drawn, _: 2 * drawn["a"] + np.log10(drawn["b"]) / 2))
    rows = {name: (share, chance) for name, share, chance in found["rows"]}
    assert [name for name, _, _ in found["rows"]] == ["a", "b", "c"]
    assert rows["a"][0] == pytest.approx(0.8, abs=0.1)
    assert rows["b"][0] == pytest.approx(0.2, abs=0.1)
    assert rows["c"][0] < 0.02
    assert rows["a"][0] > rows["a"][1], "above what shuffled values give"


def test_noise_is_not_above_chance():
    found = shares(sweep_of(30, lambda _, random: random.normal()))
    assert sum(share > chance for _, share, chance in found["rows"]) <= 1
    assert max(chance for _, _, chance in found["rows"]) > 0.3, "which says how little such shares mean"


def test_nothing_is_shown_of_few_trials():
    few = shares(sweep_of(FEWEST_TRIALS - 1, lambda drawn, _: drawn["a"]))
    assert (few["rows"], few["trials"]) == ([], FEWEST_TRIALS - 1)
    assert len(shares(sweep_of(FEWEST_TRIALS, lambda drawn, _: drawn["a"]))["rows"]) == 3


def test_nothing_is_shown_where_the_value_never_varies():
    assert shares(sweep_of(FEWEST_TRIALS, lambda *_: 1.0))["rows"] == []


def test_conditional_settings_are_named_and_left_out():
    sweep = sweep_of(FEWEST_TRIALS, lambda drawn, _: drawn["a"])
    for trial in sweep.trials[:5]:
        del trial.parameters["b"]
    found = shares(sweep)
    assert found["conditional"] == ["b"]
    assert {name for name, _, _ in found["rows"]} == {"a", "c"}


def test_a_diverged_trial_does_not_take_all_the_variance():
    sweep = sweep_of(60, lambda drawn, _: 2 * drawn["a"] + np.log10(drawn["b"]) / 2)
    sweep.trials[7].values["m"] = -1e20
    assert shares(sweep)["rows"][0][1] == pytest.approx(0.85, abs=0.1)


def test_values_that_hardly_any_setting_splits_are_no_error():
    """All trials but one stand at one point, where the values differ."""
    trials = [{"trial": n, "parameters": {"a": 0.5, "b": 0.5}, "values": {"m": n % 2}} for n in range(30)]
    trials[0] |= {"parameters": {"a": 0.6, "b": 0.6}, "values": {"m": 0.5}}
    sweep = content.read({"objectives": [{"metric": "m", "mode": "max"}], "trials": trials})
    assert all(0 <= share <= 1 and 0 <= chance <= 1 for _, share, chance in shares(sweep)["rows"])
