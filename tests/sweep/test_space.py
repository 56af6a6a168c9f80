"""The sweep file: settings are read, and mistakes are one line before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sentalign import config
from sentalign.sweep import space
from sharding.contract import UserError

Write = Callable[..., Path]


def test_a_sweep_is_read(sweep_file: Write, tmp_path: Path) -> None:
    sweep = space.load(sweep_file(overrides={"train.epochs": 2}))
    assert sweep.base == tmp_path / "base.yaml"
    assert sweep.space["optimizer.lr"].loguniform == (1e-3, 10.0)
    configured = space.configuration(sweep, {"optimizer.lr": 1e-5}, tmp_path / "trial")
    assert (configured.optimizer.lr, configured.train.epochs, configured.run) == (1e-5, 2, str(tmp_path / "trial"))


def test_words_name_the_sweep_or_the_training(sweep_file: Write) -> None:
    sweep = space.load(sweep_file(), ["trials=2", "asha.max_pairs=32", "train.epochs=3", "optimizer.weight_decay=1e-4"])
    assert (sweep.trials, sweep.asha.max_pairs) == (2, 32)
    configured = space.configuration(sweep, {}, Path("x"))
    assert (configured.train.epochs, configured.optimizer.weight_decay) == (3, 1e-4)


@pytest.mark.parametrize("value", [1e-05, 3, True, None, "a: b", [1, "x"], 0.1])
def test_every_value_survives_its_word(sweep_file: Write, tmp_path: Path, value: Any) -> None:
    sweep = space.load(sweep_file(overrides={"model.image.backbone.extra": value}))
    configured = space.configuration(sweep, {}, tmp_path).model.image.backbone["extra"]
    # YAML 1.1 reads 1e-05 as a word; typed settings take it for the number.
    assert configured == value or float(configured) == value


SPACE = {
    "loss.t1": {"uniform": [1, 2]},
    "optimizer.lr": {"loguniform": [1e-6, 1e-2]},
    "train.epochs": {"randint": [3, 6]},
    "loss.t3": {"choice": [5.0, 10.0]},
}


def test_the_same_seed_draws_the_same_trials(sweep_file: Write) -> None:
    sweep = space.load(sweep_file(space=SPACE, trials=300))
    drawn = space.draw(sweep)
    assert drawn == space.draw(sweep)
    assert drawn[:7] == space.draw(sweep.model_copy(update={"trials": 7}))
    assert drawn != space.draw(sweep.model_copy(update={"seed": 1}))


def test_draws_fill_their_domains(sweep_file: Write) -> None:
    drawn = space.draw(space.load(sweep_file(space=SPACE, trials=300)))
    assert all(1 <= values["loss.t1"] < 2 for values in drawn)
    assert all(1e-6 <= values["optimizer.lr"] <= 1e-2 for values in drawn)
    assert 0.4 < sum(values["optimizer.lr"] < 1e-4 for values in drawn) / 300 < 0.6
    assert {values["train.epochs"] for values in drawn} == {3, 4, 5}
    assert {values["loss.t3"] for values in drawn} == {5.0, 10.0}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"space": {}}, "space"),
        ({"space": {"loss.t9": {"uniform": [1, 2]}}}, "loss.t9"),
        ({"space": {"loss.t1": {"uniform": [-1, 2]}}}, "loss.t1"),
        ({"space": {"loss.t1": {"uniform": [2, 1]}}}, "lower and a larger bound"),
        ({"space": {"loss.t1": {"loguniform": [0, 1]}}}, "above 0"),
        ({"space": {"loss.t1": {"uniform": [1, 2], "choice": [1]}}}, "exactly one of"),
        ({"space": {"loss.t1": {"normal": [1, 2]}}}, "normal"),
        ({"space": {"train.zero_stage": {"choice": [1, 7]}}}, "train.zero_stage"),
        ({"asha": {"grace_pairs": 9, "max_pairs": 8}}, "grace_pairs 9 is more than"),
        ({"gpus": 2}, "gpus 2 must be 0 or equal ranks 1"),
        ({"trails": 3}, "trails"),
        ({"base": "nowhere.yaml"}, "no config file"),
    ],
)
def test_mistakes_are_one_line(sweep_file: Write, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        space.load(sweep_file(**changed))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word", ["trials", "=3", "trials=[", "train.epoch=3"])
def test_wrong_overrides_are_refused(sweep_file: Write, word: str) -> None:
    with pytest.raises(UserError):
        space.load(sweep_file(), [word])


def test_a_missing_sweep_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sweep file"):
        space.load(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(UserError, match="holds no settings"):
        space.load(tmp_path / "empty.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not valid YAML"):
        space.load(tmp_path / "binary.yaml")


def test_the_shipped_sweep_is_valid() -> None:
    configs = Path(__file__).resolve().parents[2] / "configs"
    sweep = space.load(configs / "sweep.yaml", ["out=/tmp/never"])
    assert isinstance(space.configuration(sweep, {}, sweep.out), config.Config)
