"""Learning rates, calculated by hand."""

from __future__ import annotations

import math

import pytest

from sentalign.config import Optimizer
from sentalign.engine.optimizer import lr


def test_exponential_steps_down_once_an_epoch():
    settings = Optimizer(lr=2e-5, decay=0.9)
    assert lr(settings, 0, 100, 500) == 2e-5
    assert lr(settings, 99, 100, 500) == 2e-5
    assert lr(settings, 100, 100, 500) == pytest.approx(1.8e-5)
    assert lr(settings, 499, 100, 500) == pytest.approx(2e-5 * 0.9**4)


def test_constant():
    settings = Optimizer(lr=3.0, schedule="constant")
    assert {lr(settings, pairs, 10, 100) for pairs in (0, 10, 99, 1000)} == {3.0}


def test_cosine_from_lr_to_zero():
    settings = Optimizer(lr=4.0, schedule="cosine")
    assert lr(settings, 0, 10, 80) == 4.0
    assert lr(settings, 20, 10, 80) == pytest.approx(4 * (1 + math.sqrt(0.5)) / 2)
    assert lr(settings, 40, 10, 80) == pytest.approx(2.0)
    assert lr(settings, 80, 10, 80) == pytest.approx(0, abs=1e-15)
    assert lr(settings, 96, 10, 80) == pytest.approx(0, abs=1e-15)  # never up again


@pytest.mark.parametrize("schedule", ["exponential", "cosine", "constant"])
def test_warm_up_is_linear_from_above_zero(schedule):
    settings = Optimizer(lr=1.0, warmup_pairs=8, schedule=schedule, decay=1.0)
    assert [lr(settings, pairs, 100, 108) for pairs in (0, 3, 7)] == [1 / 8, 4 / 8, 1.0]
    assert lr(settings, 8, 100, 108) == 1.0


def test_cosine_counts_from_the_end_of_warm_up():
    settings = Optimizer(lr=1.0, warmup_pairs=20, schedule="cosine")
    assert lr(settings, 60, 10, 100) == pytest.approx(0.5)


def test_a_run_that_is_all_warm_up_does_not_divide_by_zero():
    settings = Optimizer(lr=1.0, warmup_pairs=20, schedule="cosine")
    assert lr(settings, 9, 10, 20) == 0.5
    assert lr(settings, 20, 10, 20) == 1.0
