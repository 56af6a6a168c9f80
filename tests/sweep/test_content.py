"""The content of trials.json as it is read: what is missing, not finite or of another kind is left out."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentalign.sweep import content
from tests.sweep.page import made


def test_a_whole_content_keeps_its_values():
    given_ = made.sweep(12)
    sweep = content.read(given_)
    assert [trial.number for trial in sweep.trials] == list(range(12))
    assert [trial.values for trial in sweep.trials] == [trial["values"] for trial in given_["trials"]]
    assert sweep.best is sweep.trials[given_["best"]]
    assert (sweep.rungs, sweep.max_pairs) == ((6000, 20000, 60000), 60000)
    assert [str(bound) for bound in sweep.bounds] == ["validation/side_accuracy >= 0.9"]
    for trial in sweep.trials:
        assert bool(sweep.violated(trial)) == (trial.values.get(made.SIDE, 1) < 0.9)


def test_an_empty_content_is_an_empty_sweep():
    sweep = content.read({})
    assert (sweep.goals, sweep.bounds, sweep.space, sweep.trials, sweep.best, sweep.max_pairs) == (
        (), (), {}, (), None, 0,
    )  # fmt: skip


def test_values_that_are_not_finite_are_missing():
    sweep = content.read(made.hostile())
    assert [trial.values for trial in sweep.trials] == [{}, {}, {}, {}, {made.HOSTILE: 3}, {made.HOSTILE: 2}]
    assert sweep.trials[0].curve == ((1, {}), (2, {}))
    assert sweep.trials[5].spread(made.HOSTILE) == (1.5, 2.5)
    assert sweep.trials[3].status == "waiting"
    assert sweep.trials[2].error == f"{made.HOSTILE} rest"
    assert [trial.number for trial in sweep.trials if sweep.violated(trial)] == [4]


@pytest.mark.parametrize(("mode", "better"), [("max", [False, True]), ("min", [True, False])])
def test_better_follows_the_mode(mode, better):
    goal = content.MetricGoal("m", mode)
    assert [goal.better(1, 2), goal.better(2, 1)] == better
    assert not goal.better(1, 1)


ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.floats(), max_size=2)
)
TRIALS = st.fixed_dictionaries(
    {"trial": st.integers(0, 9)},
    optional={
        "parameters": st.none() | st.dictionaries(st.sampled_from("abc"), ANYTHING),
        "status": st.sampled_from([*content.ENDED, "waiting", "running"]),
        "error": st.none() | st.text(max_size=20),
        "values": st.none() | st.dictionaries(st.sampled_from("mn"), ANYTHING),
        "by_seed": st.none() | st.dictionaries(st.sampled_from("mn"), st.lists(ANYTHING, max_size=3)),
        "pairs": st.integers(0, 10**12) | st.none(),
        "best_pairs": st.none() | st.integers(0, 10**12),
        "seconds": st.none() | st.floats(),
        "curve": st.lists(
            st.tuples(st.integers(0, 10**9), st.dictionaries(st.sampled_from("mn"), ANYTHING)), max_size=3
        ),
    },
)
BOUNDS = st.tuples(st.floats(1e-6, 1), st.floats(2, 1e6)).map(list)
DOMAINS = st.sampled_from(["uniform", "loguniform", "quniform", "randint"]).flatmap(
    lambda kind: st.fixed_dictionaries({kind: BOUNDS})
) | st.fixed_dictionaries({"choice": st.lists(ANYTHING, min_size=1, max_size=4)})
CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "objectives": st.lists(
            st.fixed_dictionaries({"metric": st.sampled_from("mn"), "mode": st.sampled_from(["min", "max"])}),
            max_size=3,
        ),
        "constraints": st.lists(
            st.fixed_dictionaries({"metric": st.sampled_from("mn"), "at_least": st.floats()}), max_size=2
        ),
        "space": st.dictionaries(st.sampled_from("abc"), DOMAINS),
        "rungs": st.lists(st.integers(1, 10**9), max_size=3),
        "trials": st.lists(TRIALS, max_size=8, unique_by=lambda trial: trial["trial"]),
        "best": st.none() | st.integers(0, 9),
        "pareto": st.lists(st.integers(0, 9)),
    },
)


@given(CONTENTS)
def test_any_content_is_read_and_holds_finite_values_only(given_):
    sweep = content.read(given_)
    for trial in sweep.trials:
        numbers = [*trial.values.values(), *(v for _, values in trial.curve for v in values.values())]
        numbers += [value for values in trial.by_seed.values() for value in values]
        assert all(math.isfinite(number) for number in numbers)
        assert trial.parameters.keys() <= sweep.space.keys()
