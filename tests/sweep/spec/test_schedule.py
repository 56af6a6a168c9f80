"""When trials are compared: rungs, pauses, and what a length of a run leaves of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sentalign.sweep.spec.preflight import check
from sentalign.sweep.spec.schedule import RunLength, Schedule, default_first, rungs_of
from sentalign.sweep.spec.sweep_file import load
from sharding.contract import UserError

Write = Callable[..., Path]


def schedule(path: Path, *words: str) -> Schedule:
    """Runs have 72 pairs and validate every 8."""
    return check(load(path, words)).schedule


def test_the_demo_is_halved_twice() -> None:
    """28 epochs of 34 batches of 64, validated every two epochs."""
    length = RunLength(28 * 34 * 64, 4352)
    assert default_first("asha", length.total, length) == 8704
    assert rungs_of(8704, 3, length.total) == (8704, 26112)


def test_rungs_end_before_the_run_does() -> None:
    assert rungs_of(8, 3, 72) == (8, 24)
    assert rungs_of(8, 3, 73) == (8, 24, 72)
    assert rungs_of(8, 2, 17) == (8, 16)
    assert rungs_of(8, 2, 8) == ()


@pytest.mark.parametrize(
    ("scheduler", "pauses"),
    [
        ({}, (8, 24)),
        ({"max_pairs": 64}, (8, 24, 64)),
        ({"kind": "hyperband"}, (8, 16, 24, 32, 40, 48, 56, 64)),
        ({"kind": "median", "grace_pairs": 41}, (48, 56, 64)),
        ({"kind": "pbt"}, (8, 16, 24, 32, 40, 48, 56, 64)),
        ({"kind": "pbt", "perturb_every_pairs": 17}, (24, 48)),
        ({"kind": "none"}, ()),
        ({"kind": "none", "max_pairs": 24}, (24,)),
    ],
)
def test_starts_wait_for_each_other_where_trials_are_compared(
    sweep_path: Write, scheduler: dict[str, Any], pauses: tuple[int, ...]
) -> None:
    found = schedule(sweep_path(scheduler=scheduler))
    assert found.pauses == pauses
    assert not found.rungs or found.kind == "asha"


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ({"max_pairs": 100}, "max_pairs 100 is never reached: a run has 72 pairs and validates every 8"),
        ({"max_pairs": 100, "kind": "none"}, "max_pairs 100 is never reached"),
        ({"grace_pairs": 72}, "grace_pairs 72 stops no trial early: a run has 72 pairs"),
        ({"grace_pairs": 72, "kind": "median"}, "grace_pairs 72 stops no trial early"),
        ({"perturb_every_pairs": 72, "kind": "pbt"}, "perturb_every_pairs 72 changes no trial: a run has 72 pairs"),
    ],
)
def test_lengths_that_decide_nothing_are_refused(sweep_path: Write, scheduler: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        schedule(sweep_path(scheduler=scheduler))


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median", "pbt"])
def test_a_run_too_short_for_early_stopping_has_none(sweep_path: Write, kind: str) -> None:
    """`train.epochs=1` with a validation an epoch: nobody has set what does not fit."""
    path = sweep_path(scheduler={"kind": kind})
    found = schedule(path, "train.epochs=1", "train.validate_every_pairs=4352")
    assert (found.kind, found.rungs, found.pauses) == ("none", (), ())
    run = "a run has 24 pairs and validates every 4,352"
    assert found.warnings == (f"no trial is stopped early (scheduler none in place of {kind}): {run}",)


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ({"grace_pairs": 33}, "46% of a run passes before the first decision at 33 pairs: a run has 72 pairs"),
        ({"grace_pairs": 4}, "at 4 pairs, waits for the first validation: a run has 72 pairs and validates every 8"),
        ({"grace_pairs": 22}, "the rung at 66 pairs decides nothing, the next validation is the last: a run has 72"),
    ],
)
def test_rungs_that_are_of_little_use_are_a_warning(sweep_path: Write, scheduler: Any, message: str) -> None:
    assert any(message in warning for warning in schedule(sweep_path(scheduler=scheduler)).warnings)


def test_several_metrics_stop_no_trial_early(sweep_path: Write) -> None:
    found = schedule(sweep_path(metrics={"validation/recall": "max", "validation/side_margin": "max"}))
    assert found == Schedule("none", 72, 8, (), (), ())
