"""Optuna's points through Tune's searcher, without a cluster: conditions, first points, and what it is told again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from sentalign.sweep.record import SearchRecord
from sentalign.sweep.search.optuna_points import OptunaPoints, decode, distribution, encode
from sentalign.sweep.spec.domain import Domain
from tests.sweep.conftest import checked_of

Write = Callable[..., Path]
RECALL = "validation/recall"
SPACE = {
    "optimizer.lr": {"loguniform": [1e-4, 1]},
    "loss.attention": {"choice": ["paper", "cosine"]},
    "loss.tau": {"uniform": [0.05, 0.3], "when": {"loss.attention": "cosine"}},
    "data.block": {"qrandint": [4, 12, 4]},
}


def measured(parameters: dict[str, Any]) -> dict[str, float]:
    """Best with the cosine attention and a small tau."""
    return {RECALL: 1 - parameters.get("loss.tau", 1.0), "validation/side_margin": parameters.get("optimizer.lr", 0.0)}


def search(checked: Any, record: SearchRecord, count: int) -> list[dict[str, Any]]:
    searcher, found = OptunaPoints(checked, record), []
    for number in range(count):
        config = searcher.suggest(f"id{len(record.trials)}-{number}")
        if config == Searcher.FINISHED:
            break
        trial = record.trials[config["point"]["number"]]
        found.append(trial.parameters)
        values = measured(trial.parameters)
        record.report(trial.trial, 72, values, {name: [value] for name, value in values.items()}, "CONTINUE")
        record.close_trial(trial.trial, "finished")
        searcher.on_trial_complete(f"id{len(record.trials) - 1}-{number}")
    return found


def test_optuna_finds_the_better_half(sweep_path: Write, tmp_path: Path) -> None:
    """Interrupted every ten trials: a start that knows nothing of the others would go on drawing by chance."""
    checked = checked_of(sweep_path(space=SPACE, searcher="optuna", trials=60))
    for _ in range(7):
        record = SearchRecord(tmp_path / "out")
        search(checked, record, 10)
        record.close()
    points = [trial.parameters for trial in record.trials]
    assert len(points) == 60
    assert points[0] == {"optimizer.lr": 1.0, "loss.attention": "paper", "data.block": 16}  # the base, outside of it
    assert len({str(point) for point in points}) == 60
    for point in points[1:]:
        assert ("loss.tau" in point) == (point["loss.attention"] == "cosine")
        assert point["data.block"] in (4, 8, 12)
    last = [point.get("loss.tau", 1) for point in points[-15:]]
    assert sum(tau < 0.1 for tau in last) >= 10  # by chance: 3 in 30


def test_several_metrics_are_told_together(sweep_path: Write, tmp_path: Path) -> None:
    metrics = {RECALL: "max", "validation/side_margin": "max"}
    checked = checked_of(sweep_path(space=SPACE, searcher="optuna", trials=12, metrics=metrics))
    record = SearchRecord(tmp_path / "out")
    assert len(search(checked, record, 99)) == 12


def test_a_failed_trial_and_one_that_goes_on_later_are_not_told(sweep_path: Write, tmp_path: Path) -> None:
    checked = checked_of(sweep_path(space=SPACE, searcher="optuna", trials=9, seed=3))
    record = SearchRecord(tmp_path / "out")
    searcher = OptunaPoints(checked, record)
    numbers = [searcher.suggest(f"id{n}")["point"]["number"] for n in range(4)]
    assert numbers == [0, 1, 2, 3]
    record.close_trial(1, "failed", "why")
    for number in range(4):
        searcher.on_trial_complete(f"id{number}", None, error=True)
    assert [trial.value for trial in searcher._study.get_trials() if trial.value is not None] == []
    record.close()
    again = OptunaPoints(checked, SearchRecord(tmp_path / "out"))
    assert [again.suggest(f"new{n}")["point"]["number"] for n in range(4)] == [0, 2, 3, 4]


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        ({"uniform": [1, 2]}, 1.5),
        ({"loguniform": [1, 2]}, 1.5),
        ({"quniform": [1, 2, 0.5]}, 1.5),
        ({"randint": [1, 4]}, 3),
        ({"qrandint": [2, 6, 2]}, 6),
        ({"choice": [[1, 2], None, "a", {"b": 1.5}]}, [1, 2]),
    ],
)
def test_values_survive_optuna(domain: dict[str, Any], value: Any) -> None:
    of = Domain(**domain)
    known = distribution(of)
    internal = known.to_internal_repr(encode(of, value))
    assert decode(of, known.to_external_repr(internal)) == value


def test_a_quantised_logarithm_is_rounded() -> None:
    of = Domain(qloguniform=(0.1, 1.0, 0.1))
    assert [decode(of, value) for value in (0.1, 0.26, 0.97)] == pytest.approx([0.1, 0.3, 1.0])


def test_every_point_inside_of_the_space_is_told_again(sweep_path: Write, tmp_path: Path) -> None:
    """Steps too: 3 * .1 is more than .3, and 192 is a multiple of 64 that 100 plus steps never is."""
    space = {"data.block": {"qrandint": [128, 960, 64]}, "loss.tau": {"quniform": [0.1, 0.3, 0.1]}}
    space |= {"loss.t3": {"qloguniform": [2, 20, 2]}, "loss.t1": {"randint": [1, 9]}}
    checked = checked_of(sweep_path(space=space, searcher="optuna", trials=30, seed=4))
    record = SearchRecord(tmp_path / "out")
    points = search(checked, record, 30)
    assert any(point["loss.tau"] == 0.3 for point in points)
    record.close()
    again = OptunaPoints(checked, SearchRecord(tmp_path / "out"))
    told = [trial.params for trial in again._study.get_trials()]
    assert told == points[1:], "all but the base, whose block is not in the space"
    assert all(point["data.block"] % 64 == 0 and 128 <= point["data.block"] <= 960 for point in points[1:])


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [
        ({"uniform": [1, 2]}, [1, 1.5, 2.0], [0.9, 2.1, None, "1", True]),
        ({"randint": [1, 4]}, [1, 3], [0, 4, 1.5]),
        ({"qrandint": [128, 960, 64]}, [128, 192, 960], [64, 100, 1024]),
        ({"quniform": [0.1, 0.3, 0.1]}, [0.1, 0.2, 0.3], [0.15, 0.4]),
        ({"choice": [[1, 2], None, "a"]}, [[1, 2], None, "a"], ["b", 1]),
    ],
)
def test_what_a_space_contains(domain: dict[str, Any], inside: list[Any], outside: list[Any]) -> None:
    of = Domain(**domain)
    assert [value for value in inside + outside if of.contains(value)] == inside
