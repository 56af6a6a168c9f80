"""What is checked before anything starts: each mistake that every trial would fail with is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sentalign.config import Config
from sentalign.sweep.spec.preflight import Checked, check
from sentalign.sweep.spec.schedule import RunLength, Schedule
from sentalign.sweep.spec.sweep_file import load
from sharding.contract import UserError

Write = Callable[..., Path]


def checked(path: Path) -> Checked:
    return check(load(path))


def test_a_sweep_that_can_start(sweep_path: Write) -> None:
    """24 training pairs, batch 8, 3 epochs."""
    found = checked(sweep_path())
    assert found.length == RunLength(total=72, validate_every=8)
    assert found.schedule == Schedule("asha", 72, 8, (8, 24), (8, 24), ())


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
        ({"metric": "validation/bogus"}, "metric validation/bogus: no validation writes it; those are.* side_margin"),
        ({"metric": "validation/recal"}, r"no validation writes it; did you mean validation/recall\?"),
        ({"metric": "recall"}, r"no validation writes it; did you mean validation/recall\?"),
        ({"metric": "validation/pointing"}, "measured with boxes, and validation.boxes names none"),
        ({"constraints": {"validation/bogus": ">= 1"}}, "constraints.validation/bogus: no validation writes it"),
        ({"constraints": {"validation/side": ">= 1"}}, "constraints.validation/side: it is measured with boxes"),
        ({"metric": "validation/retrieval_recall"}, "needs 16 candidates, and data.batch is 8"),
        (
            {"metric": "validation/attribution_dx"},
            "has a sign, .* compare validation/attribution_length",
        ),
        ({"metrics": {"validation/recall": "max", "validation/attribution_dy": "min"}}, "attribution_dy has a sign"),
        (
            {"space": {"train.epochs": {"randint": [1, 4]}}},
            "space.train.epochs: with 1 a run has 24 pairs .*, but a run has 72 pairs .* unlike length do not compare",
        ),
        ({"space": {"train.validate_every_pairs": {"choice": [8, 24]}}}, "space.train.validate_every_pairs: with 24"),
        ({"space": {"data.train_split": {"choice": ["train", "validate"]}}}, "space.data.train_split: with validate a"),
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


def test_settings_of_the_data_that_leave_the_length_may_vary(sweep_path: Write) -> None:
    space = {
        "data.mirror": {"choice": [0.0, 0.5]},
        "data.batch": {"choice": [8, 12]},
        "data.augment.shift": {"uniform": [0, 0.1]},
    }
    assert checked(sweep_path(space=space, metric="validation/attribution_length")).length.total == 72


def test_metrics_of_single_words_are_known(sweep_path: Write) -> None:
    assert checked(sweep_path(metric="validation/word_recall/edema")).objective.first == "validation/word_recall/edema"


def test_boxes_are_opened_once_before_anything_starts(sweep_path: Write) -> None:
    opened = []

    def check_boxes(base: Config) -> None:
        opened.append(base.validation.boxes)
        raise UserError("no boxes there")

    check(load(sweep_path()), check_boxes)
    assert opened == []
    with pytest.raises(UserError, match="no boxes there"):
        check(load(sweep_path(), ["validation.boxes=/nowhere"]), check_boxes)
    assert opened == ["/nowhere"]
