"""Points: those of a random search are a pure function of seed and space, and fill their domains."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from sentalign.sweep.search.points import clamped, random_points
from sentalign.sweep.spec.domain import Domain
from sentalign.sweep.spec.sweep_file import load

Write = Callable[..., Path]
SPACE = {
    "loss.t1": {"uniform": [1, 2]},
    "optimizer.lr": {"loguniform": [1e-6, 1e-2]},
    "loss.t2": {"quniform": [1, 3, 0.5]},
    "optimizer.weight_decay": {"qloguniform": [0.1, 1.0, 0.1]},
    "train.epochs": {"randint": [3, 6]},
    "data.batch": {"qrandint": [4, 12, 4]},
    "loss.t3": {"choice": [5.0, 10.0]},
}


def test_the_same_seed_draws_the_same_points(sweep_path: Write) -> None:
    sweep = load(sweep_path(space=SPACE, trials=60))
    drawn = random_points(sweep)
    assert drawn == random_points(sweep)
    assert drawn[:7] == random_points(sweep.model_copy(update={"trials": 7}))
    other = random_points(sweep.model_copy(update={"seed": 1}))
    assert drawn[0] == other[0]  # the base
    assert drawn[1:] != other[1:]


def test_draws_fill_their_domains(sweep_path: Write) -> None:
    drawn = random_points(load(sweep_path(space=SPACE, trials=200)))[1:]
    assert all(1 <= values["loss.t1"] < 2 for values in drawn)
    assert all(1e-6 <= values["optimizer.lr"] <= 1e-2 for values in drawn)
    assert 0.35 < sum(values["optimizer.lr"] < 1e-4 for values in drawn) / 200 < 0.65
    assert {values["loss.t2"] for values in drawn} == {1.0, 1.5, 2.0, 2.5, 3.0}
    tenths = {round(values["optimizer.weight_decay"] * 10, 6) for values in drawn}
    assert tenths == set(range(1, 11))
    assert {values["train.epochs"] for values in drawn} == {3, 4, 5}
    assert {values["data.batch"] for values in drawn} == {4, 8, 12}
    assert {values["loss.t3"] for values in drawn} == {5.0, 10.0}


def test_a_conditional_setting_is_part_of_the_points_that_it_applies_to(sweep_path: Write) -> None:
    space = {
        "loss.attention": {"choice": ["paper", "cosine"]},
        "loss.tau": {"uniform": [0.05, 0.3], "when": {"loss.attention": "cosine"}},
        "loss.t1": {"uniform": [1, 2], "when": {"loss.attention": ["paper"]}},
    }
    drawn = random_points(load(sweep_path(space=space, trials=40)))
    for values in drawn:
        assert ("loss.tau" in values) == (values["loss.attention"] == "cosine")
        assert ("loss.t1" in values) == (values["loss.attention"] == "paper")
    assert 8 < sum("loss.tau" in values for values in drawn) < 32


def test_a_grid_is_tried_once_after_the_base(sweep_path: Write) -> None:
    space = {"loss.t1": {"grid": [1.0, 2.0]}, "loss.t2": {"grid": [1.0, 2.0, 3.0]}}
    drawn = random_points(load(sweep_path(space=space, trials=50)))
    assert drawn[0] == {"loss.t1": 4.0, "loss.t2": 5.0}
    assert Counter((v["loss.t1"], v["loss.t2"]) for v in drawn[1:]) == Counter(
        (a, b) for a in (1.0, 2.0) for b in (1.0, 2.0, 3.0)
    )


def test_no_point_is_tried_twice_and_a_small_space_ends(sweep_path: Write) -> None:
    space = {"loss.t1": {"choice": [1.0, 2.0, 4.0]}, "loss.t2": {"choice": [1.0, 5.0]}}
    drawn = random_points(load(sweep_path(space=space, trials=50)))
    assert len(drawn) == len({tuple(v.values()) for v in drawn}) == 6


def test_points_that_no_training_takes_are_left_out(sweep_path: Write) -> None:
    """loss.aggregate=sentence needs the cosine attention."""
    space = {"loss.attention": {"choice": ["paper", "cosine"]}, "loss.t1": {"uniform": [1, 2]}}
    space |= {"loss.aggregate": {"choice": ["lse", "sentence"], "when": {"loss.attention": "cosine"}}}
    drawn = random_points(load(sweep_path(space=space, trials=30)))
    assert len(drawn) == 30
    assert not any(v["loss.attention"] == "paper" and v.get("loss.aggregate") == "sentence" for v in drawn)


@pytest.mark.parametrize(
    ("domain", "value", "nearest"),
    [
        ({"uniform": [1, 2]}, 2.4, 2.0),
        ({"loguniform": [1, 2]}, 0.8, 1.0),
        ({"quniform": [0.25, 1, 0.25]}, 0.01, 0.25),
        ({"quniform": [0.25, 1, 0.25]}, 0.65, 0.75),
        ({"randint": [3, 6]}, 7.2, 5),
        ({"randint": [3, 6]}, 4.4, 4),
        ({"qrandint": [4, 12, 4]}, 9, 8),
    ],
)
def test_what_pbt_changes_stays_in_the_space(domain, value, nearest) -> None:
    found = clamped(Domain(**domain), value)
    assert math.isclose(found, nearest)
    assert type(found) is type(nearest)
