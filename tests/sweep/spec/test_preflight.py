"""What is checked before anything starts: each mistake that every trial would fail with is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sentalign.sweep.spec.preflight import Checked, RunLength, check, default_grace, rungs_of
from sentalign.sweep.spec.sweep_file import load
from sharding.contract import UserError

Write = Callable[..., Path]


def checked(path: Path) -> Checked:
    return check(load(path))


def test_a_sweep_that_can_start(sweep_path: Write) -> None:
    """24 training pairs, batch 8, 3 epochs."""
    found = checked(sweep_path())
    assert found.length == RunLength(total=72, validate_every=8, batch=8)
    assert (found.scheduler, found.grace, found.rungs, found.warnings) == ("asha", 8, (8, 24), ())


def test_the_demo_is_halved_twice() -> None:
    """28 epochs of 34 batches of 64, validated every two epochs."""
    length = RunLength(28 * 34 * 64, 4352, 64)
    assert default_grace(length) == 8704
    assert rungs_of(8704, 3, length.total) == (8704, 26112)


def test_rungs_end_before_the_run_does() -> None:
    assert rungs_of(8, 3, 72) == (8, 24)
    assert rungs_of(8, 3, 73) == (8, 24, 72)
    assert rungs_of(8, 2, 17) == (8, 16)
    assert rungs_of(8, 2, 8) == ()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"training": {"data": {"shards": "/nowhere", "batch": 8}}}, "nowhere"),
        ({"overrides": {"data.batch": 64}}, "fewer samples with text than data.batch=64"),
        ({"ranks": 3}, "data.batch 8"),
        (
            {"overrides": {"data.validation_split": "test"}},
            "validation_split=test: a sweep that chooses by the test",
        ),
        ({"space": {"data.validation_split": {"choice": ["validate", "test"]}}}, "validation_split=test"),
        ({"overrides": {"data.validation_split": "nothing"}}, "no training writes validation/recall"),
        ({"metric": "validation/loss", "space": {"loss.tau": {"uniform": [0.1, 0.2]}}}, "cannot compare these trials"),
        ({"scheduler": {"max_pairs": 100}}, "max_pairs 100 is never reached: a run has 72 pairs and validates every 8"),
        ({"scheduler": {"grace_pairs": 72}}, "grace_pairs 72 stops no trial early: a run has 72 pairs"),
        (
            {"scheduler": {"kind": "pbt"}, "space": {"data.mirror": {"choice": [0.5, 1]}}},
            "cannot change data.mirror within",
        ),
        (
            {"scheduler": {"kind": "pbt"}, "space": {"optimizer.kind": {"choice": ["sgd"]}}},
            "cannot change optimizer.kind",
        ),
        (
            {
                "scheduler": {"kind": "pbt"},
                "space": {"loss.t3": {"uniform": [1, 2]}},
                "training": {"loss": {"learn": ["t3"]}},
            },
            "cannot change loss.t3, which is learned",
        ),
    ],
)
def test_what_every_trial_would_fail_with(sweep_path: Write, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        checked(sweep_path(**changed))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ({"grace_pairs": 33}, "46% of a run passes before the first decision at 33 pairs: a run has 72 pairs"),
        ({"grace_pairs": 4}, "at 4 pairs, waits for the first validation: a run has 72 pairs and validates every 8"),
        ({"grace_pairs": 22}, "the rung at 66 pairs decides nothing, the next validation is the last: a run has 72"),
    ],
)
def test_rungs_that_are_of_little_use_are_a_warning(sweep_path: Write, scheduler: Any, message: str) -> None:
    assert any(message in warning for warning in checked(sweep_path(scheduler=scheduler)).warnings)


def test_several_metrics_stop_no_trial_early(sweep_path: Write) -> None:
    found = checked(sweep_path(metrics={"validation/recall": "max", "validation/side_margin": "max"}))
    assert (found.scheduler, found.rungs) == ("none", ())
