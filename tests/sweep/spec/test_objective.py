"""What trials are compared by: refusals, the validation that speaks for a trial, the best one, the Pareto set."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentalign.sweep.spec import sweep_file
from sentalign.sweep.spec.bound import Bound
from sentalign.sweep.spec.objective import Objective, objective_of
from sharding.contract import UserError

Write = Callable[..., Path]
RECALL, SIDE = "validation/recall", "validation/side"


def objective(path: Path) -> Objective:
    sweep = sweep_file.load(path)
    return objective_of(sweep, sweep_file.configuration(sweep, {}, sweep.out))


def test_without_boxes_the_label_free_recall_is_compared(sweep_path: Write) -> None:
    assert objective(sweep_path()).modes == {RECALL: "max"}


@pytest.mark.parametrize("setting", ["loss.weight_local", "loss.tau", "loss.t3", "data.batch"])
@pytest.mark.parametrize("metric", ["validation/loss", "loss"])
def test_a_loss_that_the_space_scales_is_refused(sweep_path: Write, setting: str, metric: str) -> None:
    advice = "so that trials would rank by that setting; compare validation/average_precision"
    with pytest.raises(UserError, match=f"metric {metric} cannot compare these trials: .*{setting}.*, {advice}"):
        objective(sweep_path(space={setting: {"choice": [4, 8]}}, metric=metric))


def test_a_loss_may_be_compared_where_nothing_scales_it(sweep_path: Write) -> None:
    assert objective(sweep_path(metric="validation/loss")).modes == {"validation/loss": "min"}


def test_a_recall_that_counts_other_candidates_is_refused(sweep_path: Write) -> None:
    with pytest.raises(
        UserError, match=r"validation/recall counts among the images of a batch, and so depends on data\.batch"
    ):
        objective(sweep_path(space={"data.batch": {"choice": [4, 8]}}))


@pytest.mark.parametrize("text", ["", "0.9", "> 0.9", ">= x", ">= 1 2", ">= .", "== 1"])
def test_a_wrong_bound_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match="is no bound"):
        Bound.parse(SIDE, text)


def test_bounds() -> None:
    low, high = Bound.parse(SIDE, ">= .95"), Bound.parse(SIDE, " <=3e0 ")
    assert (low.violation({SIDE: 0.95}), low.violation({SIDE: 0.9})) == (0, pytest.approx(0.05))
    assert (high.violation({SIDE: 2}), high.violation({SIDE: 4}), high.violation({})) == (0, 1, float("inf"))
    assert (str(low), str(high)) == (f"{SIDE} >= 0.95", f"{SIDE} <= 3")
    assert (low.as_dict(), high.as_dict()) == ({"metric": SIDE, "at_least": 0.95}, {"metric": SIDE, "at_most": 3.0})


def test_the_validation_that_speaks_for_a_trial() -> None:
    """The best that meets the bounds; without one that does, the nearest; or the last."""
    curve = [(8, {RECALL: 0.5, SIDE: 1.0}), (16, {RECALL: 0.9, SIDE: 0.2}), (24, {RECALL: 0.6, SIDE: 1.0})]
    curve.append((32, {RECALL: float("nan"), SIDE: 1.0}))
    assert Objective({RECALL: "max"}, ()).chosen(curve) == curve[1]
    assert Objective({RECALL: "max"}, (Bound.parse(SIDE, ">= 0.9"),)).chosen(curve) == curve[2]
    assert Objective({RECALL: "max"}, (Bound.parse(SIDE, ">= 1.1"),)).chosen(curve) == curve[2]
    assert Objective({RECALL: "min"}, ()).chosen(curve) == curve[0]
    assert Objective({RECALL: "max", SIDE: "max"}, (), at_end=True).chosen(curve) == curve[2]
    assert Objective({RECALL: "max"}, ()).chosen(curve[3:]) is None


def test_the_best_trial_meets_the_bounds() -> None:
    values = {0: {RECALL: 0.9, SIDE: 0.5}, 1: {RECALL: 0.8, SIDE: 1.0}, 2: {RECALL: 0.8, SIDE: 1.0}}
    bounds = (Bound.parse(SIDE, ">= 0.9"),)
    assert Objective({RECALL: "max"}, ()).best(values) == 0
    assert Objective({RECALL: "max"}, bounds).best(values) == 1
    assert Objective({RECALL: "min"}, ()).best(values) == 1
    assert Objective({RECALL: "max"}, (Bound.parse(SIDE, ">= 2"),)).best(values) is None


@given(rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8))
def test_the_pareto_set_is_what_nothing_beats(rows: list[tuple[int, int]]) -> None:
    """`a` is larger-is-better, `b` smaller-is-better; the slow twin compares all pairs word by word."""
    values: dict[int, Any] = {n: {"a": float(a), "b": float(b)} for n, (a, b) in enumerate(rows)}
    beaten = set()
    for (n, one), (_, other) in itertools.permutations(values.items(), 2):
        no_worse = other["a"] >= one["a"] and other["b"] <= one["b"]
        if no_worse and (other["a"] > one["a"] or other["b"] < one["b"]):
            beaten.add(n)
    assert Objective({"a": "max", "b": "min"}, ()).pareto(values) == sorted(set(values) - beaten)
